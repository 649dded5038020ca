"""The mathematics that Laminar claims, statement by statement, against exact Gaussian and mixture worlds in float64."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from laminar.flow import (
    EULER,
    TABLEAUX,
    Trajectory,
    Velocity,
    integrate,
    integrate_adaptive,
    interpolate,
    power_schedule,
    relative_steps,
    uniform_schedule,
)
from laminar.flow.straightness import implied_endpoint
from laminar.models import UnrolledNetwork
from laminar.operators import Encoding
from laminar.theory import AnalyticPrior, Gaussian, Mixture
from laminar.training.objectives import Norm, alignment, distance

R, C = torch.float64, torch.complex128
SIGMA, TAU = 0.4, 0.8

SCHEDULES: dict[str, Callable[[int], tuple[float, ...]]] = {
    "uniform": uniform_schedule,
    "dense at the image": lambda n: power_schedule(n, 2.0, "image"),
    "dense at the start": lambda n: power_schedule(n, 2.0, "start"),
    "alpha 0.7": lambda n: power_schedule(n, 0.7, "start"),
}
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


def randn(*shape: int, dtype: torch.dtype = C, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def close(actual: Tensor, expected: Tensor, atol: float) -> None:
    torch.testing.assert_close(actual, expected.to(actual.dtype).expand_as(actual), rtol=0, atol=atol)


def eye(n: int) -> Tensor:
    return torch.eye(n, dtype=C)


def random_gaussian(n: int = 6, seed: int = 0) -> Gaussian:
    root = randn(n, n, seed=seed)
    return Gaussian(randn(n, seed=seed + 1), root @ root.mH / n + 0.1 * eye(n))


def random_mixture(n: int = 6) -> Mixture:
    parts = [random_gaussian(n, seed) for seed in (0, 10, 20)]
    weights = torch.tensor([0.2, 0.3, 0.5], dtype=R)
    return Mixture(weights, torch.stack([p.mean for p in parts]), torch.stack([p.covariance for p in parts]))


def random_matrix(m: int = 4, n: int = 6, rank: int | None = None, seed: int = 7) -> Tensor:
    """Dense (m, n) of norm 1; of the given rank, if any."""
    u, s, vh = torch.linalg.svd(randn(m, n, seed=seed), full_matrices=False)
    s = s / s[0]
    s[min(m, n) if rank is None else rank :] = 0
    return (u * s) @ vh


def end_of(velocity: Velocity, x1: Tensor, rtol: float = 1e-11) -> Tensor:
    """The end of `dx/dt = v` from t = 1 to 0, to about 10 rtol."""
    settings = {"rtol": rtol, "atol": rtol / 10, "max_nfe": 20_000}
    return integrate_adaptive(velocity, x1, tableau=TABLEAUX["dormand_prince"], **settings).image


def flow_end(prior: AnalyticPrior, x1: Tensor, source: Tensor, tau: float) -> Tensor:
    return end_of(lambda x, t: prior.velocity(x, t, source=source, tau=tau), x1)


# --- Section 2: the cascade is an Euler step


FORMS: dict[str, tuple[Callable[[Tensor, Tensor, Tensor, Tensor], Tensor], Callable[[float, float], float]]] = {
    "residual": (lambda x, t, m, x1: (x - m) / t, lambda before, after: after / before),
    "x1 - m": (lambda x, t, m, x1: x1 - m + 0 * x, lambda before, after: 1.0),
    "flow matching": (lambda x, t, m, x1: (x1 - x) / (1 - t), lambda before, after: (1 - after) / (1 - before)),
}


@every_schedule
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("injected", [1, 5, 11])
def test_gain_of_an_injected_error(form: str, schedule: Callable[[int], tuple[float, ...]], injected: int) -> None:
    """An error injected at cascade j is multiplied by t_k/t_{k+1} in each step of the residual form; 1e-9.

    Nothing of it is left. By 1 in the form x1 - m; by (1-t_k)/(1-t_{k+1}), in all 1/(1-t_j), in flow matching's.
    """
    velocity, gain = FORMS[form]
    times, m, x1, error = schedule(12), randn(1, 6, seed=1), randn(1, 6, seed=2), randn(1, 6, seed=3)
    state = interpolate(m, x1, times[injected])
    clean, disturbed = (
        integrate(lambda x, t: velocity(x, t, m, x1), start, times[injected:], EULER).states
        for start in (state, state + error)
    )
    expected = error
    for (before, after), a, b in zip(pairwise(times[injected:]), clean[1:], disturbed[1:], strict=True):
        expected = gain(before, after) * expected
        close(b - a, expected, 1e-9)
    totals = {"residual": 0.0, "x1 - m": 1.0, "flow matching": 1 / (1 - times[injected])}
    close(disturbed[-1] - clean[-1], totals[form] * error, 1e-9)


@pytest.mark.parametrize("t", [1.0, 0.6, 0.2])
def test_gain_of_a_cascade_is_one_minus_h_plus_h_times_the_jacobian(t: float) -> None:
    """In general the gain is (1-h) I + h J, and J = (1-t)/(t^2 tau^2) Cov[x0|x_t] for the exact endpoint; 1e-12."""
    prior, source, h = random_gaussian(4), randn(4, seed=5), 0.3
    prior = Gaussian(prior.mean.real.clone(), prior.covariance.real.clone())
    x, source = randn(1, 4, dtype=R, seed=6), source.real.clone()

    def cascade(x: Tensor) -> Tensor:
        return integrate(lambda x, t: prior.velocity(x, t, source=source, tau=TAU), x, (t, (1 - h) * t)).image

    found = torch.autograd.functional.jacobian(cascade, x)[0, :, 0]
    jacobian = (1 - t) / (t * TAU) ** 2 * prior.denoiser_covariance(t, TAU)
    close(found, (1 - h) * torch.eye(4, dtype=R) + h * jacobian, 1e-12)


@pytest.mark.parametrize(
    ("matrix", "orthonormal"), [(random_matrix(), False), (torch.linalg.qr(randn(6, 4))[0].mH, True)]
)
@pytest.mark.parametrize("t", [1.0, 0.7, 0.4])
def test_proximal_endpoint_is_the_exact_conditional_mean(matrix: Tensor, orthonormal: bool, t: float) -> None:
    """(A^H A + w)^(-1)(A^H y + w D(x)) = E[x0 | x_t, y] for w = sigma^2/nu_t^2, a white prior and x1 = tau eps; 1e-12.

    One gradient step at D with g = 1/(1 + w) is the same iff A A^H = I.
    """
    prior = Gaussian(randn(6, seed=1), 0.7**2 * eye(6))
    x, y, path = randn(3, 6, seed=2), randn(4, seed=3), {"source": torch.zeros(6, dtype=C), "tau": TAU}
    exact = prior.given(matrix, y, SIGMA).denoised(x, t, **path)
    denoised, w = prior.denoised(x, t, **path), SIGMA**2 / prior.denoiser_covariance(t, TAU)[0, 0].real
    normal = matrix.mH @ matrix + w * eye(6)
    close(torch.linalg.solve(normal, (matrix.mH @ y + w * denoised).T).T, exact, 1e-12)
    gradient_step = denoised - (denoised @ matrix.T - y) @ matrix.conj() / (1 + w)
    difference = float((gradient_step - exact).abs().amax())
    assert difference < 1e-12 if orthonormal else difference > 1e-3


# --- Section 3: what holds exactly


@every_schedule
@pytest.mark.parametrize("n_cascades", [1, 3, 12, 40])
@pytest.mark.parametrize("rank", [2, 4])
@pytest.mark.parametrize("prior", [random_gaussian(), random_mixture()], ids=["gaussian", "mixture"])
def test_collapse(
    prior: Gaussian | Mixture, rank: int, n_cascades: int, schedule: Callable[[int], tuple[float, ...]]
) -> None:
    """If x1 is a function of y, Euler with E[x0|y] draws the line from x1 to it and lands on it, for every N; 1e-9.

    In the residual form with the mean frozen, and with the exact conditional velocity, whose endpoint off the line is
    the degenerate (x - t x1)/(1-t).
    """
    matrix, y, times = random_matrix(rank=rank), randn(4, seed=3), schedule(n_cascades)
    posterior, x1 = prior.given(matrix, y, SIGMA), (matrix.mH @ y)[None]
    frozen = integrate(lambda x, t: (x - posterior.mean) / t, x1, times)
    exact = integrate(lambda x, t: posterior.velocity(x, t, source=x1[0], tau=0.0), x1, times)
    for trajectory in (frozen, exact):
        for t, state in zip(times, trajectory.states, strict=True):
            close(state, interpolate(posterior.mean, x1, t), 1e-9)
        for endpoint in trajectory.endpoints:
            close(endpoint, posterior.mean, 1e-9)


@pytest.mark.parametrize("solver", ["midpoint", "heun", "rk4"])
def test_every_solver_draws_the_line_from_a_constant_source(solver: str) -> None:
    """From a deterministic x1 the conditional ODE gives just the line to mu_y, with every solver; 1e-9."""
    posterior, times = random_mixture().given(random_matrix(), randn(4, seed=3), SIGMA), uniform_schedule(7)
    x1 = randn(1, 6, seed=4)
    found = integrate(lambda x, t: posterior.velocity(x, t, source=x1[0], tau=0.0), x1, times, TABLEAUX[solver])
    for t, state in zip(times, found.states, strict=True):
        close(state, interpolate(posterior.mean, x1, t), 1e-9)


@every_schedule
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_velocity_alignment_is_deep_supervision_of_the_implied_endpoint(
    norm: Norm, schedule: Callable[[int], tuple[float, ...]]
) -> None:
    """v^(k) - v_{t_k} = ((1-t_k)/delta_k)(implied endpoint - x0); 1e-10 relative.

    So the loss is deep supervision of that endpoint with the weight (1-t_k)/|delta_k|, squared for L2.
    """
    times = schedule(6)
    states, image = list(randn(7, 2, 4, 5, seed=1)), randn(2, 4, 5, seed=2)
    trajectory = Trajectory(states, states[1:], torch.tensor(times, dtype=R), 6)
    power = {"l1": 1, "l2": 2}[norm]
    terms = [
        ((1 - after) / (before - after)) ** power * distance(implied_endpoint(state, states[0], after), image, norm)
        for (before, after), state in zip(pairwise(times), states[1:], strict=True)
    ]
    found = alignment(trajectory, image, "velocity", norm)
    torch.testing.assert_close(found, torch.stack(terms).mean(), rtol=1e-10, atol=0)


@given(st.floats(0, 1), st.sampled_from([(4, 6, 4), (4, 6, 2), (8, 6, 6), (8, 6, 3), (6, 6, 6)]), st.integers(0, 100))
def test_residual_on_the_path(t: float, shape: tuple[int, int, int], seed: int) -> None:
    """A x_t - y = t A(x1 - x0) - n, and A x_t - y_t = -(1-t) n with y_t = (1-t) y + t A x1, for any x1 and A; 1e-12."""
    matrix = random_matrix(*shape, seed=seed)
    image, noise = randn(shape[1], seed=seed + 1), SIGMA * randn(shape[0], seed=seed + 2)
    y = matrix @ image + noise
    for x1 in (matrix.mH @ y, torch.linalg.pinv(matrix, rtol=1e-10) @ y, randn(shape[1], seed=seed + 3)):
        x_t = interpolate(image, x1, t)
        close(matrix @ x_t - y, t * matrix @ (x1 - image) - noise, 1e-12)
        close(matrix @ x_t - ((1 - t) * y + t * matrix @ x1), -(1 - t) * noise, 1e-12)


@pytest.mark.parametrize("source", ["zero-filled", "pseudo-inverse"])
@pytest.mark.parametrize("rank", [2, 4])
@pytest.mark.parametrize("unit_singular_values", [False, True])
@pytest.mark.parametrize("y_in_range", [False, True])
def test_measurement_on_the_path_stays_y(source: str, rank: int, unit_singular_values: bool, y_in_range: bool) -> None:
    """y_t = y iff A A^H y = y for x1 = A^H y, iff y is in the range of A for x1 = A^+ y; 1e-12 or not below 1e-3.

    Only rank 4 of 4 rows has every y in its range.
    """
    matrix = random_matrix(rank=rank)
    if unit_singular_values:
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        matrix = (u * (s > 1e-10)) @ vh
    inverse = torch.linalg.pinv(matrix, rtol=1e-10)
    y = randn(4, seed=3)
    y = matrix @ inverse @ y if y_in_range else y
    t, x1 = 0.6, (matrix.mH if source == "zero-filled" else inverse) @ y
    change = float(((1 - t) * y + t * matrix @ x1 - y).abs().amax())
    holds = y_in_range or rank == 4
    if source == "zero-filled":
        holds = holds and unit_singular_values
    assert change < 1e-12 if holds else change > 1e-3


def literal_flow(scale: float = 1.0) -> tuple[Velocity, Tensor, Tensor, Tensor]:
    """The literal flow with images in units of 1/scale: velocity, x1, mu_y and `mu_y + e^(-H)(x1 - mu_y)`."""
    prior = Gaussian(scale * random_gaussian().mean, scale**2 * random_gaussian().covariance)
    posterior = prior.given(random_matrix(), scale * randn(4, seed=3), scale * SIGMA)
    zeros, x1 = torch.zeros(6, dtype=C), scale * randn(1, 6, seed=4)
    hessian = random_matrix().mH @ random_matrix() / (scale * SIGMA) ** 2 + prior.covariance.inverse()
    end = posterior.mean + (x1 - posterior.mean) @ torch.matrix_exp(-hessian).T
    # The score of x0 itself (t = 0) given y is -H(x - mu_y).
    return lambda x, t: -posterior.score(x, 0.0, source=zeros, tau=0.0), x1, posterior.mean, end


def test_the_literal_flow_is_a_map_gradient_flow() -> None:
    """dx/dt = H(x - mu_y), H = A^H A/sigma^2 + Sigma^(-1), ends at mu_y + e^(-H)(x1 - mu_y), not at mu_y; 1e-9.

    Euler gets there as N -> infinity, its error is 1/N. H is not scale-free: other units, another end.
    """
    velocity, x1, mean, expected = literal_flow()
    close(end_of(velocity, x1), expected, 1e-9)
    errors = [float((integrate(velocity, x1, uniform_schedule(n)).image - expected).abs().amax()) for n in (400, 800)]
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.05)
    assert float((expected - mean).abs().amax()) > 0.1
    assert float((literal_flow(3.0)[3] / 3 - expected).abs().amax()) > 0.1


# Stability: a network without a regularizer, on one sampled and one unsampled direction of unit eigenvalue.


class Silent(nn.Module):
    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return torch.zeros_like(x)


def errors_of_cascades(data_step: str, times: tuple[float, ...], sigma: float, nu: list[float]) -> Tensor:
    """The errors (N + 1, 2) of a sampled and an unsampled point of k-space, 1 in the beginning."""
    mask = torch.tensor([[[True, False]]])
    operator, n = Encoding(mask, torch.ones(1, 1, 1, 2, dtype=C)), len(times) - 1
    network = UnrolledNetwork(
        Silent(), n_cascades=n, data_step=data_step, noise_floor=0.0, cg_iterations=20, cg_tolerance=1e-15
    ).double()
    network.coefficients.schedule = times
    network.coefficients.log_prior_std.data = torch.tensor(nu, dtype=R).log()
    image = randn(1, 1, 2)
    start = image + math.sqrt(0.5) * torch.tensor([[[2.0, 0.0]]], dtype=C)  # k-space (1, 1) up to signs
    trajectory = network.trajectory(operator.forward(image), operator, torch.tensor([sigma], dtype=R), source=start)
    apart = trajectory.stacked().detach()[:, 0, 0] - image[0, 0]
    kspace = torch.stack([apart[:, 0] - apart[:, 1], apart[:, 0] + apart[:, 1]], 1) / math.sqrt(2)
    return (kspace / kspace[0]).real


FACTORS: dict[str, Callable[[float, float], float]] = {
    "gradient": lambda h, w: 1 - h / w,
    "imex": lambda h, w: 1 / (1 + h / w),
    "soft": lambda h, w: 1 / (1 + h / w),
    "proximal": lambda h, w: 1 - h / (1 + w),
    "gradient_endpoint": lambda h, w: 1 - h / (1 + w),
}


@pytest.mark.parametrize("data_step", FACTORS)
@pytest.mark.parametrize("v", [0.3, 1.9, 2.1, 50.0])
def test_stability_factor_of_a_cascade(data_step: str, v: float) -> None:
    """With v = h nu^2/sigma^2: explicit 1-v (limit 2), IMEX 1/(1+v), endpoint-proximal 1 - h/(1+w); 1e-9 relative."""
    times, sigma = uniform_schedule(5), 0.3
    steps = relative_steps(times)
    errors = errors_of_cascades(data_step, times, sigma, [sigma * math.sqrt(v / h) for h in steps])
    factors = torch.tensor([FACTORS[data_step](h, h / v) for h in steps], dtype=R)
    expected = torch.cat([torch.ones(1, dtype=R), factors.cumprod(0)])
    kept, sampled = sorted(errors.T, key=lambda error: float((error - 1).abs().amax()))
    torch.testing.assert_close(sampled, expected, rtol=1e-9, atol=1e-12)
    close(kept, torch.ones(()), 1e-12 * float(sampled.abs().amax()))
    shrinks = bool((sampled[1:].abs() < sampled[:-1].abs()).all())
    assert shrinks == (data_step != "gradient" or v < 2)


LIMITS: dict[str, tuple[Callable[[float], float], float]] = {
    "euler": (lambda v: 1 - v, 2.0),
    "midpoint": (lambda v: 1 - v + v**2 / 2, 2.0),
    "heun": (lambda v: 1 - v + v**2 / 2, 2.0),
    "rk4": (lambda v: 1 - v + v**2 / 2 - v**3 / 6 + v**4 / 24, 2.785),
}


@pytest.mark.parametrize("solver", LIMITS)
def test_stability_limit_of_a_solver(solver: str) -> None:
    """Heun 1 - v + v^2/2 (limit 2), RK4 limit 2.785, explicit 1-v (limit 2), against the exact e^-v; 1e-11 relative."""
    factor, limit = LIMITS[solver]
    for v, decays in ((0.1, True), (limit - 0.01, True), (limit + 0.01, False)):
        trajectory = integrate(
            lambda x, t, v=v: 4 * v * x, torch.ones(1, 1, dtype=R), uniform_schedule(4), TABLEAUX[solver]
        )
        sizes = trajectory.stacked().flatten()
        torch.testing.assert_close(sizes, factor(v) ** torch.arange(5, dtype=R), rtol=1e-11, atol=0)
        assert bool((sizes[1:].abs() < sizes[:-1].abs()).all()) == decays


@pytest.mark.parametrize("v", [0.3, 1.9, 8.0])
def test_stability_factor_of_the_exact_data_step(v: float) -> None:
    """Exponential: e^-v, below 1 for every v; 1e-10."""
    close(end_of(lambda x, t: v * x, torch.ones(1, 1, dtype=R)), torch.tensor(math.exp(-v), dtype=R), 1e-10)


@every_schedule
@pytest.mark.parametrize("n_cascades", [1, 3, 12, 40])
@pytest.mark.parametrize(("sigma", "grows"), [(0.70, True), (0.714, False)])
def test_the_last_explicit_step_needs_sigma_above_0707_nu(
    sigma: float, grows: bool, n_cascades: int, schedule: Callable[[int], tuple[float, ...]]
) -> None:
    """The last step has h = 1: the explicit form needs sigma > 0.707 nu for every N and every schedule."""
    errors = errors_of_cascades("gradient", schedule(n_cascades), sigma, [1.0] * n_cascades)
    last = (errors[-1] / errors[-2]).abs()
    assert bool((last > 1 + 1e-9).any()) == grows


@every_schedule
@pytest.mark.parametrize("n_cascades", [1, 3, 12])
@pytest.mark.parametrize(("margin", "grows"), [(0.98, True), (1.02, False)])
def test_the_papers_form_needs_sigma_squared_above_half_the_largest_step(
    margin: float, grows: bool, n_cascades: int, schedule: Callable[[int], tuple[float, ...]]
) -> None:
    """The paper's form multiplies an error by 1 - |delta|/sigma^2: stable iff sigma^2 > max|delta|/2; 1e-9 relative."""
    times = schedule(n_cascades)
    sizes = torch.tensor([a - b for a, b in pairwise(times)], dtype=R)
    variance = margin * float(sizes.max()) / 2
    errors = errors_of_cascades("paper", times, math.sqrt(variance), [1.0] * n_cascades)
    factors = errors[1:] / errors[:-1]
    sampled = factors[:, int((factors - 1).abs().sum(0).argmax())]
    torch.testing.assert_close(sampled, 1 - sizes / variance, rtol=1e-9, atol=1e-12)
    assert bool((sampled.abs() > 1).any()) == grows


