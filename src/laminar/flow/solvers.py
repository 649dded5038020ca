"""Explicit Runge-Kutta solvers of `dx/dt = v(x, t)`: a method is data, one stepper runs them all.

A step of size `dt` (negative when time runs from the source to the image) evaluates the stages
`k_i = v(x + dt sum_j a_ij k_j, t + c_i dt)` and ends in `x + dt sum_i b_i k_i`. Hairer, Norsett and Wanner, *Solving
Ordinary Differential Equations I*, doi 10.1007/978-3-540-78862-1, chapter II.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from laminar.errors import ConfigError, LaminarError
from laminar.flow.tableaux import BOGACKI_SHAMPINE, EULER, Tableau, named
from laminar.flow.trajectory import Trajectory

Velocity = Callable[[Tensor, Tensor], Tensor]


class SolverError(LaminarError):
    """An integration cannot go on: the budget is spent, the step vanishes or the velocity is not finite."""


class Step(NamedTuple):
    """What one step found: the next state, the estimated error (None without embedded weights), two stages."""

    state: Tensor
    error: Tensor | None
    first: Tensor
    last: Tensor


def step(
    velocity: Velocity,
    x: Tensor,
    t: float | Tensor,
    dt: float | Tensor,
    tableau: Tableau,
    first: Tensor | None = None,
) -> Step:
    """One explicit Runge-Kutta step from `x` (batch, ...) at time `t` to `t + dt`.

    `first`: the first stage `v(x, t)` where it is known already; it saves one of the `tableau.stages` evaluations.
    Raises SolverError if the velocity changes the shape or dtype of the state.
    """
    stages = [_evaluate(velocity, x, t) if first is None else first]
    for node, row in zip(tableau.nodes[1:], tableau.matrix[1:], strict=True):
        stages.append(_evaluate(velocity, x + dt * _combination(row, stages), t + node * dt))
    error = None
    if tableau.embedded is not None:
        differences = [b - b_hat for b, b_hat in zip(tableau.weights, tableau.embedded, strict=True)]
        error = dt * _combination(differences, stages)
    return Step(x + dt * _combination(tableau.weights, stages), error, stages[0], stages[-1])


def _evaluate(velocity: Velocity, x: Tensor, t: float | Tensor) -> Tensor:
    v = velocity(x, torch.as_tensor(t, dtype=x.real.dtype, device=x.device))
    if v.shape != x.shape or v.dtype != x.dtype:
        raise SolverError(
            f"a velocity has the shape and dtype of its state, {tuple(x.shape)} {x.dtype}; "
            f"got {tuple(v.shape)} {v.dtype}"
        )
    return v


def _combination(coefficients: Sequence[float], stages: Sequence[Tensor]) -> Tensor:
    """Sum of the stages with a nonzero coefficient: what counts nothing may be infinite."""
    terms = [a * k for a, k in zip(coefficients, stages, strict=False) if a != 0]
    return sum(terms[1:], start=terms[0])


def integrate(
    velocity: Velocity,
    x1: Tensor,
    times: Sequence[float | Tensor] | Tensor,
    tableau: Tableau | str = EULER,
    *,
    last_euler: bool = False,
) -> Trajectory:
    """The trajectory of `dx/dt = v(x, t)` from `x1` (batch, ...) over a fixed grid of falling `times`.

    The endpoints are `x - t v(x, t)` from the first stage of each step. `last_euler` makes the last step an Euler
    step whatever the tableau: a quotient velocity `(x - x0_hat) / t` is 0/0 at t = 0. Differentiable, also in times
    that are tensors; nothing depends on the values of `x`: batch entries are independent, and a velocity that is not
    finite shows in the states. Raises ConfigError for times that do not fall, SolverError for a velocity of another
    shape or dtype than the state.
    """
    n_steps = len(check_times(times)) - 1
    check_state(x1)
    states, endpoints, nfe, first = [x1], list[Tensor](), 0, None
    for k, (t, after) in enumerate(pairwise(times), 1):
        method = EULER if last_euler and k == n_steps else named(tableau)
        taken = step(velocity, states[-1], t, after - t, method, first)
        nfe += method.stages - (first is not None)
        first = taken.last if method.first_same_as_last else None
        endpoints.append(states[-1] - t * taken.first)
        states.append(taken.state)
    return _trajectory(states, endpoints, times, nfe)


def integrate_adaptive(
    velocity: Velocity,
    x1: Tensor,
    *,
    start: float = 1.0,
    end: float = 0.0,
    tableau: Tableau | str = BOGACKI_SHAMPINE,
    rtol: float = 1e-3,
    atol: float = 1e-6,
    max_nfe: int = 1000,
) -> Trajectory:
    """The trajectory of `dx/dt = v(x, t)` from `start` to exactly `end` with steps that the error estimate chooses.

    A step is taken if the root mean square of `error / (atol + rtol max(|x|, |x_new|))` is at most 1 in **every**
    batch entry; otherwise it is tried again, smaller. Batch entries thus share their steps: the hardest one decides.
    The tolerance bounds the error of one step, not of the whole way. `states`, `endpoints` and `times` of the
    trajectory are those of the accepted steps; `nfe` counts every evaluation. A quotient velocity is 0/0 at t = 0: give
    it an `end` such as 1e-3, and take the last endpoint. Differentiable with the steps held fixed. Raises ConfigError
    for a tableau without embedded weights or impossible settings, SolverError (naming the time reached) if the budget
    `max_nfe` is spent, the step vanishes, or the velocity is not finite.
    """
    check_state(x1)
    tableau = named(tableau)
    _check_settings(start, end, tableau, rtol, atol, max_nfe)
    states, endpoints, times = [x1], list[Tensor](), [start]
    v1 = _evaluate(velocity, x1, start)
    dt = _first_step(x1, v1, end - start, rtol, atol)
    first: Tensor | None = v1
    nfe, error, control = 1, 0.0, _StepControl(tableau.order)
    while times[-1] != end:
        x, t = states[-1], times[-1]
        cost = tableau.stages - (first is not None)
        if reason := _dead_end(error, abs(dt / (end - start)), x1.dtype, nfe + cost, max_nfe):
            raise SolverError(f"stopped at t = {t:g}: {reason} (step {dt:.3g}, {nfe=}, {rtol=:g}, {atol=:g})")
        arrives = abs(end - t) <= 1.01 * abs(dt)
        dt = end - t if arrives else dt
        tried = step(velocity, x, t, dt, tableau, first)
        nfe += cost
        first, error = tried.first, _error_norm(tried.error, x, tried.state, rtol, atol)
        if error <= 1:
            states.append(tried.state)
            endpoints.append(x - t * tried.first)
            times.append(end if arrives else t + dt)
            first = tried.last if tableau.first_same_as_last else None
        dt *= control.factor(error)
    return _trajectory(states, endpoints, times, nfe)


@dataclass
class _StepControl:
    """PI control: a step grows by `0.9 error^(-0.7/p) previous_error^(0.4/p)`, never right after a rejected one.

    Gustafsson, doi 10.1145/210232.210242. A rejected step shrinks by `0.9 error^(-1/p)`; all within 0.2 and 5.
    """

    order: int
    previous: float = 1.0
    rejected: bool = False

    def factor(self, error: float) -> float:
        if not error <= 1:
            self.rejected = True
            return max(0.2, 0.9 * math.pow(error, -1 / self.order)) if math.isfinite(error) else 0.2
        error = max(error, 1e-8)
        growth = 0.9 * math.pow(error, -0.7 / self.order) * math.pow(self.previous, 0.4 / self.order)
        largest = 1.0 if self.rejected else 5.0
        self.previous, self.rejected = error, False
        return min(largest, max(0.2, growth))


def _first_step(x: Tensor, v: Tensor, span: float, rtol: float, atol: float) -> float:
    """Hairer's first guess: the Euler step that changes the state by one percent, within 1e-6 and 1 of the span."""
    size, change = _error_norm(x, x, x, rtol, atol), _error_norm(span * v, x, x, rtol, atol)
    if not math.isfinite(change):
        return math.nan
    return span * min(1.0, max(1e-6, 0.01 * size / change)) if change > 0 else span


