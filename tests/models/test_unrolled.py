"""The unrolled network against numbers that are known, and laws of every setting."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from laminar.errors import ConfigError
from laminar.flow import DATA_STEPS, power_schedule
from laminar.models import UnrolledConfig, UnrolledNetwork, preset
from laminar.models.coefficients import FlowCoefficients
from laminar.models.config import RegularizerConfig
from laminar.operators import Encoding, Identity, conjugate_gradient

TINY = RegularizerConfig(channels=[4, 6])


def problem(coils: int = 3, y: int = 8, x: int = 10, batch: int = 2) -> tuple[Tensor, Encoding]:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(batch, coils, y, x, dtype=torch.complex128, generator=generator)
    maps = maps / maps.abs().square().sum(1, keepdim=True).sqrt()
    mask = (torch.rand(batch, 1, x, generator=generator) < 0.5).expand(batch, y, x)
    operator = Encoding(mask, maps)
    image = torch.randn(batch, y, x, dtype=torch.complex128, generator=generator)
    return operator.forward(image), operator


class Shrink(nn.Module):
    """The exact regularizer of a white Gaussian prior: D(x) = (1 - g) x."""

    def __init__(self, g: float) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.tensor(g, dtype=torch.float64))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.g * x


class ToConstant(nn.Module):
    """A denoiser that knows the answer: D(x) = m, whatever x and t are."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.image = nn.Parameter(image)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return x - self.image


@pytest.mark.parametrize("n_cascades", [1, 3, 12, 40])
@pytest.mark.parametrize("alpha", [0.0, 2.0])
@pytest.mark.parametrize("coefficients", ["flow", "learned"])
def test_collapse(n_cascades: int, alpha: float, coefficients: str) -> None:
    """With a fixed endpoint, Euler stays on the line from the source and lands on the endpoint, for every N."""
    y, operator = problem()
    prior_mean = torch.randn(2, 8, 10, dtype=torch.complex128, generator=torch.Generator().manual_seed(3))
    network = UnrolledNetwork(
        ToConstant(prior_mean),
        n_cascades=n_cascades,
        schedule_alpha=alpha,
        coefficients=coefficients,
        learn_prior_std=False,
        cg_iterations=200,
        cg_tolerance=1e-14,
    ).double()
    # One prior width for all times: then every cascade has the same endpoint, the exact posterior mean.
    network.coefficients.log_prior_std.data.fill_(-1.0)
    sigma = torch.tensor([0.3, 0.1], dtype=torch.float64)
    trajectory = network.trajectory(y, operator, sigma)
    ratio = ((sigma**2 + network.config.noise_floor**2) / math.exp(-2.0))[:, None, None]
    posterior_mean = conjugate_gradient(
        lambda x: operator.gram(x) + ratio * x, operator.adjoint(y) + ratio * prior_mean, iterations=300
    )
    torch.testing.assert_close(trajectory.image, posterior_mean, rtol=0, atol=1e-9)
    assert trajectory.times is not None
    for time, state in zip(trajectory.times, trajectory.states, strict=True):
        line = (1 - time) * posterior_mean + time * trajectory.source
        torch.testing.assert_close(state, line, rtol=0, atol=1e-9)


def test_an_error_dies_out_in_the_residual_form() -> None:
    """With a fixed endpoint, an error at cascade j is multiplied by t_k / t_{k+1} in each step: nothing is left."""
    y, operator = problem()
    network = UnrolledNetwork(
        ToConstant(torch.zeros(2, 8, 10, dtype=torch.complex128)), n_cascades=4, cg_iterations=200, cg_tolerance=1e-14
    ).double()
    clean = network.trajectory(y, operator)
    disturbed = network.trajectory(y, operator, source=clean.source + 1.0)
    assert clean.times is not None
    for time, a, b in zip(clean.times, clean.states, disturbed.states, strict=True):
        torch.testing.assert_close(b - a, torch.full_like(a, float(time)), rtol=0, atol=1e-9)


def test_presets_to_compare_have_equal_regularizers() -> None:
    """What differs between them is the cascade: flat, varnet and modl, unshared, have as many weights."""
    counts = set()
    for name in ("flat", "varnet", "modl"):
        network = UnrolledNetwork(config=preset(name, n_cascades=2, shared=False))
        counts.add(sum(p.numel() for p in network.regularizers.parameters()))
    assert len(counts) == 1


def test_free_coefficients_are_shared_with_the_regularizer() -> None:
    network = UnrolledNetwork(n_cascades=5, coefficients="free", shared=True, data_step="gradient")
    assert network.coefficients.data.shape == network.coefficients.steps.shape == (1,)
    values = network.coefficients(torch.zeros(2))
    assert (values.steps.shape, values.data.shape, values.conditioning.shape) == ((5,), (5, 2), (5,))


