"""The oracles against brute force that shares nothing with them: quadrature on a grid, autograd, root finding."""

import math
from collections.abc import Callable

import pytest
import scipy.optimize
import scipy.stats
import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow import TABLEAUX, integrate, integrate_adaptive, relative_steps, uniform_schedule
from laminar.models import UnrolledNetwork
from laminar.operators import Encoding, fft2c, ifft2c
from laminar.theory import AnalyticPrior, ConstantOracle, Gaussian, Mixture, OracleRegularizer, matrix_of

R, C = torch.float64, torch.complex128
TAU = 0.8


def tensor(values: object, dtype: torch.dtype = R) -> Tensor:
    return torch.tensor(values, dtype=dtype)


def mixture_of(*parts: tuple[float, list[object], list[list[object]]], dtype: torch.dtype) -> Mixture:
    weights, means, covariances = zip(*parts, strict=True)
    return Mixture(tensor(weights), tensor(means, dtype), tensor(covariances, dtype))


ONE = mixture_of((0.3, [-1.5], [[0.1]]), (0.5, [0.4], [[0.5]]), (0.2, [2.0], [[0.02]]), dtype=R)
PRIORS: dict[str, Gaussian | Mixture] = {
    "gaussian, 1 real": Gaussian(tensor([0.7]), tensor([[0.6]])),
    "gaussian, 2 real": Gaussian(tensor([0.7, -0.2]), tensor([[0.9, -0.4], [-0.4, 0.5]])),
    "gaussian, 1 complex": Gaussian(tensor([0.7 - 0.3j], C), tensor([[0.6]], C)),
    "mixture, 1 real": ONE,
    "mixture, 2 real": mixture_of(
        (0.4, [-1.0, 0.5], [[0.3, 0.1], [0.1, 0.4]]), (0.6, [0.8, -0.2], [[0.6, -0.3], [-0.3, 0.3]]), dtype=R
    ),
    "mixture, 1 complex": mixture_of((0.4, [-1.0 + 0.5j], [[0.3]]), (0.6, [0.8 - 0.2j], [[0.5]]), dtype=C),
}
every_prior = pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)


