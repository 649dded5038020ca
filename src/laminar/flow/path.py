"""The straight path between the image and the source, and the schedules on it.

Time runs backwards: t = 1 is the source `x1`, t = 0 the image `x0`; every ODE is `dx/dt = v` from 1 to 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from laminar.errors import ConfigError


def interpolate(image: Tensor, source: Tensor, time: float | Tensor) -> Tensor:
    """`x_t = (1 - t) x0 + t x1`, the interpolant of FLAT (arXiv 2512.03020) and InDI (arXiv 2303.11435)."""
    return (1 - time) * image + time * source


def uniform_schedule(n_cascades: int) -> tuple[float, ...]:
    """Times `1 = t_N > ... > t_0 = 0` in the order in which they are visited, equally spaced."""
    return power_schedule(n_cascades, 0.0)


def power_schedule(n_cascades: int, alpha: float, dense_at: str = "image") -> tuple[float, ...]:
    """Times of a power schedule in the order in which they are visited, from 1 to 0.

    `dense_at="image"`: `t_k = (k/N)^(1+alpha)`; `dense_at="start"`: `t_k = 1 - (1 - k/N)^(1+alpha)` (the formula of
    arXiv 2512.03020 read literally). Raises ConfigError for N < 1, alpha < 0 or another orientation.
    """
    if n_cascades < 1 or alpha < 0:
        raise ConfigError(f"a power schedule needs n_cascades >= 1 and alpha >= 0; got {n_cascades} and {alpha}")
    if dense_at not in ("image", "start"):
        raise ConfigError(f"a power schedule is dense at 'image' or 'start', not at {dense_at!r}")
    fractions = [k / n_cascades for k in range(n_cascades, -1, -1)]
    if dense_at == "image":
        return tuple(fraction ** (1 + alpha) for fraction in fractions)
    return tuple(1 - (1 - fraction) ** (1 + alpha) for fraction in fractions)


def check_schedule(times: Sequence[float]) -> tuple[float, ...]:
    """`times` if they fall strictly from exactly 1 to exactly 0; else ConfigError."""
    falling = all(a > b for a, b in pairwise(times))
    if len(times) < 2 or times[0] != 1 or times[-1] != 0 or not falling:
        raise ConfigError(f"a schedule falls strictly from 1 to 0; got {list(times)}")
    return tuple(times)


def relative_steps(times: Sequence[float]) -> tuple[float, ...]:
    """`h_k = (t_{k+1} - t_k) / t_{k+1}` in the order of execution; the last is 1."""
    return tuple((before - after) / before for before, after in pairwise(times))
