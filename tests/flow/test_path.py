"""Schedules, sources, Gaussian paths and the geometry of trajectories, each against a law or a closed form."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow.gaussian_paths import (
    QUANTITIES,
    GaussianPath,
    Rectified,
    VarianceExploding,
    VariancePreserving,
    by_noise_level,
    convert,
    interpolant_endpoint,
    interpolant_score,
    interpolant_velocity,
    on_path,
    probability_flow,
)
from laminar.flow.geometry import implied_endpoint, implied_steps, implied_time, line_deviation, straightness
from laminar.flow.path import (
    check_schedule,
    cosine_schedule,
    interpolate,
    make_schedule,
    power_schedule,
    relative_steps,
    reversed_time,
    softmax_schedule,
    uniform_schedule,
)
from laminar.flow.solvers import integrate
from laminar.flow.sources import noisy, pseudo_inverse, tikhonov, zero_filled
from laminar.flow.tableaux import RK4
from laminar.operators import LinearOperator, wrap

PATHS: list[GaussianPath] = [Rectified(), Rectified(0.3), VariancePreserving(), VarianceExploding(0.02, 20.0)]
INNER = st.floats(0.05, 0.95)
quick = settings(max_examples=30, deadline=None)


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex128) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def real(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


# --- schedules


@quick
@given(st.integers(1, 300), st.sampled_from(["image", "start", "both"]))
def test_cosine_schedules_are_schedules_and_dense_where_they_say(n: int, dense_at: str) -> None:
    times = check_schedule(cosine_schedule(n, dense_at))
    assert len(times) == n + 1
    if n >= 3:
        first, middle, last = 1 - times[1], times[(n - 1) // 2] - times[(n - 1) // 2 + 1], times[-2]
        assert (first < middle) is (dense_at != "image")
        assert (last < middle) is (dense_at != "start")


def test_cosine_schedules_follow_their_formulas() -> None:
    angles = [math.pi * k / 14 for k in range(7, -1, -1)]
    assert cosine_schedule(7, "image") == pytest.approx([1 - math.cos(a) for a in angles], abs=1e-15)
    assert cosine_schedule(7, "start") == pytest.approx([math.sin(a) for a in angles], abs=1e-15)
    assert cosine_schedule(7, "both") == pytest.approx([1 - math.cos(a) ** 2 for a in angles], abs=1e-15)


@quick
@given(st.lists(st.floats(-8, 8), min_size=1, max_size=20))
def test_any_logits_are_a_schedule_with_their_increments(logits: list[float]) -> None:
    times = softmax_schedule(real(*logits))
    check_schedule(times.tolist())
    close(times[:-1] - times[1:], real(*logits).softmax(0), 1e-14)


@pytest.mark.parametrize("times", [power_schedule(9, 2, "start"), cosine_schedule(9, "both"), (1.0, 0.0)])
def test_a_schedule_comes_back_from_its_logits_and_can_be_learned(times: tuple[float, ...]) -> None:
    expected = real(*times)
    logits = (expected[:-1] - expected[1:]).log().requires_grad_()
    close(softmax_schedule(logits), expected, 1e-14)
    close(relative_steps(expected), real(*relative_steps(times)), 0)
    assert torch.autograd.gradcheck(softmax_schedule, logits)


def test_the_door_of_schedules_opens_each_one() -> None:
    assert make_schedule("uniform", 5) == uniform_schedule(5)
    assert make_schedule("power", 5, 1.5, "start") == power_schedule(5, 1.5, "start")
    assert make_schedule("cosine", 5, dense_at="both") == cosine_schedule(5, "both")
    assert make_schedule([1.0, 0.3, 0.0], 2) == (1.0, 0.3, 0.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("linear", 3), "not 'linear'"),
        (("cosine", 0), "n_cascades >= 1"),
        (("cosine", 3, 0.0, "middle"), "'start' or 'both', not at 'middle'"),
        (("power", 3, 1.0, "both"), "not at 'both'"),
        (("power", 3, math.nan), "alpha >= 0"),
        (("power", 9, 500.0), "falls strictly"),  # underflows to zero before it gets there
        (([1.0, 0.5, 0.0], 3), "has 4 times; got 3"),
        (([1.0, math.nan, 0.0], 2), "falls strictly"),
    ],
)
def test_what_is_no_schedule_does_not_pass_the_door(settings: tuple[object, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_schedule(*settings)  # type: ignore[arg-type]


def test_logits_must_be_a_list() -> None:
    with pytest.raises(ConfigError, match=r"logits \(n_cascades,\)"):
        softmax_schedule(real())


@quick
@given(st.floats(0, 1))
def test_the_other_way_of_counting_time_swaps_the_ends(time: float) -> None:
    image, source = draw(2, 3), draw(2, 3, seed=1)
    close(interpolate(image, source, time), interpolate(source, image, reversed_time(time)), 1e-15)


# --- sources


def dense(matrix: Tensor) -> LinearOperator:
    class Dense:
        def forward(self, x: Tensor) -> Tensor:
            return x @ matrix.T

        def adjoint(self, y: Tensor) -> Tensor:
            return y @ matrix.conj()

    return wrap(Dense())


RANK_DEFICIENT = draw(7, 3, seed=2) @ draw(3, 5, seed=3) / 4


def test_sources_against_dense_matrices() -> None:
    """The least-norm solution of a rank-deficient system, for a measurement outside of its range."""
    y, operator = draw(4, 7, seed=4), dense(RANK_DEFICIENT)
    adjoint = RANK_DEFICIENT.mH
    close(zero_filled(y, operator), y @ adjoint.T, 1e-14)
    close(pseudo_inverse(y, operator, 40, 1e-13), y @ torch.linalg.pinv(RANK_DEFICIENT, rtol=1e-10).T, 1e-11)
    weights = real(0.1, 2.0, 0.01, 0.5)
    found = tikhonov(y, operator, weights[:, None], 40, 1e-13)
    for k, weight in enumerate(weights):
        regular = adjoint @ RANK_DEFICIENT + weight * torch.eye(5, dtype=torch.complex128)
        close(found[k], torch.linalg.solve(regular, adjoint @ y[k]), 1e-11)


def test_a_pseudo_inverse_that_has_not_converged_says_so() -> None:
    with pytest.raises(ConfigError, match="after 1 iterations"):
        pseudo_inverse(draw(4, 7), dense(RANK_DEFICIENT), iterations=1)
    assert not pseudo_inverse(torch.zeros(1, 7, dtype=torch.complex128), dense(RANK_DEFICIENT)).any()


@pytest.mark.parametrize("dtype", [torch.complex128, torch.float64])
def test_a_noisy_source_has_unit_circular_noise(dtype: torch.dtype) -> None:
    source = draw(1, 60_000, dtype=dtype)
    noise = (noisy(source, 0.5, torch.Generator().manual_seed(1)) - source) / 0.5
    again = noisy(source, 0.5, torch.Generator().manual_seed(1))
    assert torch.equal(again - source, 0.5 * noise)
    assert noise.abs().square().mean() == pytest.approx(1, abs=0.02)
    assert noise.mean().abs() < 0.02
    if noise.is_complex():
        assert noise.square().mean().abs() < 0.02
    assert torch.equal(noisy(source, 0.0, torch.Generator()), source)


def test_impossible_sources_are_refused() -> None:
    with pytest.raises(ConfigError, match="positive weight"):
        tikhonov(draw(4, 7), dense(RANK_DEFICIENT), 0.0)
    with pytest.raises(ConfigError, match="tau >= 0"):
        noisy(draw(2, 3), -1.0, torch.Generator())


# --- Gaussian paths


def slope(function: Callable[[Tensor], Tensor], at: float) -> Tensor:
    """The derivative by automatic differentiation (of what is added to 0 t, so that a constant has one)."""
    time = scalar(at).requires_grad_()
    return torch.autograd.grad(function(time) + 0 * time, time)[0]


@pytest.mark.parametrize("path", PATHS, ids=str)
@quick
@given(time=INNER)
def test_rates_are_the_derivatives_and_the_clock_is_inverted(path: GaussianPath, time: float) -> None:
    a, b, a_rate, b_rate = path.at(scalar(time))
    close(slope(lambda t: path.at(t).a, time), a_rate, 1e-12)
    close(slope(lambda t: path.at(t).b, time), b_rate, 1e-12 * float(1 + b_rate))
    close(path.time_at(b / a), scalar(time), 1e-12)


@pytest.mark.parametrize("path", PATHS, ids=str)
@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(QUANTITIES, 2)))
@settings(quick, max_examples=10)
@given(times=st.tuples(INNER, INNER))
def test_every_quantity_comes_back(path: GaussianPath, one: str, other: str, times: tuple[float, float]) -> None:
    state, value, time = draw(2, 3, 4), draw(2, 3, 4, seed=1), real(*times)
    there = convert(path, state, time, value, given=one, wanted=other)  # type: ignore[arg-type]
    back = convert(path, state, time, there, given=other, wanted=one)  # type: ignore[arg-type]
    close(back, value, 1e-11)


def variance(path: GaussianPath, std: float, time: Tensor) -> Tensor:
    a, b, _, _ = path.at(time)
    return a**2 * std**2 + b**2


def gaussian(path: GaussianPath, std: float) -> Callable[[Tensor, Tensor], Tensor]:
    """E[x0 | x_t] for x0 ~ N(0, std^2)."""
    return lambda state, time: path.at(time).a * std**2 * state / variance(path, std, time)


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_conversions_give_the_known_score_and_velocity_of_a_gaussian(path: GaussianPath) -> None:
    """p_t = N(0, V): the score is -x / V, and the flow that keeps x / sqrt(V) has the velocity V' x / 2 V."""
    state, time, std = draw(3, 5), scalar(0.37), 0.7
    endpoint = gaussian(path, std)(state, time)
    spread, rate = variance(path, std, time), slope(lambda t: variance(path, std, t), 0.37)
    close(convert(path, state, time, endpoint, given="endpoint", wanted="score"), -state / spread, 1e-12)
    close(probability_flow(path, gaussian(path, std))(state, time), rate / (2 * spread) * state, 1e-12)


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_the_probability_flow_transports_a_gaussian_exactly(path: GaussianPath) -> None:
    """x / sqrt(V) is constant along the flow, and the last, Euler step ends in N(0, s^2) (VE: s^2 + sigma_min^2)."""
    std, x1 = 0.7, draw(1, 3)
    grid = torch.cat([torch.linspace(1, 0.02, 500, dtype=torch.float64), 0.02 * torch.logspace(0, -2.5, 60)[1:]])
    times = [*grid.tolist(), 0.0]
    trajectory = integrate(probability_flow(path, gaussian(path, std)), x1, times, RK4, last_euler=True)
    end = variance(path, std, scalar(1.0)).sqrt()
    for time, state in list(zip(times, trajectory.states, strict=True))[:-1:50]:
        close(state, x1 * variance(path, std, scalar(time)).sqrt() / end, 1e-8)
    assert float(variance(path, std, scalar(0.0))) == pytest.approx(
        std**2 + (path.sigma_min**2 if isinstance(path, VarianceExploding) else 0)
    )
    close(trajectory.image, x1 * variance(path, std, scalar(0.0)).sqrt() / end, 1e-7)


