"""The straight path between the image and the source, and the schedules on it.

Time runs backwards: t = 1 is the source `x1`, t = 0 the image `x0`; every ODE is `dx/dt = v` from 1 to 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import overload

import torch
from torch import Tensor

from laminar.errors import ConfigError


def interpolate(image: Tensor, source: Tensor, time: float | Tensor) -> Tensor:
    """`x_t = (1 - t) x0 + t x1`, the interpolant of FLAT (arXiv 2512.03020) and InDI (arXiv 2303.11435)."""
    return (1 - time) * image + time * source


def per_entry(value: float | Tensor, like: Tensor) -> Tensor:
    """A number, or one number for each batch entry (batch,), shaped to broadcast against `like` (batch, ...)."""
    if not isinstance(value, Tensor):
        return torch.tensor(
            value, dtype=torch.float64
        )  # a scalar tensor promotes nothing and is at home on every device
    return value.to(like.device).reshape(-1, *[1] * (like.ndim - 1)) if value.ndim == 1 else value


def uniform_schedule(n_cascades: int) -> tuple[float, ...]:
    """Times `1 = t_N > ... > t_0 = 0` in the order in which they are visited, equally spaced."""
    return power_schedule(n_cascades, 0.0)


def power_schedule(n_cascades: int, alpha: float, dense_at: str = "image") -> tuple[float, ...]:
    """Times of a power schedule in the order in which they are visited, from 1 to 0.

    `dense_at="image"`: `t_k = (k/N)^(1+alpha)`; `dense_at="start"`: `t_k = 1 - (1 - k/N)^(1+alpha)` (the formula of
    arXiv 2512.03020 read literally). Raises ConfigError for N < 1, alpha < 0 or another orientation.
    """
    if n_cascades < 1 or not 0 <= alpha < math.inf:
        raise ConfigError(f"a power schedule needs n_cascades >= 1 and alpha >= 0; got {n_cascades} and {alpha}")
    if dense_at not in ("image", "start"):
        raise ConfigError(f"a power schedule is dense at 'image' or 'start', not at {dense_at!r}")
    fractions = [k / n_cascades for k in range(n_cascades, -1, -1)]
    if dense_at == "image":
        return tuple(fraction ** (1 + alpha) for fraction in fractions)
    return tuple(1 - (1 - fraction) ** (1 + alpha) for fraction in fractions)


def cosine_schedule(n_cascades: int, dense_at: str = "image") -> tuple[float, ...]:
    """Times at equal steps of an angle, in the order in which they are visited, from 1 to 0.

    With `theta_k = pi k / 2N`: `dense_at="image"`: `t_k = 1 - cos(theta_k)`; `dense_at="start"`: `t_k = sin(theta_k)`;
    `dense_at="both"`: `t_k = sin^2(theta_k)`, the noise power of the cosine schedule of diffusion (Nichol and
    Dhariwal, arXiv 2102.09672, without its offset). Raises ConfigError for N < 1 or another orientation.
    """
    if n_cascades < 1:
        raise ConfigError(f"a cosine schedule needs n_cascades >= 1; got {n_cascades}")
    # sin is exact at both ends, while 1 - cos(pi/2) is not exactly 1: so all three forms are written with it
    rising = [math.sin(math.pi * k / (2 * n_cascades)) for k in range(n_cascades + 1)]
    if dense_at == "image":
        return tuple(1 - value for value in rising)
    if dense_at == "start":
        return tuple(reversed(rising))
    if dense_at == "both":
        return tuple(value**2 for value in reversed(rising))
    raise ConfigError(f"a cosine schedule is dense at 'image', 'start' or 'both', not at {dense_at!r}")


def softmax_schedule(logits: Tensor) -> Tensor:
    """Times (N + 1,) from 1 to 0 whose increments are `softmax(logits)`: a schedule for any logits, differentiable.

    `logits` (N,) in the order of execution: the first is the step away from the source. Increments below the
    resolution of the dtype make neighboring times equal; they never rise.
    """
    if logits.ndim != 1 or len(logits) < 1:
        raise ConfigError(f"a learned schedule needs logits (n_cascades,); got the shape {tuple(logits.shape)}")
    remaining = logits.softmax(0).flip(0).cumsum(0).flip(0)
    return torch.cat([remaining / remaining[:1], remaining.new_zeros(1)])


def make_schedule(
    kind: str | Sequence[float], n_cascades: int, alpha: float = 0.0, dense_at: str = "image"
) -> tuple[float, ...]:
    """The schedule of a setting: 'uniform', 'power' (with `alpha`), 'cosine', or a list of `n_cascades` + 1 times.

    `alpha` belongs to the power schedule, `dense_at` to the power and cosine schedules; the others do not read
    them. Raises ConfigError for anything that does not fall strictly from 1 to 0 in `n_cascades` steps.
    """
    if not isinstance(kind, str):
        if len(kind) != n_cascades + 1:
            raise ConfigError(f"a schedule of {n_cascades} cascades has {n_cascades + 1} times; got {len(kind)}")
        return check_schedule(kind)
    if kind == "uniform":
        return uniform_schedule(n_cascades)
    if kind == "power":
        return check_schedule(power_schedule(n_cascades, alpha, dense_at))
    if kind == "cosine":
        return check_schedule(cosine_schedule(n_cascades, dense_at))
    raise ConfigError(f"a schedule is 'uniform', 'power', 'cosine' or a list of times, not {kind!r}")


def check_schedule(times: Sequence[float]) -> tuple[float, ...]:
    """`times` if they fall strictly from exactly 1 to exactly 0; else ConfigError."""
    falling = all(a > b for a, b in pairwise(times))
    if len(times) < 2 or times[0] != 1 or times[-1] != 0 or not falling:
        raise ConfigError(f"a schedule falls strictly from 1 to 0; got {list(times)}")
    return tuple(times)


@overload
def relative_steps(times: Tensor) -> Tensor: ...
@overload
def relative_steps(times: Sequence[float]) -> tuple[float, ...]: ...
def relative_steps(times: Tensor | Sequence[float]) -> Tensor | tuple[float, ...]:
    """`h_k = (t_{k+1} - t_k) / t_{k+1}` in the order of execution; the last is 1. A tensor gives (N, ...)."""
    if isinstance(times, Tensor):
        return (times[:-1] - times[1:]) / times[:-1]
    return tuple((before - after) / before for before, after in pairwise(times))
