"""Every data step against the published formula or the minimizer that it must find."""

import pickle

import pytest
import torch
from torch import Tensor, nn

from laminar.errors import ConfigError
from laminar.flow import DATA_STEPS, TABLEAUX, DataStep, power_schedule
from laminar.models import UnrolledNetwork
from laminar.operators import Encoding, conjugate_gradient
from laminar.theory import Gaussian, OracleRegularizer, matrix_of

EXACT = {"cg_iterations": 300, "cg_tolerance": 1e-15}
SHAPE = (2, 6, 8)


def problem(coils: int) -> tuple[Tensor, Encoding]:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, coils, 6, 8, dtype=torch.complex128, generator=generator)
    maps = maps / maps.abs().square().sum(1, keepdim=True).sqrt()
    mask = (torch.rand(2, 1, 8, generator=generator) < 0.5).expand(SHAPE)
    operator = Encoding(mask, maps)
    return operator.forward(torch.randn(SHAPE, dtype=torch.complex128, generator=generator)), operator


class Towards(nn.Module):
    """The residual of a denoiser that goes the share `q` of the way to a known image: D(x) = (1 - q) x + q m."""

    def __init__(self, image: Tensor, q: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("image", image)
        self.q = q

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.q * (x - self.image)


def some_image(seed: int) -> Tensor:
    return torch.randn(SHAPE, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def minimizer(y: Tensor, operator: Encoding, weight: float, mean: Tensor) -> Tensor:
    """argmin ||A x - y||^2 + weight ||x - mean||^2."""
    rhs = operator.adjoint(y) + weight * mean
    return conjugate_gradient(lambda x: operator.gram(x) + weight * x, rhs, iterations=400)


def test_admm_finds_the_minimizer() -> None:
    """The fixed point of Douglas-Rachford is the MAP estimate: prior step q = 0.4 is that of weight w q / (1 - q)."""
    y, operator = problem(3)
    mean, q = some_image(1), 0.4
    network = UnrolledNetwork(
        Towards(mean, q), n_cascades=200, data_step="admm", coefficients="free", shared=True, data_weight=0.5, **EXACT
    ).double()
    w = float(network.coefficients.data[0].detach().exp())
    state = network.trajectory(y, operator).states[-2]
    prior_step = (1 - q) * state + q * mean
    expected = minimizer(y, operator, w * q / (1 - q), mean)
    torch.testing.assert_close(prior_step, expected, rtol=0, atol=1e-9)


def test_ista_finds_the_minimizer() -> None:
    """The fixed point of gradient step and resolvent: weight q / ((1 - q) eta)."""
    y, operator = problem(3)
    mean, q = some_image(1), 0.2
    network = UnrolledNetwork(
        Towards(mean, q), n_cascades=300, data_step="ista", coefficients="free", shared=True, data_weight=0.9
    ).double()
    eta = float(network.coefficients.data[0].detach())
    expected = minimizer(y, operator, q / ((1 - q) * eta), mean)
    torch.testing.assert_close(network(y, operator), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("data_step", ["admm", "ista", "imex", "soft", "hard", "gradient", "none"])
def test_without_samples_every_data_step_is_the_flow(data_step: str) -> None:
    """With an empty mask the states stay on the line from the source to the denoiser's image, at the schedule's times.

    For ADMM this says that its dual is |delta_k| (x1 - x0).
    """
    _, operator = problem(3)
    operator = Encoding(torch.zeros_like(operator.mask), operator.sensitivities)
    image, source = some_image(2), some_image(3)
    network = UnrolledNetwork(
        Towards(image), n_cascades=5, data_step=data_step, schedule_alpha=1.0, noise_floor=0.5, **EXACT
    ).double()
    trajectory = network.trajectory(torch.zeros(2, 3, 6, 8).cfloat(), operator, source=source)
    for time, state in zip(power_schedule(5, 1.0), trajectory.states, strict=True):
        torch.testing.assert_close(state, (1 - time) * image + time * source, rtol=0, atol=1e-9)
    for endpoint in trajectory.endpoints:
        torch.testing.assert_close(endpoint, image, rtol=0, atol=1e-8)


@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_soft_replacement_of_a_single_coil(sigma: float) -> None:
    """Sampled k become (k + v y) / (1 + v) with v = h nu^2 / sigma^2; replaced without noise; IMEX is the same map."""
    y, operator = problem(1)
    operator = Encoding(operator.mask, torch.ones_like(operator.sensitivities))
    settings = {"n_cascades": 1, "source": "zero-filled", "prior_std": 0.5, "noise_floor": 0.0}
    noise = torch.tensor([sigma, sigma], dtype=torch.float64)
    denoised = some_image(2)
    names = ("soft", "imex") if sigma else ("soft", "hard")
    for data_step in names:
        network = UnrolledNetwork(Towards(denoised), data_step=data_step, **settings, **EXACT).double()
        k = Encoding(torch.ones_like(operator.mask), operator.sensitivities).forward(network(y, operator, noise))
        before = Encoding(torch.ones_like(operator.mask), operator.sensitivities).forward(denoised)
        nu = network.coefficients.log_prior_std.detach().exp()
        replaced = y if not sigma else (before + (nu**2 / sigma**2) * y) / (1 + nu**2 / sigma**2)
        expected = torch.where(operator.mask[:, None], replaced, before)
        torch.testing.assert_close(k, expected, rtol=0, atol=1e-7)


def test_the_papers_form() -> None:
    """x - |delta|/sigma^2 A^H (A x - y) - |delta| R(x), with a schedule that is not uniform."""
    y, operator = problem(3)
    image, sigma = some_image(2), 0.9
    network = UnrolledNetwork(
        Towards(image), n_cascades=2, data_step="paper", source="zero-filled", noise_floor=0.0, schedule_alpha=2.0
    ).double()
    noise = torch.tensor([sigma, sigma], dtype=torch.float64)
    x = operator.adjoint(y)
    for before, after in ((1, 0.125), (0.125, 0)):
        delta = before - after
        x = x - delta / sigma**2 * operator.adjoint(operator.forward(x) - y) - delta * (x - image)
    torch.testing.assert_close(network(y, operator, noise), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("coefficients", ["free", "flow", "learned"])
def test_a_data_step_of_ones_own_is_one_object(coefficients: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named in DATA_STEPS, it is a setting of the network, which survives pickling; x0_hat = D - A^H (A D - y)."""
    mine = DataStep(
        "mine",
        coefficient=lambda h, w: torch.ones_like(h * w),
        ratio=lambda h, c: torch.zeros_like(h * c),
        endpoint=lambda denoised, c, data: denoised - c * data.gradient(denoised),
        constant=True,
        update="",
        formula="",
        reading="",
    )
    monkeypatch.setitem(DATA_STEPS, "mine", mine)
    y, operator = problem(3)
    image = some_image(2)
    network = UnrolledNetwork(Towards(image), n_cascades=1, data_step="mine", coefficients=coefficients, shared=True)
    expected = image - operator.adjoint(operator.forward(image) - y)
    for copied in (network.double(), pickle.loads(pickle.dumps(network))):  # noqa: S301
        torch.testing.assert_close(copied(y, operator), expected, rtol=0, atol=1e-12)
        assert copied.config.continuous == (coefficients != "free")
        assert copied.coefficients.data_step is mine
        assert not any(p.requires_grad for name, p in copied.named_parameters() if name != "coefficients.increments")


def white_world(tau: float = 0.7, std: float = 0.6) -> tuple[Gaussian, OracleRegularizer]:
    """A prior N(m, std^2 I) and the exact denoiser of its path from tau eps: scalar variance at all times."""
    n = SHAPE[1] * SHAPE[2]
    mean = some_image(5)[0].flatten()
    prior = Gaussian(mean, std**2 * torch.eye(n, dtype=torch.complex128))
    return prior, OracleRegularizer(prior, source=torch.zeros(SHAPE[1:], dtype=torch.complex128), tau=tau)


def oracle_network(
    solver: str, n_cascades: int, tau: float = 0.7, std: float = 0.6, **settings: object
) -> UnrolledNetwork:
    """The oracle as regularizer, and the exact widths Var[x0 | x_t] = s^2 t^2 tau^2 / ((1-t)^2 s^2 + t^2 tau^2)."""
    _, regularizer = white_world(tau, std)
    network = UnrolledNetwork(
        regularizer, n_cascades=n_cascades, solver=solver, shared=True, noise_floor=0.0, **EXACT, **settings
    ).double()
    variance = std**2

    def ratio_at(time: Tensor, noise_level: Tensor, conditions: Tensor | None = None) -> Tensor:
        total = (1 - time) ** 2 * variance + time**2 * tau**2
        return noise_level**2 * total / (variance * time**2 * tau**2)

    network.coefficients.ratio_at = ratio_at  # type: ignore[method-assign, assignment]
    return network


SIGMA = 0.2


def exact_samples(y: Tensor, operator: Encoding, source: Tensor, tau: float) -> Tensor:
    """Where the conditional flow of the white world takes each source: the closed form, mode by mode of A."""
    prior, _ = white_world(tau)
    images = []
    for index in range(len(y)):
        one = Encoding(operator.mask[index : index + 1], operator.sensitivities[index : index + 1])
        matrix = matrix_of(one, SHAPE[1:])
        posterior = prior.given(matrix, y[index].flatten(), SIGMA)
        start = torch.zeros_like(posterior.mean)
        images.append(posterior.flow_map(source[index].flatten()[None], source=start, tau=tau).view(SHAPE[1:]))
    return torch.stack(images)


def world() -> tuple[Tensor, Encoding, Tensor]:
    y, operator = problem(3)
    return y, operator, 0.7 * some_image(9)


@pytest.mark.parametrize(("solver", "order"), [("midpoint", 3), ("ralston", 2), ("bogacki_shampine", 3)])
def test_a_whole_network_converges_to_the_exact_flow(solver: str, order: int) -> None:
    """Oracle regularizer, exact widths, proximal data step: the network is a solver of the exact conditional flow.

    On this Gaussian world midpoint shows order 3, one more than it has. The last step to t = 0 is Euler's, so the
    schedule is dense there.
    """
    y, operator, source = world()
    exact, noise = exact_samples(y, operator, source, 0.7), torch.full((2,), SIGMA, dtype=torch.float64)
    errors = []
    for n_cascades in (24, 48):
        network = oracle_network(solver, n_cascades, schedule_alpha=3.0)
        with torch.no_grad():
            image = network.trajectory(y, operator, noise, source=source).image
        errors.append(float((image - exact).norm() / exact.norm()))
    assert errors[0] / errors[1] > 2 ** (order - 0.2)
    assert errors[1] < 2e-3


def test_an_adaptive_network_keeps_its_tolerance() -> None:
    y, operator, source = world()
    exact, noise = exact_samples(y, operator, source, 0.7), torch.full((2,), SIGMA, dtype=torch.float64)
    network = oracle_network("dormand_prince", 8, schedule_alpha=6.0, solver_tolerance=1e-8)
    with torch.no_grad():
        trajectory = network.trajectory(y, operator, noise, source=source)
    assert float((trajectory.image - exact).norm() / exact.norm()) < 1e-6
    assert trajectory.nfe > 8 * TABLEAUX["dormand_prince"].stages


def test_the_posterior_mean_is_one_evaluation() -> None:
    """x0_hat(x1, t = 1) = E[x0 | y] for a source that is independent of y, whatever the noise drawn."""
    y, operator, source = world()
    network = oracle_network("midpoint", 4)
    noise = torch.full((2,), SIGMA, dtype=torch.float64)
    scan = network.measure(y, operator, noise)
    prior, _ = white_world()
    mean = prior.mean.view(SHAPE[1:]).expand(SHAPE)
    expected = minimizer(y, operator, SIGMA**2 / 0.6**2, mean)
    with torch.no_grad():
        found = network.endpoint(source, torch.ones(2, dtype=torch.float64), scan)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_widths_between_the_cascades() -> None:
    """At the times of the cascades a continuous network uses the widths of its cascades."""
    network = UnrolledNetwork(shared=True, n_cascades=4, schedule_alpha=1.0)
    nn.init.normal_(network.coefficients.log_prior_std, -2, 0.3)
    noise = torch.tensor([0.1, 0.2])
    values = network.coefficients(noise)
    assert values.times is not None
    for k, time in enumerate(values.times[:-1]):
        torch.testing.assert_close(network.coefficients.ratio_at(time.expand(2), noise), values.data[k])
    fresh = UnrolledNetwork(shared=True, n_cascades=4, schedule_alpha=1.0, prior_std=0.3, noise_floor=0.0)
    time = torch.tensor([0.01, 0.42])
    expected = (noise / (0.3 * time)) ** 2  # the model nu = prior_std t holds at every time
    torch.testing.assert_close(fresh.coefficients.ratio_at(time, noise), expected)
    with pytest.raises(ConfigError, match="velocity at every time"):
        UnrolledNetwork(n_cascades=2).velocity(None)  # type: ignore[arg-type]
