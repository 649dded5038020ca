"""The orthogonal Daubechies wavelet transform of periodic images."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from laminar.errors import ConfigError
from laminar.operators import LinearOperator

MOMENTS = {"haar": 1, "db2": 2, "db4": 4}
"""The wavelets by name, and how many moments vanish: half the length of the filter."""
_COARSEST = 8


class Wavelet(LinearOperator):
    """The wavelet transform W of images of one size, a Parseval frame: `W^H W = I`.

    Shapes: image (batch, y, x) to coefficients (batch, Y, X), with Y, X the sides rounded up to a multiple of
    2^levels: the image is padded with zeros, and W restricted to the padded grid is unitary. The coarse band lies at
    [:Y / 2^levels, :X / 2^levels], finer ones around it (Mallat's order). `filter` is a key of MOMENTS; `levels` None
    is the most that leave the coarse band of the shorter side at least 8 long, as BART does. A series (frame, y, x) is
    transformed along its frames too, in as many levels as these allow by the same rule, at least one.

    Raises ConfigError for an unknown filter, a matrix that is not two or three sides >= 1, or levels < 1.
    """

    def __init__(self, matrix: tuple[int, ...], filter: str = "db4", levels: int | None = None) -> None:
        if filter not in MOMENTS:
            raise ConfigError(f"unknown wavelet '{filter}': choose one of {', '.join(MOMENTS)}")
        if len(matrix) not in (2, 3) or min(matrix) < 1 or (levels is not None and levels < 1):
            raise ConfigError(f"a wavelet transform needs two sides >= 1 and levels >= 1; got {matrix} and {levels}")
        self.matrix, self.filter = matrix, filter
        self.levels = levels or _levels(min(matrix[-2:]))
        frames = [min(self.levels, _levels(n)) for n in matrix[:-2]]
        self._levels = [*frames, self.levels, self.levels]
        self.padded = tuple(2**depth * math.ceil(n / 2**depth) for n, depth in zip(matrix, self._levels, strict=True))

    def pad(self, x: Tensor) -> Tensor:
        """The image on the padded grid."""
        missing = [whole - n for whole, n in zip(self.padded, self.matrix, strict=True)]
        return pad(x, [n for end in reversed(missing) for n in (0, end)])

    def crop(self, x: Tensor) -> Tensor:
        """The image from the padded grid: inverse on images, and adjoint, of `pad`."""
        block: tuple[Any, ...] = (..., *(slice(n) for n in self.matrix))
        return x[block]

    def forward(self, x: Tensor) -> Tensor:
        return self.analyze(self.pad(x))

    def adjoint(self, y: Tensor) -> Tensor:
        return self.crop(self.synthesize(y))

    def analyze(self, x: Tensor) -> Tensor:
        """The unitary transform of the padded grid."""
        bands = x.clone()
        for level in range(self.levels):
            coarse, axes = self._coarse(level)
            part = bands[coarse]
            for axis in axes:
                part = _split(part.movedim(axis, -1), self.filter).movedim(-1, axis)
            bands[coarse] = part
        return bands

    def synthesize(self, bands: Tensor) -> Tensor:
        """The inverse of `analyze`."""
        x = bands.clone()
        for level in reversed(range(self.levels)):
            coarse, axes = self._coarse(level)
            part = x[coarse]
            for axis in reversed(axes):
                part = _merge(part.movedim(axis, -1), self.filter).movedim(-1, axis)
            x[coarse] = part
        return x

    def _coarse(self, level: int) -> tuple[Any, list[int]]:
        """The block that a level transforms, and along which axes, from the last to the first."""
        sides = zip(self.padded, self._levels, strict=True)
        block = (..., *(slice(n >> min(level, depth)) for n, depth in sides))
        return block, [-1 - k for k, depth in enumerate(reversed(self._levels)) if depth > level]


def _levels(side: int) -> int:
    return max(1, int(math.log2(side / _COARSEST)))


@cache
def low_pass(moments: int) -> tuple[float, ...]:
    """The 2 N taps of the Daubechies filter of N vanishing moments, of unit norm and minimum phase.

        |h(w)|^2 = 2 cos^(2N)(w / 2) P(sin^2(w / 2)),   P(s) = sum_(k < N) binomial(N - 1 + k, k) s^k

    h(z) has the zeros of P inside the unit circle, and N at -1. Daubechies 1988, doi:10.1002/cpa.3160410705.
    """
    middle = [2 - 4 * s for s in np.roots([math.comb(moments - 1 + k, k) for k in reversed(range(moments))])]
    zeros = [min(np.roots([1, -sum_, 1]), key=abs) for sum_ in middle]  # z + 1/z = 2 - 4 s
    taps = np.poly([*zeros, *[-1] * moments]).real
    return tuple((taps / np.linalg.norm(taps)).tolist())


def _phases(filter: str) -> list[tuple[float, float, float, float]]:
    """Taps (even low, odd low, even high, odd high) of each shift; high-pass `g_l = (-1)^l h_(L-1-l)`."""
    low = low_pass(MOMENTS[filter])
    high = [(-1) ** index * tap for index, tap in enumerate(reversed(low))]
    return list(zip(low[::2], low[1::2], high[::2], high[1::2], strict=True))


def _split(x: Tensor, filter: str) -> Tensor:
    """Low and high band along the last axis, of even length: `low_k = sum_l h_l x_(2k+l)`, indices periodic."""
    even, odd = x[..., ::2], x[..., 1::2]
    low, high = torch.zeros_like(even), torch.zeros_like(even)
    for shift, (h0, h1, g0, g1) in enumerate(_phases(filter)):
        a, b = even.roll(-shift, -1), odd.roll(-shift, -1)
        low, high = low + h0 * a + h1 * b, high + g0 * a + g1 * b
    return torch.cat([low, high], -1)


def _merge(bands: Tensor, filter: str) -> Tensor:
    """The adjoint and inverse of `_split`."""
    low, high = bands.chunk(2, -1)
    even, odd = torch.zeros_like(low), torch.zeros_like(low)
    for shift, (h0, h1, g0, g1) in enumerate(_phases(filter)):
        a, b = low.roll(shift, -1), high.roll(shift, -1)
        even, odd = even + h0 * a + g0 * b, odd + h1 * a + g1 * b
    return torch.stack([even, odd], -1).flatten(-2)
