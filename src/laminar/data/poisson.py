"""Variable-density Poisson-disc sampling of a Cartesian plane of phase encodings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Distances = NDArray[np.float64]

_EDGE_RADIUS = 4.0  # disc radius at the edge of k-space, relative to the center
_JITTER = (
    0.6,
    1.4,
)  # random factor of the radius: on a grid, smooth radii alone give rings of constant density
_SURPLUS = 0.02  # largest fraction of samples drawn in excess, then dropped to meet the acceleration


def poisson_disc(
    center: Mask, acceleration: float, random: np.random.Generator, edge_radius: float = _EDGE_RADIUS
) -> Mask:
    """Random samples that keep a distance from each other, denser at the center, and those of `center`.

    The distance grows linearly with the relative radius rho, 1 at the edge of each axis, to `edge_radius` e times that
    of the center, d = s (1 + (e - 1) rho), times a random factor; s is searched such that exactly size / R samples
    remain. Dart throwing on the grid: every point is tried once, so that it always ends.

    Shapes: bool (y, x) both. Needs 1 <= R <= size / center.sum(). Source: doi:10.1145/1278780.1278807.
    """
    wanted = round(center.size / acceleration)
    if wanted == center.size:
        return np.ones_like(center)
    relative = _relative_distances(center.shape, edge_radius) * random.uniform(*_JITTER, size=center.shape)
    mask = _draw(center, relative, wanted, random.permutation(center.size))
    surplus = np.flatnonzero(mask & ~center)
    mask.flat[random.permutation(surplus)[: mask.sum() - wanted]] = False
    return mask


def _draw(center: Mask, relative: Distances, wanted: int, order: NDArray[np.int64]) -> Mask:
    """The darts for the scale s that leaves the wanted number of samples, or slightly more."""
    low, high = 0.0, float(np.hypot(*center.shape))
    scale = _first_guess(center, relative, wanted)
    mask = np.ones_like(center)
    for _ in range(30):
        drawn = _throw(center, scale * relative, order)
        count = drawn.sum()
        if count >= wanted:
            low, mask = scale, drawn
        else:
            high = scale
        if wanted <= count <= max((1 + _SURPLUS) * wanted, wanted + 1):
            break
        outside = max(count - center.sum(), 1) / max((1 + _SURPLUS / 2) * wanted - center.sum(), 1)
        scale = scale * outside**0.5
        if not low < scale < high:
            scale = (low + high) / 2
    return mask


def _relative_distances(shape: tuple[int, ...], edge_radius: float) -> Distances:
    y, x = (2 * np.abs(np.arange(n) - n // 2) / n for n in shape)
    return 1 + (edge_radius - 1) * np.hypot(y[:, None], x)


def _first_guess(center: Mask, relative: Distances, wanted: float) -> float:
    """The scale at which one sample per 1.4 squared distances fills the plane."""
    scales = np.geomspace(0.1, max(center.shape), 60)
    outside = relative[~center][::7]
    counts = [center.sum() + 7 * np.minimum(1, 1.4 / (s * outside) ** 2).sum() for s in scales]
    return float(np.interp(-wanted, -np.array(counts), scales))


def _throw(center: Mask, distance: Distances, order: NDArray[np.int64]) -> Mask:
    """Accept grid points in the given order unless an accepted one is nearer than its own distance."""
    margin = int(np.ceil(distance.max()))
    free = np.pad(~center, margin)
    mask = center.copy()
    width = center.shape[1]
    # Discs on a grid change only where the squared radius passes a whole number.
    squared = np.ceil(distance**2).astype(np.int64).ravel()
    discs: dict[int, tuple[int, Mask]] = {}
    for index, square in zip(order.tolist(), squared[order].tolist(), strict=True):
        y, x = divmod(index, width)
        if not free[y + margin, x + margin]:
            continue
        mask[y, x] = True
        if square not in discs:
            discs[square] = _outside_disc(square)
        reach, outside = discs[square]
        free[y + margin - reach : y + margin + reach + 1, x + margin - reach : x + margin + reach + 1] &= outside
    return mask


def _outside_disc(square: int) -> tuple[int, Mask]:
    """Grid points whose squared distance from the middle is at least `square`, and the reach of the disc."""
    reach = int(np.ceil(np.sqrt(square))) - 1
    offset = np.arange(-reach, reach + 1) ** 2
    return reach, offset[:, None] + offset >= square