def test_gradient_cascade_is_the_published_update() -> None:
    """x - eta A^H (A x - y) - lam R(x), E2E-VarNet in the image domain."""
    y, operator = problem()
    network = UnrolledNetwork(Shrink(0.2), preset("varnet", n_cascades=1)).double()
    eta, lam = 0.7, 0.4
    network.coefficients.data.data.fill_(eta)
    network.coefficients.steps.data.fill_(lam)
    x = operator.adjoint(y)
    expected = x - eta * operator.adjoint(operator.forward(x) - y) - lam * 0.2 * x
    torch.testing.assert_close(network(y, operator), expected)


def test_proximal_cascade_is_modl() -> None:
    """(A^H A + w)^(-1) (A^H y + w D(x)): MoDL with h = 1."""
    y, operator = problem()
    settings = {"n_cascades": 1, "cg_iterations": 300, "cg_tolerance": 1e-14}
    network = UnrolledNetwork(Shrink(0.2), preset("modl", **settings)).double()
    w = float(network.coefficients.data.detach().exp())
    x = operator.adjoint(y)
    result = network(y, operator)
    residual = operator.gram(result) + w * result - operator.adjoint(y) - w * 0.8 * x
    assert residual.abs().max() < 1e-6


@pytest.mark.parametrize("coefficients", ["free", "flow", "learned"])
def test_hard_cascade_replaces_the_samples_of_a_single_coil(coefficients: str) -> None:
    y, operator = problem(coils=1)
    operator = Encoding(operator.mask, torch.ones_like(operator.sensitivities))
    settings = {"n_cascades": 4, "data_step": "hard", "source": "zero-filled", "coefficients": coefficients}
    network = UnrolledNetwork(Shrink(0.5), **settings).double()
    torch.testing.assert_close(operator.forward(network(y, operator)), y * operator.mask[:, None])


@pytest.mark.parametrize("data_step", DATA_STEPS)
@pytest.mark.parametrize("coefficients", ["free", "flow", "learned"])
@pytest.mark.parametrize("shared", [True, False])
def test_every_setting_gives_a_trajectory_and_gradients(data_step: str, coefficients: str, shared: bool) -> None:
    if data_step == "paper" and coefficients == "free":
        pytest.skip("a closed form has no free coefficients: refused, tested below")
    y, operator = problem()
    operator = Encoding(operator.mask, operator.sensitivities.to(torch.complex64))
    network = UnrolledNetwork(
        config=UnrolledConfig(
            n_cascades=3,
            data_step=data_step,
            coefficients=coefficients,
            shared=shared,
            regularizer=TINY,
            source="zero-filled",
            noise_floor=0.8,
        )
    )
    for parameter in network.regularizers.parameters():
        nn.init.normal_(parameter, std=0.05)
    trajectory = network(y.to(torch.complex64), operator, torch.tensor([0.01, 0.1]), True)
    assert len(trajectory.states) == 4
    assert len(trajectory.endpoints) == trajectory.nfe == 3
    assert (trajectory.times is None) == (coefficients == "free")
    trajectory.image.abs().sum().backward()
    # Several processes need every parameter to take part.
    assert [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None] == []
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in network.parameters())


