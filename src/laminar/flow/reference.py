"""Reference trajectories of high accuracy, from torchdiffeq."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from laminar.errors import ConfigError, MissingExtraError
from laminar.flow.solvers import SolverError, Velocity, check_state, check_times, check_tolerances

REFERENCE_METHODS = ("bosh3", "dopri5", "dopri8")
MAX_STEPS = 100_000
FIRST_STEP = 1e-3  # of the first interval; torchdiffeq's own guess may look beyond the last time


@torch.no_grad()
def integrate_reference(
    velocity: Velocity,
    x1: Tensor,
    times: Sequence[float],
    *,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    method: str = "dopri5",
) -> Tensor:
    """The states (time, *x1.shape) of `dx/dt = v(x, t)` at falling `times`, the first of them `x1` (batch, ...).

    Steps are adaptive, land on every one of `times` (nothing is interpolated, and `v` is never asked beyond the last)
    and are shared by the batch: the entry with the largest error decides. A complex state is integrated as its real
    and imaginary parts. Without gradients. Raises ConfigError for times that do not fall or another method,
    SolverError where the integration fails, MissingExtraError without torchdiffeq.
    """
    grid = check_times(times)
    check_state(x1)
    check_tolerances(rtol, atol)
    if method not in REFERENCE_METHODS:
        raise ConfigError(f"a reference method is one of {', '.join(REFERENCE_METHODS)}; got {method!r}")
    try:
        from torchdiffeq import odeint
    except ImportError as error:
        raise MissingExtraError("torchdiffeq", "flow") from error

    def real_velocity(t: Tensor, state: Tensor) -> Tensor:
        v = velocity(torch.view_as_complex(state), t) if x1.is_complex() else velocity(state, t)
        return torch.view_as_real(v) if x1.is_complex() else v

    start = torch.view_as_real(x1) if x1.is_complex() else x1
    moments = torch.tensor(grid, dtype=torch.float64, device=x1.device)
    options = {
        "norm": _largest_rms,
        "step_t": moments[1:],
        "first_step": FIRST_STEP * (grid[0] - grid[1]),
        "max_num_steps": MAX_STEPS,
    }
    try:
        states = odeint(real_velocity, start, moments, rtol=rtol, atol=atol, method=method, options=options)
    except AssertionError as error:  # how torchdiffeq reports a vanishing step or a state that is not finite
        raise SolverError(f"the reference integration with {method} ({rtol=:g}, {atol=:g}) failed: {error}") from error
    if not torch.isfinite(states).all():
        raise SolverError(f"the reference integration with {method} left the finite numbers")
    return torch.view_as_complex(states) if x1.is_complex() else states


def _largest_rms(scaled: Tensor) -> Tensor:
    """The root mean square of each batch entry, the largest of them."""
    return scaled.reshape(len(scaled), -1).square().mean(1).sqrt().max()