@pytest.mark.parametrize("t", [0.999, 0.7, 0.3, 0.05])
def test_likelihood_guides_the_velocity_of_the_prior_to_that_of_the_posterior(t: float) -> None:
    """v_y = v - (t tau^2/(1-t)) J^H A^H (sigma^2 + A C_t A^H)^(-1)(y - A E[x0|x_t]) for x1 = tau eps; 1e-11."""
    prior, matrix, y = random_gaussian(), random_matrix(), randn(4, seed=3)
    x, path = randn(3, 6, seed=5), {"source": torch.zeros(6, dtype=C), "tau": TAU}
    spread = prior.denoiser_covariance(t, TAU)
    jacobian = (1 - t) / (t * TAU) ** 2 * spread
    predicted = SIGMA**2 * eye(4) + matrix @ spread @ matrix.mH
    residual = y - prior.denoised(x, t, **path) @ matrix.T
    guidance = residual @ (jacobian.mH @ matrix.mH @ predicted.inverse()).T
    found = prior.velocity(x, t, **path) - t * TAU**2 / (1 - t) * guidance
    close(found, prior.given(matrix, y, SIGMA).velocity(x, t, **path), 1e-11)


# --- Section 6: a genuine flow


@pytest.mark.parametrize("rank", [2, 4])
def test_gaussian_flow_has_the_mean_the_covariance_and_the_map(rank: int) -> None:
    """dx/dt = v maps x1 = source + tau eps to mu + C^(1/2)(x1 - source)/tau, Hermitian root: N(mu, C) exactly; 1e-9.

    Cholesky's factor has the same covariance and is another map. The flow is linear: it is pushed on a basis.
    """
    posterior = random_gaussian().given(random_matrix(rank=rank), randn(4, seed=3), SIGMA)
    source = randn(6, seed=4)
    starts = source + torch.cat([torch.zeros(1, 6, dtype=C), eye(6)])
    ends = flow_end(posterior, starts, source, TAU)
    close(ends, posterior.flow_map(starts, source=source, tau=TAU), 1e-9)
    close(ends[0], posterior.mean, 1e-9)
    linear = (ends[1:] - ends[0]).T
    close(linear, linear.mH, 1e-9)
    close(TAU**2 * linear @ linear.mH, posterior.covariance, 1e-9)
    cholesky = torch.linalg.cholesky(posterior.covariance) / TAU
    close(TAU**2 * cholesky @ cholesky.mH, posterior.covariance, 1e-12)
    assert float((cholesky - linear).abs().amax()) > 0.05
    largest = torch.linalg.matrix_norm(posterior.covariance, 2)
    close(torch.linalg.matrix_norm(linear, 2), largest.sqrt() / TAU, 1e-9)