def test_a_learned_schedule_starts_at_the_fixed_one_and_stays_a_discretization() -> None:
    noise = torch.tensor([0.02])
    fixed, learned = (
        UnrolledNetwork(config=UnrolledConfig(n_cascades=5, schedule_alpha=1.0, coefficients=kind, regularizer=TINY))
        for kind in ("flow", "learned")
    )
    torch.testing.assert_close(
        learned.coefficients(noise).times, torch.tensor(power_schedule(5, 1.0)), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(learned.coefficients(noise).steps, fixed.coefficients(noise).steps)
    nn.init.normal_(learned.coefficients.increments, std=2.0)
    with torch.no_grad():
        values = learned.coefficients(noise)
    assert values.times is not None
    assert abs(float(values.times[-1])) < 1e-6
    assert bool((values.times[:-1] > values.times[1:]).all())
    assert float(values.steps[-1]) == pytest.approx(1)


def test_scale_of_the_image_does_not_matter() -> None:
    """Bias-free regularizers and w = sigma^2 / nu^2: image and noise in other units give the same image in them."""
    y, operator = problem()
    network = UnrolledNetwork(
        config=UnrolledConfig(n_cascades=2, regularizer=TINY, noise_floor=0.0, cg_iterations=30, cg_tolerance=1e-12)
    )
    for parameter in network.regularizers.parameters():
        nn.init.normal_(parameter, std=0.1)
    network, sigma = network.double(), torch.tensor([0.05, 0.2])
    image = network(y, operator, sigma)
    network.coefficients.log_prior_std.data += torch.log(torch.tensor(40.0))
    network.config = network.config.changed(source_std=40 * network.config.source_std)
    torch.testing.assert_close(network(40.0 * y, operator, 40.0 * sigma), 40.0 * image, rtol=1e-5, atol=1e-5)


def test_batch_entries_do_not_see_each_other() -> None:
    y, operator = problem()
    network = UnrolledNetwork(config=UnrolledConfig(n_cascades=2, regularizer=TINY, cg_tolerance=0.0))
    for parameter in network.regularizers.parameters():
        nn.init.normal_(parameter, std=0.1)
    network, sigma = network.double(), torch.tensor([0.05, 0.2])
    together = network(y, operator, sigma)
    for index in range(2):
        alone = Encoding(operator.mask[index : index + 1], operator.sensitivities[index : index + 1])
        torch.testing.assert_close(network(y[index : index + 1], alone, sigma[index : index + 1])[0], together[index])


def test_wrong_settings() -> None:
    with pytest.raises(ConfigError, match="did you mean 'n_cascades'"):
        UnrolledNetwork(config=preset("flat"), n_cascade=3)
    with pytest.raises(ConfigError, match="data_step"):
        UnrolledNetwork(data_step="implicit")
    with pytest.raises(ConfigError, match="closed form"):
        UnrolledNetwork(data_step="paper", coefficients="free")
    with pytest.raises(ConfigError, match="shared=True"):
        UnrolledNetwork(solver="heun")
    with pytest.raises(ConfigError, match="embedded estimate: bogacki_shampine"):
        UnrolledNetwork(solver="heun", shared=True, solver_tolerance=1e-3)
    with pytest.raises(ConfigError, match="falls strictly"):
        UnrolledNetwork(n_cascades=2, schedule="list", schedule_times=[1.0, 1.0, 0.0])
    with pytest.raises(ConfigError, match="n_cascades"):
        UnrolledNetwork(n_cascades=0)
    with pytest.raises(ConfigError, match="did you mean 'kind'"):
        UnrolledConfig.from_dict({"regularizer": {"kin": "unet"}})
    with pytest.raises(ConfigError, match=r"torch\.nn\.Module R\(x, t\).* belong into config; got RegularizerConfig"):
        UnrolledNetwork(regularizer=RegularizerConfig())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="regularizer must be a RegularizerConfig; got Shrink"):
        UnrolledConfig(regularizer=Shrink(0.1))  # type: ignore[arg-type]


def test_prior_widths_are_bounded_from_below() -> None:
    """`nu^2 = least^2 + exp(2 theta)`, in the data weights and at every time; the bound holds whatever is learned."""
    network = UnrolledNetwork(n_cascades=3, least_prior_std=0.1, shared=True, noise_floor=0.0)
    coefficients = network.coefficients
    assert isinstance(coefficients, FlowCoefficients)
    coefficients.log_prior_std.data = torch.tensor([0.5, 0.2, 1e-9]).log()
    noise = torch.tensor([0.05])
    expected = 0.05**2 / (0.01 + torch.tensor([0.25, 0.04, 0.0]))
    torch.testing.assert_close(coefficients(noise).data[:, 0], expected)
    for time, ratio in zip(coefficients.times()[:-1], expected, strict=True):
        torch.testing.assert_close(coefficients.ratio_at(time[None], noise), ratio[None])
    coefficients(noise).data.sum().backward()
    assert bool(torch.isfinite(coefficients.log_prior_std.grad).all())


def test_prior_widths_follow_the_scan() -> None:
    """`log nu_k = theta_k + a_k . c`: the weights written out, another scan has others, and without gains none has."""
    torch.manual_seed(0)
    y, operator = problem(batch=2)
    noise = torch.tensor([0.003, 0.03], dtype=torch.float64)
    settings = {"n_cascades": 3, "scan_prior_std": True, "noise_floor": 0.01}
    plain, network = UnrolledNetwork(n_cascades=3, noise_floor=0.01).double(), UnrolledNetwork(**settings).double()
    network.load_state_dict(plain.state_dict() | {"coefficients.scan_gains": torch.zeros(3, 2)})
    assert torch.equal(network(y, operator, noise), plain(y, operator, noise))
    coefficients = network.coefficients
    assert isinstance(coefficients, FlowCoefficients)
    assert coefficients.scan_gains is not None
    coefficients.scan_gains.data = torch.tensor([[0.1, 0.5], [0.0, -0.2], [0.3, 0.0]], dtype=torch.float64)
    scan = network.measure(y, operator, noise)
    assert scan.conditions is not None
    log_width = coefficients.log_prior_std[:, None] + coefficients.scan_gains @ scan.conditions.T
    weights = (noise**2 + 0.01**2) / (2 * log_width).exp()
    torch.testing.assert_close(coefficients(noise, scan.conditions).data, weights)
    for k, time in enumerate(coefficients.times()[:-1]):
        at_time = coefficients.ratio_at(time.expand(2), noise, scan.conditions)
        torch.testing.assert_close(at_time, weights[k])
    network(y, operator, noise).abs().sum().backward()
    assert bool((coefficients.scan_gains.grad != 0).any())


