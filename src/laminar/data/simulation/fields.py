"""Seeded random fields and soft shapes on a pixel grid, in relative units so that resolution does not matter.

Lengths are in half fields of view: the shorter side of the grid spans [-1, 1], the longer one more, and
pixels are square. Fields are sums of cosines with random coefficients, hence functions of position that can
be evaluated on any grid; the number of random draws never depends on the grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

_PERIOD = 2.3  # of the cosines, a little more than the field of view: no mirror line inside it


@lru_cache(maxsize=64)
def _positions(n: int, shorter: int) -> Tensor:
    """Pixel centers along one axis of a grid with `shorter` pixels on its shorter side; zero at n // 2."""
    return (torch.arange(n) - n // 2) * (2.0 / shorter)


@lru_cache(maxsize=128)
def _cosines(n: int, shorter: int, modes: int) -> Tensor:
    """cos(pi k (p + P/2) / P) at the pixel centers: float32 (n, modes)."""
    k = torch.arange(modes, dtype=torch.float64)
    phase = math.pi / _PERIOD * (_positions(n, shorter).double() + _PERIOD / 2)
    return torch.cos(phase[:, None] * k).float()


@lru_cache(maxsize=128)
def _spectrum(slope: float, low: float, high: float) -> Tensor:
    """Amplitudes f^-slope from `low` to `high` cycles per field of view, scaled to unit variance: (k, k)."""
    k = torch.arange(math.ceil(high * _PERIOD) + 1) / _PERIOD
    f = torch.sqrt(k[:, None] ** 2 + k[None, :] ** 2)
    amplitude = f.clamp(min=0.2) ** -slope * ((f >= low) & (f <= high))
    return amplitude / torch.sqrt((amplitude**2).sum() / 4).clamp(min=1e-12)


@dataclass(frozen=True)
class Canvas:
    """A grid (y, x) with the generator that everything on it is drawn from."""

    matrix: tuple[int, int]
    generator: torch.Generator

    @cached_property
    def y(self) -> Tensor:
        return _positions(self.matrix[0], min(self.matrix))[:, None]

    @cached_property
    def x(self) -> Tensor:
        return _positions(self.matrix[1], min(self.matrix))[None, :]

    @property
    def pixel(self) -> float:
        return 2.0 / min(self.matrix)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def log_uniform(self, low: float, high: float) -> float:
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def normal(self, std: float = 1.0) -> float:
        return std * float(torch.randn((), generator=self.generator))

    def integer(self, low: int, high: int) -> int:
        """A whole number in [low, high]."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def chance(self, probability: float) -> bool:
        return self.uniform(0.0, 1.0) < probability

    def choose(self, weights: dict[str, float]) -> str:
        """One of the keys, with probability proportional to its weight."""
        left = self.uniform(0.0, sum(weights.values()))
        for name, weight in weights.items():
            left -= weight
            if left <= 0:
                return name
        return next(reversed(weights))

    def noise(self, slope: float, low: float, high: float) -> Tensor:
        """A Gaussian field of unit variance with amplitude spectrum f^-slope between two frequencies: (y, x).

        Frequencies are in cycles per (shorter) field of view; what the grid cannot hold is left out.
        """
        amplitude = _spectrum(slope, low, high)
        draws = torch.randn(amplitude.shape, generator=self.generator)
        (height, width), shorter = self.matrix, min(self.matrix)
        modes = min(len(amplitude), int(shorter * _PERIOD / 2))
        coefficients = (amplitude * draws)[:modes, :modes]
        return _cosines(height, shorter, modes) @ coefficients @ _cosines(width, shorter, modes).T

    def blobs(self, centers: Tensor, radii: Tensor, heights: Tensor) -> Tensor:
        """Sum of Gaussian bumps at `centers` (n, 2): (y, x). Separable, so that hundreds cost one product."""
        along_y = torch.exp(-0.5 * ((self.y.T - centers[:, :1]) / radii[:, None]) ** 2)
        along_x = torch.exp(-0.5 * ((self.x - centers[:, 1:]) / radii[:, None]) ** 2)
        return (along_y * heights[:, None]).T @ along_x

    def dots(self, number: int, smallest: float, largest: float, spread: float = 1.0) -> Tensor:
        """Soft round spots of random size scattered over the canvas, values in [0, 1]: (y, x)."""
        centers = (torch.rand(number, 2, generator=self.generator) * 2 - 1) * spread
        radii = torch.rand(number, generator=self.generator) ** 2 * (largest - smallest) + smallest
        bumps = self.blobs(centers, radii, torch.ones(number))
        return ((bumps - 0.35) * 2.5).clamp(0, 1)

    def frame(self, scale: float, angle: float, center: tuple[float, float], warp: float) -> Frame:
        """Coordinates of a body that is scaled, turned, shifted and smoothly deformed; see Frame."""
        along_y, along_x = self.y - center[0], self.x - center[1]
        cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
        u = cosine * along_x + sine * along_y + warp * self.noise(2.0, 0.4, 5.0)
        v = sine * along_x - cosine * along_y + warp * self.noise(2.0, 0.4, 5.0)
        return Frame(u, v, self.pixel / scale)


@dataclass(frozen=True, eq=False)
class Frame:
    """Body coordinates at every pixel, `u` to the right, `v` upwards, and the pixel, in units of the body."""

    u: Tensor
    v: Tensor
    pixel: float

    def ellipse(self, u: float, v: float, a: float, b: float, angle: float = 0.0) -> Tensor:
        """Nearly the distance to the ellipse with semi-axes a, b around (u, v); positive inside."""
        cosine, sine = math.cos(angle), math.sin(angle)
        along = self.u * (cosine / a) + (self.v * (sine / a) - (u * cosine + v * sine) / a)
        across = self.v * (cosine / b) - (self.u * (sine / b) + (v * cosine - u * sine) / b)
        along, across = along.square(), across.square()
        squares = along + across
        slope = along * (1 / a**2) + across * (1 / b**2) + 1e-6 / min(a, b) ** 2  # no 0 / 0 in the center
        return (1 - torch.sqrt(squares)) * torch.sqrt((squares + 1e-6) / slope)

    def segment(self, start: tuple[float, float], end: tuple[float, float]) -> Tensor:
        """Distance to a straight segment, from (u, v) to (u, v)."""
        du, dv = end[0] - start[0], end[1] - start[1]
        length = du * du + dv * dv + 1e-12
        t = (((self.u - start[0]) * du + (self.v - start[1]) * dv) / length).clamp(0, 1)
        return torch.hypot(self.u - start[0] - t * du, self.v - start[1] - t * dv)

    def inside(self, distance: Tensor, width: float = 0.0) -> Tensor:
        """Soft indicator of distance > 0: a ramp of `width`, at least a pixel, exactly 0 and 1 outside it."""
        return (distance / max(width, self.pixel) + 0.5).clamp(0, 1)

    def gradient(self, f: Tensor) -> Tensor:
        """Magnitude of the gradient of a field per unit of length of the body."""
        along_y, along_x = torch.gradient(f)
        return torch.hypot(along_y, along_x) / self.pixel

    def line(self, f: Tensor, width: float) -> Tensor:
        """Soft indicator of a band of `width` around the zero level of a field."""
        return self.inside(width / 2 - f.abs() / self.gradient(f).clamp(min=1e-3))

    def line_distance(self, f: Tensor, spacing: float) -> Tensor:
        """Distance to the zero lines of a narrow-band field with lines this far apart, in [0, spacing / 2].

        A field that is locally a sine of wavelength 2 spacing = 2 pi / k has the phase
        atan2(|f|, |grad f| / k).
        """
        unit = spacing / math.pi
        return unit * torch.atan2(f.abs(), self.gradient(f) * unit)


def paint(image: Tensor, coverage: Tensor, value: Tensor | float) -> Tensor:
    """Put `value` over the image where coverage is one, mixing in between (partial volume)."""
    return image + coverage * (value - image)


def union(a: Tensor, b: Tensor, roundness: float = 0.1) -> Tensor:
    """Distance to the union of two shapes with a rounded joint."""
    blend = ((a - b) / (2 * roundness) + 0.5).clamp(0, 1)
    return b + (a - b) * blend + roundness * blend * (1 - blend)
