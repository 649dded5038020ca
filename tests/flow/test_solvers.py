"""Solvers against exact flows: orders, stability, step control, exact counts, clear failures."""

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from laminar.errors import ConfigError, MissingExtraError
from laminar.flow.path import power_schedule, uniform_schedule
from laminar.flow.reference import REFERENCE_METHODS, integrate_reference
from laminar.flow.solvers import SolverError, Velocity, integrate, integrate_adaptive, step
from laminar.flow.tableaux import (
    BOGACKI_SHAMPINE,
    DORMAND_PRINCE,
    EULER,
    HEUN,
    MIDPOINT,
    RALSTON,
    RK4,
    TABLEAUX,
    Tableau,
    _rooted_trees,
)

ALL = pytest.mark.parametrize("tableau", TABLEAUX.values(), ids=TABLEAUX)
EMBEDDED = pytest.mark.parametrize("tableau", [BOGACKI_SHAMPINE, DORMAND_PRINCE], ids=lambda tableau: tableau.name)
WEIGHTS, MEANS, WIDTHS, TAU = (
    torch.tensor(numbers, dtype=torch.float64) for numbers in ([0.3, 0.7], [-1.0, 0.8], [0.4, 0.3], 1.0)
)


class Mixture:
    """The exact flow from N(0, tau^2) to a mixture of two normal distributions on the line."""

    @staticmethod
    def velocity(x: Tensor, t: Tensor) -> Tensor:
        """`E[x1 - x0 | x_t]`: the components' regressions, weighted by their responsibilities."""
        offsets = x[..., None] - (1 - t) * MEANS
        variances = (1 - t) ** 2 * WIDTHS**2 + t**2 * TAU**2
        responsibilities = (WEIGHTS.log() - variances.log() / 2 - offsets**2 / (2 * variances)).softmax(-1)
        slopes = (t * TAU**2 - (1 - t) * WIDTHS**2) / variances
        return (responsibilities * (slopes * offsets - MEANS)).sum(-1)

    @staticmethod
    def flow_map(x1: Tensor) -> Tensor:
        """The point with the quantile of `x1`, by bisection of the distribution function at t = 0."""
        quantile = torch.special.ndtr(x1 / TAU)
        low, high = torch.full_like(x1, -10), torch.full_like(x1, 10)
        for _ in range(60):
            middle = (low + high) / 2
            below = (WEIGHTS * torch.special.ndtr((middle[..., None] - MEANS) / WIDTHS)).sum(-1) < quantile
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2


SOURCE = torch.linspace(-2, 2, 9, dtype=torch.float64)


class Counted:
    """A velocity that knows how often, and between which times, it was asked."""

    def __init__(self, velocity: Velocity) -> None:
        self.velocity, self.times = velocity, list[float]()

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.times.append(float(t))
        return self.velocity(x, t)


def linear(rate: complex) -> Velocity:
    return lambda x, t: rate * x


def pulse(x: Tensor, t: Tensor) -> Tensor:
    """`x / w` near t = 0.4, almost at rest elsewhere: a resonance of the width w = 0.01."""
    return x * 0.01 / ((t - 0.4) ** 2 + 0.01**2)


def pulse_end(x1: Tensor) -> Tensor:
    return x1 * math.exp(-math.atan(60) - math.atan(40))


@pytest.mark.parametrize(
    ("tableau", "order"), [(EULER, 1), (MIDPOINT, 2), (HEUN, 2), (RALSTON, 2), (RK4, 4), (BOGACKI_SHAMPINE, 3)]
)
def test_order_of_convergence_on_a_mixture(tableau: Tableau, order: int) -> None:
    """The slope of log(error) between 128 and 256 steps on a one-dimensional mixture: 1, 2, 2, 2, 4, 3."""

    def error(n_steps: int) -> torch.Tensor:
        x0 = integrate(Mixture.velocity, SOURCE, uniform_schedule(n_steps), tableau).image
        return (x0 - Mixture.flow_map(SOURCE)).abs().max()

    expected = torch.tensor(order, dtype=torch.float64)
    torch.testing.assert_close(torch.log2(error(128) / error(256)), expected, rtol=0, atol=0.1)