def test_solves_go_as_far_as_the_noise_and_the_misfit_of_the_data() -> None:
    """Less noise, more exact, in a batch by the least; where data and operator contradict each other, that is noise."""
    torch.manual_seed(0)
    x, operator = torch.randn(2, 8, 10, dtype=torch.complex128), problem(batch=2)[1]
    y = operator.forward(x)
    settings = {"n_cascades": 2, "noise_floor": 0.0, "source_iterations": 300, "source_std": 9.0}  # of no misfit
    following = UnrolledNetwork(config=UnrolledConfig(scan_noise=True, cg_iterations=12, **settings)).double()
    plain = UnrolledNetwork(config=following.config.changed(scan_noise=False)).double()
    exact = UnrolledNetwork(config=plain.config.changed(cg_iterations=20, cg_tolerance=1e-4)).double()
    for network in (plain, exact):
        network.load_state_dict(following.state_dict())
    wrong = y + operator.sampled * torch.randn_like(y)
    beside = y + ~operator.sampled * torch.randn_like(y)  # what was not sampled tells nothing
    for data, noise, same in (
        (y, [0.02, 0.05], plain),
        (y, [0.0002, 0.001], exact),
        (y, [0.0002, 0.05], exact),
        (beside, [0.0002, 0.001], exact),
        (torch.zeros_like(y), [float("nan")] * 2, plain),
    ):
        levels = torch.tensor(noise, dtype=torch.float64)
        found, expected = following(data, operator, levels), same(data, operator, levels)
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    scan = plain.measure(wrong, operator, 0.0002)
    source = plain.source(scan)
    misfit = scan.misfit(source)
    assert float(misfit.min()) > 0.1
    image = plain.run(replace(scan, noise_level=misfit), source=source).image
    assert torch.equal(following(wrong, operator, 0.0002), image)
    between = following.measure(y, operator, torch.tensor([10**-2.5], dtype=torch.float64).expand(2))
    assert (between.cg_iterations, round(between.cg_tolerance, 9)) == (16, round(10**-3.5, 9))


def test_a_network_is_told_of_no_acceleration_that_none_has_seen() -> None:
    """A probe finds R as `||p||^2 / ||A p||^2`, off the grid any: beyond 20 it is 20."""
    x = torch.randn(1, 16, 16, dtype=torch.complex64)
    network = UnrolledNetwork(config=UnrolledConfig(n_cascades=1, scan_prior_std=True, phase_frame=True))
    told = []
    for factor in (0.5, 0.1, 0.01):
        operator = factor * Identity()
        told.append(float(network.measure(operator.forward(x), operator, 0.01).conditions[0, 1]))
    assert told[0] == pytest.approx(math.log(4) - 1.2, abs=1e-4)
    assert told[1] == told[2] == pytest.approx(math.log(20) - 1.2)


class Halfway(nn.Module):
    """A regularizer that sees the source: D(x) is halfway between state and source."""

    def forward(self, x: Tensor, time: Tensor, source: Tensor) -> Tensor:
        return (x - source) / 2


@pytest.mark.parametrize("shared", [True, False])
def test_a_regularizer_sees_the_source_without_its_noise(shared: bool) -> None:
    """D = (x + s) / 2 and Euler steps, written out; with the noise of the source in the state alone."""
    y, operator = problem()
    settings = {"data_step": "none", "n_cascades": 4, "source": "zero-filled", "source_noise": 0.3, "shared": shared}
    network = UnrolledNetwork(Halfway(), see_source=True, **settings).double()
    states = network.trajectory(y, operator, generator=torch.Generator().manual_seed(1)).states
    source = operator.adjoint(y)
    assert float((states[0] - source).abs().mean()) > 0.1
    for before, after, step in zip(states[:-1], states[1:], (1 / 4, 1 / 3, 1 / 2, 1), strict=True):
        torch.testing.assert_close(after, before + step * (source - before) / 2, rtol=0, atol=1e-12)
    with pytest.raises(ConfigError, match="see_source needs a regularizer of kind unet or custom; got cnn"):
        UnrolledConfig(see_source=True, regularizer=RegularizerConfig(kind="cnn"))