@pytest.mark.parametrize("tau", [0.1, 0.01, 0.001])
def test_lipschitz_constant_of_the_velocity(tau: float) -> None:
    """The velocity's is about sqrt(||C||)/(2 tau): small tau needs many steps; within 2 tau/sqrt(||C||)."""
    posterior = random_gaussian().given(random_matrix(), randn(4, seed=3), SIGMA)
    values, vectors = torch.linalg.eigh(posterior.covariance)
    width, source = float(values[-1]) ** 0.5, torch.zeros(6, dtype=C)
    # Along the longest axis of C, at times around the steepest, where (1-t) width = t tau.
    times = 1 / (1 + tau / width * torch.logspace(-2, 2, 4001, dtype=R))
    ahead, behind = (
        posterior.velocity((s * vectors[:, -1]).expand(4001, 6), times, source=source, tau=tau) for s in (1, 0)
    )
    steepest = float(torch.linalg.vector_norm(ahead - behind, dim=1).max())
    assert steepest == pytest.approx(width / (2 * tau), rel=2 * tau / width)


TWO_PEAKS = Mixture(
    torch.tensor([0.7, 0.3], dtype=R),
    torch.tensor([[-1.0], [2.0]], dtype=R),
    torch.tensor([[[0.1]], [[0.2]]], dtype=R),
)