def two_peaks(noisy_image: Tensor, level: Tensor) -> Tensor:
    """E[x0 | x0 + level eps] of real x0 from two Gaussians of width 0.3 about -1 and 1."""
    spread = 0.3**2 + level**2
    return (0.3**2 * noisy_image + level**2 * torch.tanh(noisy_image / spread)) / spread


@pytest.mark.parametrize("other", [Rectified(), Rectified(2.0), VarianceExploding(0.005, 200.0)], ids=str)
def test_paths_are_views_of_one_denoiser(other: GaussianPath) -> None:
    """A VP trajectory is the other one after the change of scale and clock, all along, for a nonlinear denoiser."""
    vp = VariancePreserving()
    times = torch.linspace(1, 0.01, 400, dtype=torch.float64)
    theirs = other.time_at(vp.at(times).b / vp.at(times).a)
    x1 = draw(1, 7, dtype=torch.float64)
    scales = other.at(theirs).a / vp.at(times).a
    one = integrate(probability_flow(vp, on_path(vp, two_peaks)), x1, times.tolist(), RK4)
    seen = on_path(other, by_noise_level(vp, on_path(vp, two_peaks)))
    two = integrate(probability_flow(other, seen), scales[0] * x1, theirs.tolist(), RK4)
    close(two.stacked(), scales[:, None, None] * one.stacked(), 2e-6)