def test_order_of_dormand_prince_on_the_logistic_curve() -> None:
    """On the mixture its error reaches rounding before its slope has settled (5.4 at 128 steps)."""

    def error(n_steps: int) -> float:
        x1 = torch.tensor([0.02], dtype=torch.float64)
        x0 = integrate(lambda x, t: -4 * x * (1 - x), x1, uniform_schedule(n_steps), DORMAND_PRINCE).image
        return abs(float(x0) - 1 / (1 + 49 * math.exp(-4)))

    assert math.log2(error(32) / error(64)) == pytest.approx(5, abs=0.1)


def amplification(tableau: Tableau, v: float) -> float:
    """What one step of size -1 does to `dx/dt = v x`."""
    x1 = torch.ones(1, dtype=torch.float64)
    return float(integrate(linear(v), x1, (1.0, 0.0), tableau).image)


@ALL
@given(v=st.floats(0, 4))
def test_amplification_is_the_exponential_series_up_to_the_order(tableau: Tableau, v: float) -> None:
    series = sum((-v) ** k / math.factorial(k) for k in range(tableau.order + 1))
    if tableau is DORMAND_PRINCE:
        series += v**6 / 600
    assert amplification(tableau, v) == pytest.approx(series, abs=1e-12)


@pytest.mark.parametrize(
    ("tableau", "limit"),
    [(EULER, 2), (MIDPOINT, 2), (HEUN, 2), (RALSTON, 2), (RK4, 2.785), (BOGACKI_SHAMPINE, 2.513)],
)
def test_stability_limits(tableau: Tableau, limit: float) -> None:
    assert abs(amplification(tableau, limit - 1e-3)) < 1 < abs(amplification(tableau, limit + 1e-3))


@ALL
@pytest.mark.parametrize("last_euler", [False, True])
def test_grid_equals_single_steps_and_counts_every_evaluation(tableau: Tableau, last_euler: bool) -> None:
    times = power_schedule(7, 1.5)
    velocity = Counted(Mixture.velocity)
    trajectory = integrate(velocity, SOURCE, times, tableau, last_euler=last_euler)
    x = SOURCE
    for k, (t, after) in enumerate(pairwise(times)):
        method = EULER if last_euler and k == 6 else tableau
        taken = step(Mixture.velocity, x, t, after - t, method)
        torch.testing.assert_close(trajectory.endpoints[k], x - t * taken.first, rtol=0, atol=1e-14)
        x = taken.state
        torch.testing.assert_close(trajectory.states[k + 1], x, rtol=0, atol=1e-14)
    reused = tableau in (BOGACKI_SHAMPINE, DORMAND_PRINCE)
    expected = reused + (7 - last_euler) * (tableau.stages - reused) + (last_euler and not reused)
    assert trajectory.nfe == len(velocity.times) == expected
    assert trajectory.times is not None
    assert trajectory.times.tolist() == list(times)


@ALL
def test_quotient_velocity_lands_on_its_endpoint(tableau: Tableau) -> None:
    endpoint = torch.tensor([[1 + 2j], [-3j]], dtype=torch.complex128)
    x1 = torch.tensor([[5.0 + 0j], [1j]], dtype=torch.complex128)
    trajectory = integrate(lambda x, t: (x - endpoint) / t, x1, uniform_schedule(5), tableau, last_euler=True)
    for found in [trajectory.image, *trajectory.endpoints]:
        torch.testing.assert_close(found, endpoint, rtol=0, atol=1e-13)


def test_a_stage_without_weight_does_no_harm() -> None:
    """The last stage serves the error estimate and the next step only; a velocity that is 0/0 at t = 0 cannot enter."""
    trajectory = integrate(lambda x, t: 2 * x * t / t, SOURCE, uniform_schedule(64), BOGACKI_SHAMPINE)
    torch.testing.assert_close(trajectory.image, SOURCE * math.exp(-2), rtol=0, atol=1e-5)