def randn(*shape: int, dtype: torch.dtype = C, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def random_gaussian(n: int, dtype: torch.dtype = C, seed: int = 0) -> Gaussian:
    root = randn(n, n, dtype=dtype, seed=seed)
    return Gaussian(randn(n, dtype=dtype, seed=seed + 1), root @ root.mH / n + 0.1 * torch.eye(n, dtype=dtype))


def grid_of(prior: AnalyticPrior) -> Tensor:
    """Points (count, n) of a square grid that is fine and wide enough for errors below 1e-12."""
    n, is_complex = len(prior.mean), prior.mean.is_complex()
    axes = [torch.arange(-8, 8, 0.01 if n == 1 and not is_complex else 0.05, dtype=R)] * (2 if is_complex else n)
    points = torch.cartesian_prod(*axes).view(-1, len(axes))
    return torch.complex(points[:, :1], points[:, 1:]) if is_complex else points


def normal(x: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """The normal density from its definition; x (..., n)."""
    power = 1.0 if x.is_complex() else 0.5
    energy = ((x - mean).conj() @ covariance.inverse().T * (x - mean)).sum(-1).real
    return (-power * energy).exp() / torch.linalg.det(math.pi / power * covariance).real ** power


def density(prior: Gaussian | Mixture, x: Tensor) -> Tensor:
    if isinstance(prior, Gaussian):
        return normal(x, prior.mean, prior.covariance)
    parts = zip(prior.weights, prior.means, prior.covariances, strict=True)
    return sum((w * normal(x, mean, covariance) for w, mean, covariance in parts), torch.zeros(()))


def moments(points: Tensor, masses: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (..., n) and covariance (..., n, n) of points (count, n) with masses (..., count)."""
    masses = (masses / masses.sum(-1, keepdim=True)).to(points.dtype)
    mean = masses @ points
    second = torch.einsum("...g,gi,gj->...ij", masses, points, points.conj())
    return mean, second - mean[..., :, None] * mean[..., None, :].conj()


def states(prior: AnalyticPrior, seed: int = 5) -> tuple[Tensor, Tensor]:
    """Some states (4, n) and a source (n,)."""
    n, dtype = len(prior.mean), prior.mean.dtype
    return randn(4, n, dtype=dtype, seed=seed), randn(n, dtype=dtype, seed=seed + 1)


@every_prior
@pytest.mark.parametrize("t", [0.25, 0.6, 0.95, 1.0])
def test_conditional_moments_velocity_and_score_agree_with_quadrature(prior: Gaussian | Mixture, t: float) -> None:
    """E and Cov of x0 given x_t, v = E[x1 - x0 | x_t], log p_t and its Wirtinger derivative; 1e-10."""
    x, source = states(prior)
    grid = grid_of(prior)
    x.requires_grad_()
    center = (1 - t) * grid + t * source
    noise = (t * TAU) ** 2 * torch.eye(len(source), dtype=x.dtype)
    masses = density(prior, grid) * normal(x[:, None], center, noise)
    cell = 0.01 if grid.shape[1] == 1 and not grid.is_complex() else 0.05**2
    log_density = (masses.sum(-1) * cell).log()
    (gradient,) = torch.autograd.grad(log_density.sum(), x)
    x, masses = x.detach(), masses.detach()
    mean, covariance = moments(grid, masses)

    path = {"source": source, "tau": TAU}
    exact = {"rtol": 0, "atol": 1e-10}
    torch.testing.assert_close(prior.denoised(x, t, **path), mean, **exact)
    torch.testing.assert_close(prior.velocity(x, t, **path), (x - (1 - t) * mean) / t - mean, **exact)
    torch.testing.assert_close(prior.log_density(x, t, **path), log_density.detach(), **exact)
    # Autograd gives d/dRe + i d/dIm, twice the Wirtinger derivative.
    torch.testing.assert_close(prior.score(x, t, **path), gradient / (2 if x.is_complex() else 1), **exact)
    spread = (
        prior.denoiser_covariance(t, TAU) if isinstance(prior, Gaussian) else prior.denoiser_covariance(x, t, **path)
    )
    torch.testing.assert_close(spread.expand_as(covariance), covariance, **exact)


@every_prior
def test_posterior_agrees_with_bayes_on_a_grid(prior: Gaussian | Mixture) -> None:
    """p(x0 | y) = p(x0) N(y; A x0, sigma^2) / p(y), point by point, with its moments; 1e-10."""
    n, dtype, sigma = len(prior.mean), prior.mean.dtype, 0.5
    matrix, y = randn(1, n, dtype=dtype, seed=8), randn(1, dtype=dtype, seed=9)
    grid = grid_of(prior)
    joint = density(prior, grid) * normal(y, grid @ matrix.T, sigma**2 * torch.eye(1, dtype=dtype))
    cell = 0.01 if n == 1 and not dtype.is_complex else 0.05**2
    mean, covariance = moments(grid, joint)
    posterior = prior.given(matrix, y, sigma)
    exact = {"rtol": 0, "atol": 1e-10}
    found = posterior.log_density(grid, 0.0, source=torch.zeros_like(mean), tau=TAU).exp()
    torch.testing.assert_close(found, joint / (joint.sum() * cell), **exact)
    torch.testing.assert_close(posterior.mean, mean, **exact)
    torch.testing.assert_close(posterior.covariance, covariance, **exact)


@pytest.mark.parametrize("dtype", [R, C])
def test_measuring_twice_is_measuring_together(dtype: torch.dtype) -> None:
    """given(A1, y1).given(A2, y2) = given([A1; A2], [y1; y2]), for many dimensions and a mixture; 1e-11."""
    parts = [random_gaussian(5, dtype, seed) for seed in (0, 10)]
    prior = Mixture(
        tensor([0.3, 0.7]), torch.stack([p.mean for p in parts]), torch.stack([p.covariance for p in parts])
    )
    matrix, y = randn(4, 5, dtype=dtype, seed=3), randn(4, dtype=dtype, seed=4)
    together = prior.given(matrix, y, 0.7)
    one_by_one = prior.given(matrix[:1], y[:1], 0.7).given(matrix[1:], y[1:], 0.7)
    for name in ("weights", "means", "covariances"):
        torch.testing.assert_close(getattr(one_by_one, name), getattr(together, name), rtol=0, atol=1e-11)


@every_prior
def test_ends_of_the_path_are_exact(prior: Gaussian | Mixture) -> None:
    """At t = 1 x_1 tells nothing: x0_hat = E[x0], v = x1 - E[x0]; at t = 0 it is x0: x0_hat = x, v = source - x."""
    x, source = states(prior)
    path = {"source": source, "tau": TAU}
    exact = {"rtol": 0, "atol": 1e-13}
    torch.testing.assert_close(prior.denoised(x, 1.0, **path), prior.mean.expand_as(x), **exact)
    torch.testing.assert_close(prior.velocity(x, 1.0, **path), x - prior.mean, **exact)
    torch.testing.assert_close(prior.denoised(x, 0.0, **path), x, **exact)
    torch.testing.assert_close(prior.velocity(x, 0.0, **path), source - x, **exact)


@every_prior
@pytest.mark.parametrize("t", [0.0, 0.3, 0.999])
def test_a_constant_source_gives_the_degenerate_endpoint(prior: Gaussian | Mixture, t: float) -> None:
    """tau = 0: x0_hat = (x - t x1)/(1-t) for t < 1, on the line or off it; the mean at t = 1."""
    x, source = states(prior)
    path = {"source": source, "tau": 0.0}
    endpoint = (x - t * source) / (1 - t)
    torch.testing.assert_close(prior.denoised(x, t, **path), endpoint, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(prior.velocity(x, t, **path), source - endpoint, rtol=1e-12, atol=1e-12)
    start = source.expand_as(x)
    torch.testing.assert_close(prior.denoised(start, 1.0, **path), prior.mean.expand_as(x), rtol=0, atol=1e-14)


@every_prior
def test_a_time_and_a_source_for_each_entry_of_the_batch(prior: Gaussian | Mixture) -> None:
    x, _ = states(prior)
    sources, times = randn(*x.shape, dtype=x.dtype, seed=11), tensor([0.0, 0.2, 0.7, 1.0])
    for answer in (prior.denoised, prior.velocity, prior.score, prior.log_density):
        together = answer(x, times, source=sources, tau=TAU)
        for k in range(4):
            alone = answer(x[k : k + 1], float(times[k]), source=sources[k], tau=TAU)
            torch.testing.assert_close(together[k : k + 1], alone, rtol=1e-12, atol=1e-12)


def test_a_covariance_that_is_singular_leaves_the_known_directions_alone() -> None:
    """x0 fixed in one direction: there x0_hat is the mean; the velocity at t = 0 is still E[x1 - x0 | x_0]."""
    prior = Gaussian(tensor([1.0, 2.0]), tensor([[0.5, 0.0], [0.0, 0.0]]))
    x, source = tensor([[0.3, 2.0]]), tensor([0.0, 0.0])
    path = {"source": source, "tau": TAU}
    torch.testing.assert_close(prior.denoised(x, 0.4, **path)[:, 1], tensor([2.0]), rtol=0, atol=1e-15)
    torch.testing.assert_close(prior.velocity(x, 0.0, **path), -x, rtol=0, atol=1e-15)
    torch.testing.assert_close(prior.denoiser_covariance(1.0, 0.0), prior.covariance, rtol=0, atol=1e-15)
    with pytest.raises(ConfigError, match="no score"):
        prior.score(x, 0.0, **path)


@pytest.mark.parametrize("source", [0.0, 1.3])
def test_flow_map_of_a_mixture_matches_quantiles(source: float) -> None:
    """F_0(x0) = Phi((x1 - source)/tau), solved by Brent's method, far into both tails; 1e-12."""
    z = [-30.0, -9.0, -2.5, -0.8, 0.0, 0.3, 1.9, 7.0, 25.0]
    widths = ONE.covariances[:, 0, 0].sqrt().numpy()

    def excess(x: float, z: float) -> float:
        side = -math.copysign(1, z)  # the smaller tail, by its logarithm
        tail = scipy.stats.norm.logcdf(side * (x - ONE.means[:, 0].numpy()) / widths)
        return float(scipy.special.logsumexp(tail, b=ONE.weights.numpy()) - scipy.stats.norm.logcdf(side * z))

    expected = [scipy.optimize.brentq(excess, -60, 60, args=(value,), xtol=1e-15, rtol=1e-15) for value in z]
    x1 = source + TAU * tensor(z)[:, None]
    found = ONE.flow_map(x1, source=tensor([source]), tau=TAU)
    torch.testing.assert_close(found[:, 0], tensor(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "prior", [PRIORS["gaussian, 2 real"], random_gaussian(4), ONE], ids=["2 real", "4 complex", "mixture"]
)
def test_flow_map_is_the_end_of_the_velocity_field(prior: AnalyticPrior) -> None:
    """dx/dt = v from t = 1 to 0, integrated adaptively to 1e-10, ends at the closed-form map; 1e-9."""
    x1, source = states(prior)
    found = integrate_adaptive(
        lambda x, t: prior.velocity(x, t, source=source, tau=TAU),
        x1,
        tableau=TABLEAUX["dormand_prince"],
        rtol=1e-10,
        atol=1e-11,
        max_nfe=20_000,
    )
    torch.testing.assert_close(found.image, prior.flow_map(x1, source=source, tau=TAU), rtol=0, atol=1e-9)


@pytest.mark.parametrize("prior", [PRIORS["gaussian, 1 complex"], PRIORS["mixture, 2 real"], ONE, random_gaussian(3)])
def test_samples_are_seeded_and_have_the_moments(prior: AnalyticPrior) -> None:
    """Mean and covariance within five standard errors of 40000 draws; complex samples are circular."""
    count = 40_000
    draws = prior.sample(count, torch.Generator().manual_seed(1))
    assert torch.equal(draws[:5], prior.sample(count, torch.Generator().manual_seed(1))[:5])
    spread = 5 * float(torch.linalg.matrix_norm(prior.covariance, 2)) / math.sqrt(count)
    apart = draws - prior.mean
    torch.testing.assert_close(draws.mean(0), prior.mean, rtol=0, atol=5 * math.sqrt(spread / 5 / math.sqrt(count)))
    torch.testing.assert_close(apart.T @ apart.conj() / count, prior.covariance, rtol=0, atol=2 * spread)
    if draws.is_complex() and isinstance(prior, Gaussian):
        assert float((apart.T @ apart / count).abs().amax()) < 2 * spread


def single_coil(y: int, x: int) -> Encoding:
    mask = torch.rand(1, y, x, generator=torch.Generator().manual_seed(2)) < 0.5
    return Encoding(mask, torch.ones(1, 1, y, x, dtype=C))


def test_matrix_of_an_operator_is_the_operator() -> None:
    """matrix @ vec(x) = vec(A x) and matrix^H @ vec(y) = vec(A^H y), multi-coil, in chunks; 1e-13."""
    maps = randn(1, 3, 4, 5, seed=6)
    mask = torch.rand(1, 4, 5, generator=torch.Generator().manual_seed(2)) < 0.5
    operator = Encoding(mask, maps)
    matrix = matrix_of(operator, (4, 5), chunk=7)
    x, y = randn(1, 4, 5, seed=1), randn(1, 3, 4, 5, seed=2)
    assert matrix.shape == (60, 20)
    torch.testing.assert_close(matrix @ x.flatten(), operator.forward(x).flatten(), rtol=0, atol=1e-13)
    torch.testing.assert_close(matrix.mH @ y.flatten(), operator.adjoint(y).flatten(), rtol=0, atol=1e-13)


def test_posterior_of_single_coil_fourier_is_a_soft_replacement() -> None:
    """White prior: k = (k_meas + w k_prior)/(1 + w) where sampled, k_prior elsewhere, w = sigma^2/s^2; 1e-12."""
    operator, sigma, s = single_coil(4, 6), 0.3, 0.8
    prior = Gaussian(randn(24, seed=1), s**2 * torch.eye(24, dtype=C))
    y = operator.forward(randn(1, 4, 6, seed=2))
    posterior = prior.given(matrix_of(operator, (4, 6)), y.flatten(), sigma)
    w, expected = sigma**2 / s**2, fft2c(prior.mean.view(1, 4, 6))
    soft = torch.where(operator.mask, (y[:, 0] + w * expected) / (1 + w), expected)
    torch.testing.assert_close(posterior.mean.view(1, 4, 6), ifft2c(soft), rtol=0, atol=1e-12)
    variances = torch.where(operator.mask, tensor(s**2 * w / (1 + w)), tensor(s**2)).flatten()
    torch.testing.assert_close(torch.linalg.eigvalsh(posterior.covariance), variances.sort().values, rtol=0, atol=1e-12)


SETTINGS = {"coefficients": "flow", "noise_floor": 0.0, "cg_iterations": 100, "cg_tolerance": 1e-15}


@pytest.mark.parametrize("n_cascades", [1, 3, 12])
def test_network_with_an_oracle_is_euler_on_the_exact_posterior_flow(n_cascades: int) -> None:
    """Proximal cascades with D = E[x0|x_t], nu_t^2 = Var[x0|x_t] are Euler steps of E[x1 - x0|x_t, y]; 1e-10.

    x1 = source + tau eps independent of y, white prior, single-coil Fourier: every state of the network is known.
    """
    operator, sigma, s = single_coil(4, 6), 0.2, 0.7
    prior = Gaussian(randn(24, seed=1), s**2 * torch.eye(24, dtype=C))
    source, y = randn(4, 6, seed=3), operator.forward(randn(1, 4, 6, seed=2))
    posterior = prior.given(matrix_of(operator, (4, 6)), y.flatten(), sigma)
    start = source + TAU * randn(2, 4, 6, seed=4)
    oracle = OracleRegularizer(prior, source, TAU)
    network = UnrolledNetwork(oracle, n_cascades=n_cascades, data_step="proximal", **SETTINGS).double()
    times = uniform_schedule(n_cascades)
    variances = prior.denoiser_covariance(tensor(times[:-1]), TAU)[:, 0, 0].real
    network.coefficients.log_prior_std.data = 0.5 * variances.log()
    with torch.no_grad():
        found = network.trajectory(y.expand(2, -1, -1, -1), operator, tensor([sigma, sigma]), source=start)
    expected = integrate(
        lambda x, t: posterior.velocity(x, t, source=source.flatten(), tau=TAU), start.flatten(1), times
    )
    torch.testing.assert_close(found.stacked().flatten(2), expected.stacked(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("solver", ["euler", "midpoint", "rk4"])
@pytest.mark.parametrize("kind", ["gaussian", "mixture"])
def test_network_whose_regularizer_knows_the_posterior_integrates_its_flow(kind: str, solver: str) -> None:
    """data_step none and R(x, t) = x - E[x0 | x_t, y]: the network is its outer solver on the exact velocity; 1e-10.

    Multi-coil, any prior; the last step is Euler, since the network has its velocity as a quotient by t.
    """
    maps = randn(1, 3, 3, 4, seed=6)
    operator = Encoding(torch.rand(1, 3, 4, generator=torch.Generator().manual_seed(2)) < 0.5, maps)
    parts = [random_gaussian(12, seed=seed) for seed in (0, 10)]
    prior: Gaussian | Mixture = parts[0]
    if kind == "mixture":
        moments = torch.stack([p.mean for p in parts]), torch.stack([p.covariance for p in parts])
        prior = Mixture(tensor([0.4, 0.6]), *moments)
    y, source = operator.forward(randn(1, 3, 4, seed=2)), randn(3, 4, seed=3)
    posterior = prior.given(matrix_of(operator, (3, 4)), y.flatten(), 0.3)
    oracle = OracleRegularizer(posterior, source, TAU)
    network = UnrolledNetwork(oracle, n_cascades=5, data_step="none", shared=True, solver=solver, **SETTINGS).double()
    start = source + TAU * randn(1, 3, 4, seed=4)
    with torch.no_grad():
        found = network.trajectory(y, operator, tensor([0.3]), source=start).stacked().flatten(2)
    expected = integrate(
        lambda x, t: posterior.velocity(x, t, source=source.flatten(), tau=TAU),
        start.flatten(1),
        uniform_schedule(5),
        TABLEAUX[solver],
        last_euler=True,
    )
    torch.testing.assert_close(found, expected.stacked(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("n_cascades", [1, 4])
def test_constant_and_degenerate_oracles_collapse_to_the_mean(n_cascades: int) -> None:
    """From a constant source the oracle of the posterior and R = x - mean draw the same line to the mean; 1e-12."""
    prior, source = random_gaussian(6), randn(2, 3, seed=3)
    times = uniform_schedule(n_cascades)
    for oracle in (OracleRegularizer(prior, source, 0.0), ConstantOracle(prior.mean.view(2, 3))):
        x = source.expand(2, 2, 3)
        for t, h in zip(times, relative_steps(times), strict=False):
            x = x - h * oracle(x, torch.full((2,), t, dtype=R))
        torch.testing.assert_close(x, prior.mean.view(2, 3).expand(2, 2, 3), rtol=0, atol=1e-12)


def test_oracle_regularizer_answers_in_the_dtype_of_the_image() -> None:
    oracle = OracleRegularizer(random_gaussian(6), randn(2, 3), TAU)
    image, time = randn(4, 2, 3, seed=7), torch.linspace(0, 1, 4)
    low = oracle(image.to(torch.complex64), time)
    assert low.dtype == torch.complex64
    torch.testing.assert_close(low, oracle(image, time).to(torch.complex64), rtol=1e-5, atol=1e-5)


EYE = torch.eye(2, dtype=R)
GAUSSIAN = Gaussian(torch.zeros(2, dtype=R), EYE)
BAD: dict[str, tuple[Callable[[], object], str]] = {
    "shape": (lambda: Gaussian(torch.zeros(3, dtype=R), EYE), "covariance"),
    "dtype": (lambda: Gaussian(torch.zeros(2), torch.eye(2)), "float64"),
    "nan": (lambda: Gaussian(tensor([math.nan, 0]), EYE), "finite"),
    "asymmetric": (lambda: Gaussian(torch.zeros(2, dtype=R), tensor([[1.0, 0.5], [0.0, 1.0]])), "Hermitian"),
    "indefinite": (lambda: Gaussian(torch.zeros(2, dtype=R), tensor([[1.0, 2.0], [2.0, 1.0]])), "smallest eigenvalue"),
    "weights": (lambda: Mixture(tensor([0.5, 0.6]), torch.zeros(2, 2, dtype=R), torch.stack([EYE, EYE])), "sum 1"),
    "count": (lambda: Mixture(tensor([1.0]), torch.zeros(2, 2, dtype=R), torch.stack([EYE, EYE])), "weights"),
    "singular": (lambda: Mixture(tensor([1.0]), torch.zeros(1, 2, dtype=R), 0 * EYE[None]), "positive definite"),
    "matrix": (lambda: GAUSSIAN.given(torch.zeros(1, 3, dtype=R), torch.zeros(1, dtype=R), 1.0), "matrix"),
    "complex matrix": (lambda: GAUSSIAN.given(torch.zeros(1, 2, dtype=C), torch.zeros(1, dtype=C), 1.0), "real"),
    "noiseless": (lambda: GAUSSIAN.given(EYE, torch.zeros(2, dtype=R), 0.0), "positive"),
    "state": (lambda: GAUSSIAN.denoised(torch.zeros(2, dtype=R), 0.5, source=EYE[0], tau=1.0), "state"),
    "source": (lambda: GAUSSIAN.score(EYE, 0.5, source=torch.zeros(3, dtype=R), tau=1.0), "source"),
    "time": (lambda: GAUSSIAN.velocity(EYE, 1.5, source=EYE[0], tau=1.0), "time"),
    "times": (lambda: GAUSSIAN.velocity(EYE, torch.zeros(3), source=EYE[0], tau=1.0), "time"),
    "tau": (lambda: GAUSSIAN.velocity(EYE, 0.5, source=EYE[0], tau=-1.0), "tau"),
    "map from a point": (lambda: GAUSSIAN.flow_map(EYE, source=EYE[0], tau=0.0), "tau > 0"),
    "map of many": (
        lambda: Mixture(tensor([1.0]), EYE[:1], EYE[None]).flow_map(EYE, source=EYE[0], tau=1.0),
        "one real number",
    ),
    "real images": (lambda: OracleRegularizer(GAUSSIAN, torch.zeros(1, 2), 1.0), "complex prior"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
