"""Masks that undersample both axes: Poisson discs, Gaussian density, spokes and spiral arms on the grid."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from laminar.data.line_masks import gaussian, most_likely
from laminar.data.poisson import poisson_disc

Mask = NDArray[np.bool_]
Curve = Callable[[NDArray[np.float64], float], NDArray[np.float64]]

PLANE_KINDS = ("poisson", "gaussian-2d", "radial", "spiral", "calgary")
GOLDEN = math.pi * (math.sqrt(5) - 1) / 2
"""Angle between spokes in turn: any number of them covers the half circle evenly. Winkelmann et al. 2007."""
_FRAME = math.pi * (math.sqrt(2) - 1)
"""Turn from frame to frame; no multiple of the golden angle, so that no spoke comes again."""
_TURNS = 4.0
_KZ = 0.85
"""Part of kz that Calgary-Campinas acquires."""


def calibration_samples(kind: str, lines: tuple[Mask, ...]) -> Mask:
    """The calibration samples (y, x) of a kind, from its calibration lines along y and x."""
    block: Mask = lines[0][:, None] & lines[1]
    if kind != "calgary":
        return block
    radius = max(int(part.sum()) for part in lines) / 2
    y, x = (np.arange(n) - n // 2 for n in block.shape)
    circle: Mask = y[:, None] ** 2 + x**2 < radius**2
    circle[:, math.ceil(_KZ * block.shape[1]) :] = False
    return circle


def support(kind: str, mask: Mask) -> Mask:
    """The part of a mask, as a view, whose samples its acceleration counts."""
    return mask[:, : math.ceil(_KZ * mask.shape[1])] if kind == "calgary" else mask


def draw_plane(kind: str, center: Mask, acceleration: float, seed: tuple[int, ...], frame: int) -> Mask:
    """The mask (y, x) with calibration samples `center`; see `laminar.data.make_mask`."""
    mask = center.copy()
    turned = kind in ("radial", "spiral")
    random = np.random.default_rng((*seed, frame) if frame and not turned else seed)
    within = support(kind, mask)
    within[...] = _DRAW[kind](within, acceleration, random, frame)
    return mask


def _gaussian(center: Mask, acceleration: float, random: np.random.Generator, frame: int) -> Mask:
    density = gaussian(center.shape[0])[:, None] + gaussian(center.shape[1])
    return center | most_likely(density, ~center, round(center.size / acceleration) - int(center.sum()), random)


def _poisson(center: Mask, acceleration: float, random: np.random.Generator, frame: int) -> Mask:
    return poisson_disc(center, acceleration, random)


def _even_poisson(center: Mask, acceleration: float, random: np.random.Generator, frame: int) -> Mask:
    return poisson_disc(center, acceleration, random, edge_radius=1.0)


def _curves(center: Mask, acceleration: float, random: np.random.Generator, frame: int, angle: Curve) -> Mask:
    """Curves from the middle outwards, one after the other, until exactly size / R samples are there.

    The last one ends early. Where curves fill the plane too slowly, near R = 1, what is still wanted lies next to DC.
    """
    mask, wanted = center.copy(), round(center.size / acceleration)
    first = random.uniform(0, math.pi) + frame * _FRAME
    # In units of half the matrix, out to the corners, in steps of at most half a sample.
    radius = np.linspace(0, math.sqrt(2), 2 * max(center.shape) * (1 if angle is _straight else math.ceil(_TURNS)))
    for curve in range(2 * max(center.shape)):
        _add(mask, _on_grid(center.shape, radius, angle(radius, first + curve * GOLDEN)), wanted)
        if mask.sum() == wanted:
            return mask
    y, x = (np.arange(n) - n // 2 for n in center.shape)
    _add(mask, np.argsort((y[:, None] ** 2 + x**2).ravel(), kind="stable"), wanted)
    return mask


def _add(mask: Mask, places: NDArray[np.int64], wanted: int) -> None:
    """Acquire the flat indices `places`, the first ones first, up to `wanted` samples."""
    new = places[~mask.flat[places]]
    _, first = np.unique(new, return_index=True)
    mask.flat[new[np.sort(first)][: wanted - int(mask.sum())]] = True


def _on_grid(shape: tuple[int, ...], radius: NDArray[np.float64], angle: NDArray[np.float64]) -> NDArray[np.int64]:
    """Flat indices of the grid points nearest to a curve and to its mirror image, from the middle outwards."""
    ends = []
    for side in (1, -1):
        y, x = (
            np.rint(n // 2 + side * n / 2 * radius * f(angle)).astype(np.int64)
            for n, f in zip(shape, (np.sin, np.cos), strict=True)
        )
        inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
        ends.append(np.where(inside, y * shape[1] + x, -1))
    flat = np.stack(ends, 1).ravel()
    return flat[flat >= 0]


def _straight(radius: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    return np.full_like(radius, angle)


def _turning(radius: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    return angle + 2 * math.pi * _TURNS * radius


_DRAW: dict[str, Callable[[Mask, float, np.random.Generator, int], Mask]] = {
    "poisson": _poisson,
    "gaussian-2d": _gaussian,
    "radial": partial(_curves, angle=_straight),
    "spiral": partial(_curves, angle=_turning),
    "calgary": _even_poisson,
}