@quick
@given(INNER)
def test_a_denoiser_by_noise_level_comes_back_from_a_path(time: float) -> None:
    level, state = real(time, 3 * time), draw(2, 4, dtype=torch.float64)
    for path in PATHS:
        batched = by_noise_level(path, on_path(path, lambda z, s: two_peaks(z, s[:, None])))
        close(batched(state, level), two_peaks(state, level[:, None]), 1e-11)


def test_limits_are_named() -> None:
    x, zero, one = draw(1, 2), scalar(0.0), scalar(1.0)
    with pytest.raises(ConfigError, match="0/0 at t = 0"):
        probability_flow(Rectified(), lambda state, time: state)(x, zero)
    with pytest.raises(ConfigError, match="infinite at t = 0"):
        convert(VariancePreserving(), x, zero, x, given="velocity", wanted="endpoint")
    with pytest.raises(ConfigError, match="says nothing of the endpoint"):
        convert(Rectified(), x, one, x, given="score", wanted="velocity")
    with pytest.raises(ConfigError, match="b / a is infinite"):
        on_path(Rectified(), two_peaks)(x, one)
    with pytest.raises(ConfigError, match="no time in"):
        VarianceExploding(0.1, 10.0).time_at(scalar(11.0))
    with pytest.raises(ConfigError, match="not 'epsilon'"):
        convert(Rectified(), x, one, x, given="epsilon", wanted="score")  # type: ignore[arg-type]
    close(convert(Rectified(), x, zero, 3 * x, given="velocity", wanted="endpoint"), x, 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Rectified(0.0),
        lambda: VariancePreserving(0.0, 1.0),
        lambda: VariancePreserving(2.0, 1.0),
        lambda: VarianceExploding(1.0, 1.0),
        lambda: VarianceExploding(0.1, math.nan),
    ],
)
def test_impossible_paths_are_refused(make: Callable[[], GaussianPath]) -> None:
    with pytest.raises(ConfigError, match="path needs"):
        make()