def _error_norm(error: Tensor | None, x: Tensor, x_new: Tensor, rtol: float, atol: float) -> float:
    """Root mean square of `error / (atol + rtol max(|x|, |x_new|))` of each batch entry; the largest of them."""
    assert error is not None
    with torch.no_grad():
        scaled = error.abs() / (atol + rtol * torch.maximum(x.abs(), x_new.abs()))
        return scaled.reshape(len(x), -1).square().mean(1).sqrt().max().item()


def _dead_end(error: float, fraction: float, dtype: torch.dtype, nfe: int, max_nfe: int) -> str | None:
    """Why no further step can be tried, if so: after `error`, with `fraction` of the span, for `nfe` in all."""
    if math.isnan(fraction) or (not error <= 1 and fraction < torch.finfo(dtype).eps):
        return "the step vanishes" if math.isfinite(error + fraction) else "the velocity is not finite"
    return f"the budget of {max_nfe} evaluations is spent" if nfe > max_nfe else None


def _trajectory(
    states: list[Tensor], endpoints: list[Tensor], times: Sequence[float | Tensor] | Tensor, nfe: int
) -> Trajectory:
    x = states[0]
    moments = [torch.as_tensor(t, dtype=x.real.dtype, device=x.device) for t in times]
    return Trajectory(states, endpoints, torch.stack(moments), nfe)


def check_times(times: Sequence[float | Tensor] | Tensor) -> list[float]:
    """`times` as numbers if there are two or more, finite and strictly falling; else ConfigError."""
    if isinstance(times, int | float):
        raise ConfigError(f"times to integrate over are a list such as uniform_schedule({times:g}); got {times}")
    grid = [float(t.detach() if isinstance(t, Tensor) else t) for t in times]
    if len(grid) < 2 or not all(math.isfinite(a) and math.isfinite(b) and a > b for a, b in pairwise(grid)):
        raise ConfigError(f"times to integrate over are two or more, finite and strictly falling; got {grid}")
    return grid


def check_state(x: Tensor) -> None:
    """Raise ConfigError unless `x` is a batch of something real or complex."""
    if x.ndim < 1 or x.numel() == 0 or not (x.is_floating_point() or x.is_complex()):
        raise ConfigError(f"a state is real or complex, (batch, ...) and not empty; got {tuple(x.shape)} {x.dtype}")


def _check_settings(start: float, end: float, tableau: Tableau, rtol: float, atol: float, max_nfe: int) -> None:
    if tableau.embedded is None:
        raise ConfigError(f"adaptive steps need a tableau with embedded weights; '{tableau.name}' has none")
    if not (math.isfinite(start) and math.isfinite(end) and start != end):
        raise ConfigError(f"adaptive steps need a finite start and another end; got {start} and {end}")
    check_tolerances(rtol, atol)
    if max_nfe < 1:
        raise ConfigError(f"a budget of evaluations is at least 1; got max_nfe={max_nfe}")


def check_tolerances(rtol: float, atol: float) -> None:
    """Raise ConfigError unless both are finite, the relative one at least and the absolute one above zero."""
    if not (0 <= rtol < math.inf and 0 < atol < math.inf):
        raise ConfigError(f"tolerances are finite, rtol >= 0 and atol > 0; got {rtol=:g} and {atol=:g}")