def test_posterior_mean_is_one_endpoint_and_no_end_of_the_flow() -> None:
    """The posterior mean costs one evaluation, x0_hat(x1, t = 1); eps = 0 run through the flow is not the mean; 1e-9.

    In one dimension it is the median.
    """
    posterior = TWO_PEAKS.given(torch.ones(1, 1, dtype=R), torch.tensor([0.4], dtype=R), 0.9)
    source = torch.tensor([0.3], dtype=R)
    anywhere = randn(5, 1, dtype=R)
    close(posterior.denoised(anywhere, 1.0, source=source, tau=TAU), posterior.mean, 1e-14)
    end = flow_end(posterior, source[None], source, TAU)
    close(end, posterior.flow_map(source[None], source=source, tau=TAU), 1e-9)
    apart = (end - posterior.means[:, 0]) / posterior.covariances[:, 0, 0].sqrt()
    close((posterior.weights * torch.special.ndtr(apart)).sum(), torch.tensor(0.5), 1e-9)
    assert float((end[0] - posterior.mean).abs()) > 0.1


def test_flow_of_a_mixture_in_many_dimensions_carries_the_density() -> None:
    """log p_0(x0) = log p_1(x1) + int div v dt along dx/dt = v (instantaneous change of variables); 1e-7.

    With `log_density`, exact and independent of the velocity, this is the law that a field samples p(x0|y).
    """
    parts = [random_gaussian(2, seed) for seed in (0, 10)]
    prior = Mixture(
        torch.tensor([0.4, 0.6], dtype=R),
        torch.stack([p.mean.real for p in parts]),
        torch.stack([p.covariance.real for p in parts]),
    )
    source = randn(2, dtype=R, seed=4)
    x1 = source + TAU * randn(2, 2, dtype=R, seed=5)

    def field(x: Tensor, t: Tensor) -> Tensor:
        return prior.velocity(x, t, source=source, tau=TAU)

    def augmented(state: Tensor, t: Tensor) -> Tensor:
        x = state[:, :2]
        jacobian = torch.func.vmap(torch.func.jacrev(lambda one: field(one[None], t)[0]))(x)
        return torch.cat([field(x, t), jacobian.diagonal(dim1=1, dim2=2).sum(1, keepdim=True)], 1)

    start = torch.cat([x1, torch.zeros(2, 1, dtype=R)], 1)
    end = end_of(augmented, start, rtol=1e-7)
    found = prior.log_density(x1, 1.0, source=source, tau=TAU) - end[:, 2]
    close(found, prior.log_density(end[:, :2], 0.0, source=source, tau=TAU), 1e-7)