# --- the deterministic interpolant and what a trajectory shows


@quick
@given(INNER, INNER)
def test_interpolant_velocity_and_endpoint(first: float, second: float) -> None:
    image, source, times = draw(2, 3, 4), draw(2, 3, 4, seed=1), real(first, second)
    state = interpolate(image, source, times[:, None, None])
    velocity = interpolant_velocity(state, times, image)
    close(velocity, source - image, 1e-12)
    close(interpolant_endpoint(state, times, velocity), image, 1e-14)
    close(interpolant_endpoint(image, 0.0, velocity), image, 0)
    with pytest.raises(ConfigError, match="0/0 at t = 0"):
        interpolant_velocity(state, 0.0, image)
    with pytest.raises(ConfigError, match="has no score"):
        interpolant_score(state, times, image)


@quick
@given(st.floats(-0.5, 0.99), st.floats(0, 3))
def test_geometry_of_a_point_beside_the_line(time: float, offset: float) -> None:
    image, source = draw(2, 3, 4), draw(2, 3, 4, seed=1)
    line = source - image
    aside = 1j * line  # orthogonal to the line as a real vector, and as long
    state = interpolate(image, source, time)
    close(implied_time(state + offset * aside, image, source), real(time, time), 1e-13)
    close(line_deviation(state + offset * aside, image, source), real(offset, offset), 1e-13)
    close(implied_endpoint(state, source, real(time, time)), image, 1e-12)
    detour = straightness([source, state + offset * aside, image])
    expected = math.hypot(1 - time, offset) + math.hypot(time, offset)
    close(detour, real(expected, expected), 1e-12)


def test_geometry_of_a_schedule_and_of_batch_entries_apart() -> None:
    image, source, times = draw(2, 3), draw(2, 3, seed=1), real(*power_schedule(6, 1.0))
    states = [interpolate(image, source, float(time)) for time in times]
    implied = torch.stack([implied_time(state, image, source) for state in states])
    close(implied, times[:, None].expand(-1, 2), 1e-14)
    close(implied_steps(implied), relative_steps(times)[:, None].expand(-1, 2), 1e-12)
    close(straightness(states), real(1, 1), 1e-14)
    mixed = torch.stack([states[2][0], states[4][1]])
    close(implied_time(mixed, image, source), times[[2, 4]], 1e-14)
    assert implied_steps(real(1.0, 0.0, 0.0)).isnan().tolist() == [False, True]


def test_geometry_without_an_answer_is_refused() -> None:
    with pytest.raises(ConfigError, match="implies no endpoint"):
        implied_endpoint(draw(2, 3), draw(2, 3), real(0.5, 1.0))
    with pytest.raises(ConfigError, match="two states"):
        straightness([draw(2, 3)])