@ALL
def test_batch_entries_of_a_grid_are_independent(tableau: Tableau) -> None:
    times = uniform_schedule(5)
    together = integrate(Mixture.velocity, SOURCE, times, tableau).image
    alone = [integrate(Mixture.velocity, x[None], times, tableau).image for x in SOURCE]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-14)


@pytest.mark.parametrize("tableau", [HEUN, BOGACKI_SHAMPINE])
def test_gradients_to_state_velocity_and_times(tableau: Tableau) -> None:
    def image(x1: Tensor, rate: Tensor, times: Tensor) -> Tensor:
        return integrate(lambda x, t: rate * x * t.exp(), x1, times, tableau).image

    x1 = torch.tensor([1 + 1j, 2 - 1j], dtype=torch.complex128, requires_grad=True)
    rate = torch.tensor(0.5 + 0.3j, dtype=torch.complex128, requires_grad=True)
    times = torch.tensor([1.0, 0.6, 0.1, 0.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(image, (x1, rate, times))


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.float64, torch.complex128])
def test_states_and_times_keep_the_precision_of_the_source(dtype: torch.dtype) -> None:
    def velocity(x: Tensor, t: Tensor) -> Tensor:
        assert t.ndim == 0
        assert t.dtype == dtype.to_real()
        return x * t

    x1 = torch.ones(2, 3, dtype=dtype)
    for trajectory in (
        integrate(velocity, x1, (1, 0.5, 0), RK4),
        integrate(velocity, x1, torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64), RK4),
        integrate_adaptive(velocity, x1),
    ):
        assert {state.dtype for state in trajectory.states + trajectory.endpoints} == {dtype}
        assert trajectory.times is not None
        assert trajectory.times.dtype == dtype.to_real()
        torch.testing.assert_close(trajectory.image, x1 * math.exp(-0.5), rtol=2e-3, atol=0)


@EMBEDDED
@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7, 1e-9])
def test_adaptive_meets_its_tolerance_and_counts_every_evaluation(tableau: Tableau, tolerance: float) -> None:
    velocity = Counted(Mixture.velocity)
    trajectory = integrate_adaptive(velocity, SOURCE, tableau=tableau, rtol=tolerance, atol=tolerance, max_nfe=20_000)
    torch.testing.assert_close(trajectory.image, Mixture.flow_map(SOURCE), rtol=0, atol=10 * tolerance)
    assert trajectory.nfe == len(velocity.times)
    assert trajectory.times is not None
    assert (trajectory.times[0], trajectory.times[-1]) == (1, 0)
    assert (trajectory.times.diff() < 0).all()
    assert min(velocity.times) == 0
    assert max(velocity.times) == 1
    assert len(trajectory.states) == len(trajectory.endpoints) + 1 == len(trajectory.times)
    for x, t, endpoint in zip(trajectory.states, trajectory.times, trajectory.endpoints, strict=False):
        torch.testing.assert_close(endpoint, x - t * Mixture.velocity(x, t), rtol=0, atol=1e-12)


@EMBEDDED
def test_adaptive_rejects_steps_where_the_velocity_turns_sharp(tableau: Tableau) -> None:
    trajectory = integrate_adaptive(pulse, SOURCE, tableau=tableau, rtol=1e-6, atol=1e-9, max_nfe=10_000)
    torch.testing.assert_close(trajectory.image, pulse_end(SOURCE), rtol=1e-5, atol=0)
    tried, left = divmod(trajectory.nfe - 1, tableau.stages - 1)
    assert left == 0
    assert tried > len(trajectory.endpoints)
    assert trajectory.times is not None
    steps = -trajectory.times.diff()
    assert steps.max() > 20 * steps.min()


