"""Gaussian paths and what follows from an endpoint on them, each against a law or a closed form."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow import integrate, interpolate
from laminar.flow.gaussian_paths import GaussianPath, VarianceExploding, VariancePreserving, interpolant_velocity
from laminar.flow.tableaux import RK4
from laminar.theory.conversions import (
    QUANTITIES,
    Rectified,
    by_noise_level,
    convert,
    interpolant_endpoint,
    interpolant_score,
    on_path,
    probability_flow,
)
from tests.flow.test_path import close, draw, quick, real, scalar

PATHS: list[GaussianPath] = [Rectified(), Rectified(0.3), VariancePreserving(), VarianceExploding(0.02, 20.0)]
INNER = st.floats(0.05, 0.95)


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
