"""Seeded sampling masks: one door to masks of lines and of the plane, for one image and for the frames of a series."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laminar.data.line_masks import INSIDE, LINE_KINDS, NOMINAL, SHIFTED, outer_lines
from laminar.data.plane_masks import PLANE_KINDS, calibration_samples, draw_plane, support
from laminar.errors import ConfigError

Mask = NDArray[np.bool_]
Seed = int | tuple[int, ...]
MASK_KINDS = (*LINE_KINDS, *PLANE_KINDS)


def make_mask(
    kind: str,
    matrix: tuple[int, int],
    acceleration: float | Sequence[float],
    calibration_lines: int | float | Sequence[int | float],
    seed: Seed,
    axis: int = -1,
    offset: int | None = None,
) -> Tensor:
    """A sampling mask: bool (y, x), true = acquired.

    Masks of lines, for N lines of which n around DC are calibration lines:
        random               each other line with probability (N / R - n) / (N - n): R on average
        equispaced           every R-th line, and the calibration lines besides: R is nominal, the measured
                             acceleration is about N / (N / R + n (1 - 1 / R)); R must be whole
        equispaced-fraction  spacing widened to R (N - n) / (N - n R): R includes the calibration lines
        magic                every R-th line, so that the lines of one side of DC fall between the mirrored
                             ones of the other; R as for equispaced
        magic-fraction       the same with R widened, to a whole number, for the calibration lines; n is held between
                             1 and N / R
        gaussian             lines with a Gaussian density, sigma = N / 4; R is exact

    Masks of the plane, for which `axis` has no meaning and R is exact; n x n calibration samples:
        poisson              Poisson discs, denser at the center
        gaussian-2d          samples with a Gaussian density, sigma = N / 4 along either axis
        radial               spokes through DC at golden angles
        spiral               turning arms from DC, at golden angles
        calgary              Poisson discs of one density and a circle of diameter n, on the first 85 % of x, which
                             alone R counts: N / R of the others are acquired. The challenge's own have R = 5 or 10
                             and n = 36, measured over all of x 5.86 and 11.7

    Args:
        kind: one of the above; underscores are as good as hyphens.
        matrix: size (y, x).
        acceleration: R >= 1. R = 1 acquires everything. Of several, with as many `calibration_lines`, the seed draws
            one pair.
        calibration_lines: n, or as a float below 1 the fraction n / N.
        seed: an integer 0 <= seed < 2^32 or, as fastMRI makes of a file name, a tuple of them: see `seed_of_file`.
        axis: the undersampled axis, -1 (x) or -2 (y).
        offset: first line of an equispaced or magic mask, instead of one that the seed draws.

    Raises ConfigError on an unknown kind or another seed, and on the impossible: R < 1, n > N, n > N / R where R is
    exact.

    Line masks equal those of the `fastmri` package for equal seeds, but for R = 1, where its equispaced-fraction leaves
    out the last line. Sources: arXiv:1811.08839; arXiv:1912.01101 for magic; doi:10.3389/fnins.2022.919186 for calgary.
    """
    return _mask(kind, matrix, acceleration, calibration_lines, seed, axis, offset, frame=0)


def make_kt_mask(
    kind: str,
    frames: int,
    matrix: tuple[int, int],
    acceleration: float | Sequence[float],
    calibration_lines: int | float | Sequence[int | float],
    seed: Seed,
    axis: int = -1,
) -> Tensor:
    """A mask for every frame of a series, bool (frame, y, x); the first is that of `make_mask`.

    From frame to frame the lines of equispaced and magic masks move on by one, spokes and arms turn, and the other
    kinds are drawn anew; the calibration lines stay. Arguments and errors as of `make_mask`.
    """
    if frames < 1:
        raise ConfigError(f"a series needs at least one frame; got {frames}")
    masks = [_mask(kind, matrix, acceleration, calibration_lines, seed, axis, None, f) for f in range(frames)]
    return torch.stack(masks)


def seed_of_file(name: str) -> tuple[int, ...]:
    """The seed that fastMRI makes of the name of a file, suffix included: the codes of its letters."""
    return tuple(map(ord, name))


def _mask(
    kind: str,
    matrix: tuple[int, int],
    acceleration: float | Sequence[float],
    calibration_lines: int | float | Sequence[int | float],
    seed: Seed,
    axis: int,
    offset: int | None,
    frame: int,
) -> Tensor:
    kind = kind.replace("_", "-")
    _check(kind, matrix, axis, seed, offset)
    drawn_anew = frame > 0 and kind not in SHIFTED and kind not in PLANE_KINDS
    random = np.random.RandomState((*_parts(seed), frame) if drawn_anew else seed)
    rate, calibration = _one_pair(acceleration, calibration_lines, random)
    if kind in PLANE_KINDS:
        center = calibration_samples(kind, tuple(_center(n, calibration) for n in matrix))
        _check_acceleration(kind, center, rate)
        return torch.from_numpy(draw_plane(kind, center, rate, _parts(seed), frame))
    center = _center(matrix[axis], calibration)
    if kind == "magic-fraction":
        center = _center(center.size, int(np.clip(center.sum(), 1, max(round(center.size / max(rate, 1)), 1))))
    _check_acceleration(kind, center, rate)
    lines = center | outer_lines(kind, center, rate, random, offset, frame)
    return torch.from_numpy(lines if axis == -1 else lines[:, None]).expand(matrix).clone()


def _check(kind: str, matrix: tuple[int, int], axis: int, seed: Seed, offset: int | None) -> None:
    if kind not in MASK_KINDS:
        raise ConfigError(f"unknown mask '{kind}': choose one of {', '.join(MASK_KINDS)}")
    if min(matrix) < 1 or axis not in (-1, -2):
        raise ConfigError(f"a mask needs a matrix >= 1 and axis -1 or -2; got {tuple(matrix)} and axis {axis}")
    parts = _parts(seed)
    if not parts or not all(isinstance(part, (int, np.integer)) and 0 <= part < 2**32 for part in parts):
        raise ConfigError(f"the seed of a mask must be a whole number from 0 to 2^32 - 1, or a tuple; got {seed!r}")
    if offset is not None and (kind not in SHIFTED or offset < 0):
        raise ConfigError(f"an offset >= 0 is for {', '.join(SHIFTED)} masks; got {offset} for {kind}")


def _parts(seed: Seed) -> tuple[int, ...]:
    return seed if isinstance(seed, tuple) else (seed,)


def _one_pair(
    acceleration: float | Sequence[float],
    calibration_lines: int | float | Sequence[int | float],
    random: np.random.RandomState,
) -> tuple[float, int | float]:
    """R and n: of several pairs one, drawn before all else, as fastMRI does."""
    if not isinstance(acceleration, Sequence) and not isinstance(calibration_lines, Sequence):
        return acceleration, calibration_lines
    rates, lines = ([v] if not isinstance(v, Sequence) else v for v in (acceleration, calibration_lines))
    if len(rates) != len(lines) or not rates:
        raise ConfigError(f"as many accelerations as calibration lines are needed; got {rates} and {lines}")
    which = random.randint(len(rates))
    return rates[which], lines[which]


def _center(n: int, calibration_lines: int | float) -> Mask:
    """The calibration lines among n, centered on DC as fastMRI does it."""
    fraction = isinstance(calibration_lines, float) and calibration_lines < 1
    count = round(n * calibration_lines) if fraction else -1
    if not fraction and math.isfinite(calibration_lines):
        count = int(calibration_lines)
    if not 0 <= count <= n or (not fraction and count != calibration_lines):
        raise ConfigError(
            f"calibration lines must be a whole number up to {n} or a fraction below 1; got {calibration_lines}"
        )
    lines = np.zeros(n, dtype=bool)
    first = (n - count + 1) // 2
    lines[first : first + count] = True
    return lines


def _check_acceleration(kind: str, center: Mask, acceleration: float) -> None:
    total, calibration = support(kind, center).size, int(center.sum())
    if not 1 <= acceleration <= total:
        raise ConfigError(f"the acceleration must be between 1 and {total}; got {acceleration}")
    if kind in NOMINAL and acceleration != int(acceleration):
        raise ConfigError(f"{kind} masks need a whole acceleration; got {acceleration}")
    if kind in INSIDE + PLANE_KINDS and calibration > total / acceleration:
        what = "samples" if kind in PLANE_KINDS else "lines"
        raise ConfigError(
            f"acceleration {acceleration:g} leaves {total / acceleration:.1f} of {total} {what}, "
            f"but {calibration} are calibration {what}"
        )