def test_adaptive_runs_both_ways() -> None:
    there = integrate_adaptive(linear(2j), SOURCE + 0j, start=1.0, end=0.25, rtol=1e-8, atol=1e-10)
    back = integrate_adaptive(linear(2j), there.image, start=0.25, end=1.0, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(there.image, SOURCE * torch.exp(torch.tensor(-1.5j)), rtol=0, atol=1e-7)
    torch.testing.assert_close(back.image, SOURCE + 0j, rtol=0, atol=1e-7)


def test_the_hardest_batch_entry_decides_the_steps() -> None:
    x1 = torch.ones(50, 1, dtype=torch.float64)
    rates = torch.tensor([9.0] + 49 * [0.0], dtype=torch.float64)[:, None]
    together = integrate_adaptive(lambda x, t: rates * x, x1)
    alone = integrate_adaptive(linear(9), x1[:1])
    torch.testing.assert_close(together.times, alone.times, rtol=0, atol=1e-14)


def test_gradient_through_adaptive_steps() -> None:
    rate = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    image = integrate_adaptive(lambda x, t: rate * x, SOURCE, rtol=1e-9, atol=1e-12).image
    (gradient,) = torch.autograd.grad(image[-1], rate)
    assert float(gradient) == pytest.approx(-2 * math.exp(-0.7), abs=1e-7)


def not_finite_below(limit: float) -> Velocity:
    return lambda x, t: x if t >= limit else x * math.nan


@pytest.mark.parametrize(
    ("velocity", "settings", "message"),
    [
        (
            pulse,
            {"max_nfe": 40, "rtol": 1e-8},
            r"t = 0\.\d+: the budget of 40 evaluations.*step -.*nfe=40, rtol=1e-08, atol=",
        ),
        (not_finite_below(0.3), {}, r"t = 0\.3: the velocity is not finite"),
        (not_finite_below(2), {}, r"t = 1: the velocity is not finite.*nfe=1"),
        (lambda x, t: -10 * x * x, {"max_nfe": 100_000}, r"t = 0\.9.*(step vanishes|not finite)"),
        (lambda x, t: x[:2], {}, "shape and dtype"),
        (lambda x, t: x + 0j, {}, "shape and dtype"),
    ],
    ids=["budget", "not finite later", "not finite", "blow-up", "shape", "dtype"],
)
def test_adaptive_stops_with_a_clear_error(velocity: Velocity, settings: dict[str, float], message: str) -> None:
    counted = Counted(velocity)
    with pytest.raises(SolverError, match=message):
        integrate_adaptive(counted, SOURCE.abs() + 1, **settings)  # type: ignore[arg-type]
    assert len(counted.times) <= settings.get("max_nfe", 1000)


@pytest.mark.parametrize(
    "call",
    [
        lambda: integrate(linear(1), SOURCE, (1.0,)),
        lambda: integrate(linear(1), SOURCE, (1.0, 0.5, 0.5)),
        lambda: integrate(linear(1), SOURCE, (0.0, 1.0)),
        lambda: integrate(linear(1), SOURCE, (1.0, math.nan, 0.0)),
        lambda: integrate(linear(1), SOURCE.long(), (1.0, 0.0)),
        lambda: integrate(linear(1), SOURCE[0], (1.0, 0.0)),
        lambda: integrate(linear(1), SOURCE[:0], (1.0, 0.0)),
        lambda: integrate_adaptive(linear(1), SOURCE, tableau=HEUN),
        lambda: integrate_adaptive(linear(1), SOURCE, start=0.0),
        lambda: integrate_adaptive(linear(1), SOURCE, end=math.inf),
        lambda: integrate_adaptive(linear(1), SOURCE, rtol=-1.0),
        lambda: integrate_adaptive(linear(1), SOURCE, atol=0.0),
        lambda: integrate_adaptive(linear(1), SOURCE, max_nfe=0),
        lambda: integrate_reference(linear(1), SOURCE, (0.0, 1.0)),
        lambda: integrate_reference(linear(1), SOURCE, (1.0, 0.0), method="euler"),
        lambda: integrate_reference(linear(1), SOURCE, (1.0, 0.0), rtol=-1.0),
    ],
)
def test_impossible_settings_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ConfigError, match=r"got|has none"):
        call()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"nodes": (0, 1 / 2)}, "row 1 sums to 1, its node is 0.5"),
        ({"nodes": (0, 1, 1)}, "2 nodes and rows of 2"),
        ({"matrix": ((0, 0), (1,))}, "2 nodes and rows of 2"),
        ({"matrix": ((0, 0), (1 / 2, 1 / 2))}, "strictly lower triangular"),
        ({"weights": (1 / 4, 3 / 4)}, "not of order 2.*expects 0.5, got 0.75"),
        ({"weights": (1 / 2, 1 / 2 + 1e-6)}, "not of order 2.*expects 1"),
        ({"embedded": (1 / 2, 1 / 4)}, "not of order 1"),
        ({"embedded": (1,)}, "2 weights, got 1"),
        ({"order": 3}, "not of order 3: the condition of order 3"),
        ({"order": 0}, "order >= 1"),
    ],
)
def test_wrong_tableaux_are_refused(parts: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=f"'Heun'.*{message}"):
        replace(HEUN, **parts)  # type: ignore[arg-type]