def test_a_network_that_sees_the_source_is_homogeneous() -> None:
    y, operator = problem()
    torch.manual_seed(0)
    config = UnrolledConfig(n_cascades=2, shared=True, see_source=True, noise_floor=0.0, regularizer=TINY)
    network = UnrolledNetwork(config=config).double()
    for parameter in network.regularizers.parameters():
        nn.init.normal_(parameter, std=0.2)
    level = torch.tensor([0.1, 0.2], dtype=torch.float64)
    seen, blind = network(y, operator, level), UnrolledNetwork(config=config.changed(see_source=False))
    torch.testing.assert_close(network(2 * y, operator, level), 2 * seen, rtol=1e-6, atol=1e-9)
    assert sum(p.numel() for p in network.parameters()) > sum(p.numel() for p in blind.parameters())
    scan = network.measure(y, operator, level)
    assert scan.source is not None
    torch.testing.assert_close(scan.source, network.source(scan), rtol=0, atol=0)


def test_recomputing_the_cascades_changes_no_gradient() -> None:
    y, operator = problem()
    network = UnrolledNetwork(config=UnrolledConfig(n_cascades=3, regularizer=TINY, coefficients="learned")).double()
    for parameter in network.regularizers.parameters():
        nn.init.normal_(parameter, std=0.1)
    calls: list[int] = []
    for index, regularizer in enumerate(network.regularizers):
        regularizer.register_forward_hook(lambda *_, index=index: calls.append(index))
    gradients = []
    for recompute in (False, True):
        network.zero_grad()
        trajectory = network.trajectory(y, operator, torch.tensor([0.1, 0.2]), recompute=recompute)
        sum(state.abs().sum() for state in trajectory.states).backward()
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    assert calls == [0, 1, 2, 0, 1, 2, 2, 1, 0]
    assert len(gradients[0]) > 10
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain, rtol=1e-12, atol=1e-12)


def test_a_step_of_length_zero_aims_at_the_state_itself() -> None:
    """Free, lam_k = 0 is possible; the data step alone moves the state then, and says nothing of the image."""
    y, operator = problem()
    network = UnrolledNetwork(Shrink(0.2), preset("varnet", n_cascades=2)).double()
    network.coefficients.steps.data[0] = 0
    trajectory = network.trajectory(y, operator)
    assert not torch.equal(trajectory.states[1], trajectory.states[0])
    assert torch.equal(trajectory.endpoints[0], trajectory.states[0])
    torch.stack(trajectory.endpoints).abs().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in network.parameters() if p.grad is not None)


def test_the_trained_number_of_cascades_is_the_network_itself() -> None:
    """Asked for as many cascades as it has, a continuous network keeps its schedule; for another number, uniform."""
    y, operator = problem()
    config = UnrolledConfig(n_cascades=3, regularizer=TINY, shared=True, schedule_alpha=2.0)
    network = UnrolledNetwork(config=config).double()
    for parameter in network.regularizers.parameters():
        nn.init.normal_(parameter, std=0.1)
    with torch.no_grad():
        own, asked = network.trajectory(y, operator), network.trajectory(y, operator, n_cascades=3)
        finer = network.trajectory(y, operator, n_cascades=6)
    assert torch.equal(own.image, asked.image)
    assert finer.times is not None
    torch.testing.assert_close(finer.times, torch.linspace(1, 0, 7).double())


def test_gradient_endpoint_is_one_gradient_step() -> None:
    """x0_hat = D(x) - g A^H (A D(x) - y), g = 1 / (1 + w), then the Euler step."""
    y, operator = problem()
    network = UnrolledNetwork(Shrink(0.2), n_cascades=2, data_step="gradient_endpoint", source="zero-filled").double()
    sigma = torch.tensor([0.1, 0.3], dtype=torch.float64)
    x = operator.adjoint(y)
    for h, log_width in zip((0.5, 1.0), network.coefficients.log_prior_std.detach(), strict=True):
        w = ((sigma**2 + network.config.noise_floor**2) / (2 * log_width).exp())[:, None, None]
        endpoint = 0.8 * x - operator.adjoint(operator.forward(0.8 * x) - y) / (1 + w)
        x = (1 - h) * x + h * endpoint
    torch.testing.assert_close(network(y, operator, sigma), x, rtol=0, atol=1e-12)
