"""Seeded sampling masks: the line masks of fastMRI, bit by bit, and variable-density Poisson discs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laminar.data.poisson import poisson_disc
from laminar.errors import ConfigError

Lines = NDArray[np.bool_]
Seed = int | tuple[int, ...]


def make_mask(
    kind: str,
    matrix: tuple[int, int],
    acceleration: float,
    calibration_lines: int | float,
    seed: Seed,
    axis: int = -1,
) -> Tensor:
    """A sampling mask: bool (y, x), true = acquired.

    Kinds, for N lines of which n around DC are calibration lines:
        random               each other line with probability (N / R - n) / (N - n): R on average
        equispaced           every R-th line, and the calibration lines besides: R is nominal, the measured
                             acceleration is about N / (N / R + n (1 - 1 / R)); R must be whole
        equispaced-fraction  spacing widened to R (N - n) / (N - n R): R includes the calibration lines
        magic                every R-th line, so that the lines of one side of DC fall between the mirrored
                             ones of the other; R as for equispaced
        magic-fraction       the same with R widened, to a whole number, for the calibration lines
        poisson              Poisson discs in two dimensions, denser at the center, with n x n calibration
                             samples; R is exact, and `axis` has no meaning

    Args:
        kind: one of the above; underscores are as good as hyphens.
        matrix: size (y, x).
        acceleration: R >= 1. R = 1 acquires everything.
        calibration_lines: n, or as a float below 1 the fraction n / N.
        seed: an integer 0 <= seed < 2^32 or, as fastMRI makes of a file name, a tuple of them.
        axis: the undersampled axis, -1 (x) or -2 (y).

    Raises ConfigError on an unknown kind or another seed, and on the impossible: R < 1, n > N, n > N / R where R is
    exact.

    Line masks equal those of the `fastmri` package for equal seeds, but for R = 1, and for n = 0 or n > N / R
    in magic-fraction, which changes n there. Sources: arXiv:1811.08839; arXiv:1912.01101 for magic.
    """
    kind = kind.replace("_", "-")
    if kind not in MASK_KINDS:
        raise ConfigError(f"unknown mask '{kind}': choose one of {', '.join(MASK_KINDS)}")
    if min(matrix) < 1 or axis not in (-1, -2):
        raise ConfigError(f"a mask needs a matrix >= 1 and axis -1 or -2; got {tuple(matrix)} and axis {axis}")
    _check_seed(seed)
    if kind == "poisson":
        center = _center(matrix[0], calibration_lines)[:, None] & _center(matrix[1], calibration_lines)
        _check_acceleration(kind, center, acceleration)
        return torch.from_numpy(poisson_disc(center, acceleration, np.random.default_rng(seed)))
    center = _center(matrix[axis], calibration_lines)
    _check_acceleration(kind, center, acceleration)
    lines = center | _outer_lines(kind, center, acceleration, np.random.RandomState(seed))
    return torch.from_numpy(lines if axis == -1 else lines[:, None]).expand(matrix).clone()


def _check_seed(seed: Seed) -> None:
    parts = seed if isinstance(seed, tuple) else (seed,)
    if not parts or not all(isinstance(part, (int, np.integer)) and 0 <= part < 2**32 for part in parts):
        raise ConfigError(f"the seed of a mask must be a whole number from 0 to 2^32 - 1, or a tuple; got {seed!r}")


def _center(n: int, calibration_lines: int | float) -> Lines:
    """The calibration lines among n, centered on DC as fastMRI does it."""
    fraction = isinstance(calibration_lines, float) and calibration_lines < 1
    count = round(n * calibration_lines) if fraction else int(calibration_lines)
    if not 0 <= count <= n or (not fraction and count != calibration_lines):
        raise ConfigError(
            f"calibration lines must be a whole number up to {n} or a fraction below 1; got {calibration_lines}"
        )
    lines = np.zeros(n, dtype=bool)
    first = (n - count + 1) // 2
    lines[first : first + count] = True
    return lines


def _check_acceleration(kind: str, center: Lines, acceleration: float) -> None:
    total, calibration = center.size, int(center.sum())
    if not 1 <= acceleration <= total:
        raise ConfigError(f"the acceleration must be between 1 and {total}; got {acceleration}")
    if kind in _NOMINAL and acceleration != int(acceleration):
        raise ConfigError(f"{kind} masks need a whole acceleration; got {acceleration}")
    if kind not in _NOMINAL and calibration > total / acceleration:
        what = "samples" if kind == "poisson" else "lines"
        raise ConfigError(
            f"acceleration {acceleration:g} leaves {total / acceleration:.1f} of {total} {what}, "
            f"but {calibration} are calibration {what}"
        )


def _outer_lines(kind: str, center: Lines, acceleration: float, random: np.random.RandomState) -> Lines:
    n, calibration = center.size, int(center.sum())
    if acceleration == 1:
        return np.ones(n, dtype=bool)
    if kind != "random" and calibration * acceleration == n:  # the calibration lines are all there can be
        return np.zeros(n, dtype=bool)
    return _LINES[kind](n, acceleration, calibration, random)


def _random(n: int, acceleration: float, calibration: int, random: np.random.RandomState) -> Lines:
    probability = (n / acceleration - calibration) / (n - calibration)
    lines: Lines = random.uniform(size=n) < probability
    return lines


def _equispaced(n: int, acceleration: float, calibration: int, random: np.random.RandomState) -> Lines:
    lines = np.zeros(n, dtype=bool)
    lines[random.randint(0, high=int(acceleration)) :: int(acceleration)] = True
    return lines


def _equispaced_fraction(n: int, acceleration: float, calibration: int, random: np.random.RandomState) -> Lines:
    spacing = acceleration * (calibration - n) / (calibration * acceleration - n)
    offset = random.randint(0, high=round(spacing))
    lines = np.zeros(n, dtype=bool)
    lines[np.around(np.arange(offset, n - 1, spacing)).astype(np.int64)] = True
    return lines


def _magic(n: int, acceleration: float, calibration: int, random: np.random.RandomState) -> Lines:
    offset = random.randint(0, high=int(acceleration))
    # The two sides are sampled at offsets that fall between each other under conjugate symmetry.
    ahead, behind = (offset + 1, offset + 2) if offset % 2 == 0 else (offset + 2, offset - 1)
    positive, negative = np.zeros((n + 1) // 2, dtype=bool), np.zeros(n // 2, dtype=bool)
    positive[ahead :: int(acceleration)] = True
    negative[behind :: int(acceleration)] = True
    return np.fft.fftshift(np.concatenate([positive, negative[::-1]]))


def _magic_fraction(n: int, acceleration: float, calibration: int, random: np.random.RandomState) -> Lines:
    remaining = round(n / acceleration) - max(calibration, 1)
    if remaining <= 0:
        return np.zeros(n, dtype=bool)
    return _magic(n, round(n / remaining), calibration, random)


_LINES: dict[str, Callable[[int, float, int, np.random.RandomState], Lines]] = {
    "random": _random,
    "equispaced": _equispaced,
    "equispaced-fraction": _equispaced_fraction,
    "magic": _magic,
    "magic-fraction": _magic_fraction,
}
_NOMINAL = ("equispaced", "magic")
MASK_KINDS = (*_LINES, "poisson")