@given(row=st.integers(2, 6), data=st.data())
def test_order_conditions_see_every_entry_of_dormand_prince(row: int, data: st.DataObject) -> None:
    """Moving 1e-6 between two entries of a row keeps the row sum; only the order conditions can notice."""
    giver, taker = data.draw(st.permutations(range(row)))[:2]
    matrix = [list(entries) for entries in DORMAND_PRINCE.matrix]
    matrix[row][giver] -= 1e-6
    matrix[row][taker] += 1e-6
    with pytest.raises(ConfigError, match="not of order"):
        replace(DORMAND_PRINCE, matrix=tuple(map(tuple, matrix)))


def test_rooted_trees_are_all_there() -> None:
    assert [len(_rooted_trees(size)) for size in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]


@pytest.mark.parametrize("method", REFERENCE_METHODS)
def test_reference_reaches_the_mixture(method: str) -> None:
    velocity = Counted(Mixture.velocity)
    tight = 1e-11 if method != "bosh3" else 1e-8
    states = integrate_reference(velocity, SOURCE, (1.0, 0.5, 0.0), rtol=tight, atol=tight, method=method)
    assert states.shape == (3, 9)
    torch.testing.assert_close(states[0], SOURCE)
    torch.testing.assert_close(states[-1], Mixture.flow_map(SOURCE), rtol=0, atol=100 * tight)
    assert min(velocity.times) >= 0
    assert max(velocity.times) <= 1


def test_reference_of_a_complex_state_at_every_time() -> None:
    """`dx/dt = (2 t + 7j) x` from 1 to t: `x1 exp(t^2 - 1 + 7j (t - 1))`."""
    times = torch.tensor(power_schedule(9, 1.0), dtype=torch.float64)
    x1 = torch.tensor([[1 + 2j, -1j], [100, 1e-3j]], dtype=torch.complex128)
    states = integrate_reference(lambda x, t: (2 * t + 7j) * x, x1, times.tolist(), rtol=1e-11, atol=1e-13)
    exact = torch.exp(torch.complex(times**2 - 1, 7 * (times - 1)))[:, None, None] * x1
    torch.testing.assert_close(states, exact, rtol=1e-9, atol=1e-12)


def test_reference_never_looks_beyond_the_last_time() -> None:
    velocity = Counted(lambda x, t: torch.ones_like(x))
    states = integrate_reference(velocity, 1e6 * torch.ones(3, 2), (1.0, 0.9, 0.2))
    assert min(velocity.times) >= 0.2 - 1e-7
    torch.testing.assert_close(states[-1], states[0] - 0.8)


def test_reference_does_not_average_the_error_over_the_batch() -> None:
    x1, times = torch.zeros(1000, 1, dtype=torch.float64), (1.0, 0.0)
    x1[0] = 1
    together = integrate_reference(linear(5), x1, times)
    alone = integrate_reference(linear(5), x1[:1], times)
    torch.testing.assert_close(together[-1, 0], alone[-1, 0], rtol=0, atol=1e-15)


def test_reference_stops_with_a_clear_error() -> None:
    with pytest.raises(SolverError, match=r"dopri5 \(rtol=1e-06, atol=1e-08\)"):
        integrate_reference(not_finite_below(0.3), SOURCE, (1.0, 0.0))


def test_reference_names_the_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    with pytest.raises(MissingExtraError, match=r"torchdiffeq.*laminar-mri\[flow\]"):
        integrate_reference(linear(1), SOURCE, (1.0, 0.0))
