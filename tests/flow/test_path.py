"""Schedules, sources and the geometry of trajectories, each against a law or a closed form."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow.path import (
    check_schedule,
    cosine_schedule,
    interpolate,
    make_schedule,
    power_schedule,
    relative_steps,
    softmax_schedule,
    uniform_schedule,
)
from laminar.flow.sources import noisy, pseudo_inverse, tikhonov, zero_filled
from laminar.flow.straightness import implied_endpoint, implied_time, line_deviation, straightness
from laminar.operators import LinearOperator, wrap

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


# --- sources


def dense(matrix: Tensor) -> LinearOperator:
    class Dense:
        def forward(self, x: Tensor) -> Tensor:
            return x @ matrix.T

        def adjoint(self, y: Tensor) -> Tensor:
            return y @ matrix.conj()

    return wrap(Dense(), (matrix.shape[1],), dtype=torch.complex128)


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


# --- what a trajectory shows


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
    close(straightness(states), real(1, 1), 1e-14)
    mixed = torch.stack([states[2][0], states[4][1]])
    close(implied_time(mixed, image, source), times[[2, 4]], 1e-14)


def test_geometry_without_an_answer_is_refused() -> None:
    with pytest.raises(ConfigError, match="implies no endpoint"):
        implied_endpoint(draw(2, 3), draw(2, 3), real(0.5, 1.0))
    with pytest.raises(ConfigError, match="two states"):
        straightness([draw(2, 3)])
