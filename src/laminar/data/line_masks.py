"""Masks of whole lines: those of fastMRI, bit by bit, and a Gaussian density."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Lines = NDArray[np.bool_]

LINE_KINDS = ("random", "equispaced", "equispaced-fraction", "magic", "magic-fraction", "gaussian")
SHIFTED = ("equispaced", "equispaced-fraction", "magic", "magic-fraction")
"""Kinds that are placed by an offset, which moves on from frame to frame."""
NOMINAL = ("equispaced", "magic")
"""Kinds whose R, a whole number, does not count the calibration lines."""
INSIDE = ("random", "equispaced-fraction", "gaussian")
"""Kinds whose R counts the calibration lines, so that they have to fit into N / R."""


def outer_lines(
    kind: str, center: Lines, acceleration: float, random: np.random.RandomState, offset: int | None, frame: int
) -> Lines:
    """The lines (n,) that a kind of mask has besides the calibration lines `center`; see `laminar.data.make_mask`."""
    n, calibration = center.size, int(center.sum())
    if acceleration == 1:
        return np.ones(n, dtype=bool)
    if kind == "random":
        lines: Lines = random.uniform(size=n) < (n / acceleration - calibration) / max(n - calibration, 1)
        return lines
    if kind == "gaussian":
        return most_likely(gaussian(n), ~center, round(n / acceleration) - calibration, random)
    spacing = _spacing(kind, n, acceleration, calibration)
    if spacing is None:
        return np.zeros(n, dtype=bool)
    if offset is None:
        offset = (int(random.randint(0, high=round(spacing))) + frame) % round(spacing)
    return _magic(n, int(spacing), offset) if kind.startswith("magic") else _equispaced(n, spacing, offset)


def gaussian(n: int) -> NDArray[np.float64]:
    """The logarithm of a Gaussian around DC, sigma = n / 4."""
    return -(((np.arange(n) - n // 2) / (n / 4)) ** 2) / 2


def most_likely(
    log_density: NDArray[np.float64], free: Lines, count: int, random: np.random.RandomState | np.random.Generator
) -> Lines:
    """`count` of the free places, drawn one after the other without replacement with this density.

    The largest of `log p + g` with Gumbel noise g are such a draw: nothing is rejected, so that it ends at once.
    """
    keys = np.where(free, log_density + random.gumbel(size=free.shape), -np.inf)
    drawn = np.zeros(free.size, dtype=bool)
    drawn[np.argsort(-keys, axis=None, kind="stable")[: min(max(count, 0), int(free.sum()))]] = True
    return drawn.reshape(free.shape)


def _spacing(kind: str, n: int, acceleration: float, calibration: int) -> float | None:
    """The distance of two lines; None where the calibration lines are all that there can be."""
    if kind in NOMINAL:
        return int(acceleration)
    if kind == "magic-fraction":
        remaining = round(n / acceleration) - calibration
        return round(n / remaining) if remaining > 0 else None
    free = calibration * acceleration - n
    return acceleration * (calibration - n) / free if free else None


def _equispaced(n: int, spacing: float, offset: int) -> Lines:
    lines = np.zeros(n, dtype=bool)
    if isinstance(spacing, int):
        lines[offset::spacing] = True
    else:  # fastMRI stops before the last line here
        lines[np.around(np.arange(offset, n - 1, spacing)).astype(np.int64)] = True
    return lines


def _magic(n: int, spacing: int, offset: int) -> Lines:
    # The two sides are sampled at offsets that fall between each other under conjugate symmetry.
    ahead, behind = (offset + 1, offset + 2) if offset % 2 == 0 else (offset + 2, offset - 1)
    positive, negative = np.zeros((n + 1) // 2, dtype=bool), np.zeros(n // 2, dtype=bool)
    positive[ahead::spacing] = True
    negative[behind::spacing] = True
    return np.fft.fftshift(np.concatenate([positive, negative[::-1]]))
