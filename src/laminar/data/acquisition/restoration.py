"""Image restoration: real images that are blurred, coarse or incomplete."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from laminar.data.acquisition.acquisition import Acquisition, Conditions, Measured, noise, resampled
from laminar.errors import ConfigError
from laminar.geometry import Linear
from laminar.operators import Convolution, Inpainting, LinearOperator, box, gaussian
from laminar.scan import Scan


@dataclass(frozen=True)
class Deblurring(Acquisition):
    """A Gaussian blur of a width in pixels."""

    width: float = 1.5
    noise: float = 0.02
    kind = "linear"

    def measure(self, thing: Tensor, matrix: tuple[int, int], conditions: Conditions) -> Measured:
        return _measured(thing, _blur(self.width, matrix), self.noise, conditions)


@dataclass(frozen=True)
class SuperResolution(Acquisition):
    """The means of blocks of `factor` pixels a side."""

    factor: int = 2
    noise: float = 0.02
    kind = "linear"

    def measure(self, thing: Tensor, matrix: tuple[int, int], conditions: Conditions) -> Measured:
        return _measured(thing, _coarser(self.factor, matrix), self.noise, conditions)


@dataclass(frozen=True)
class Filling(Acquisition):
    """A share of the pixels is missing, always the same ones of a matrix."""

    missing: float = 0.6
    noise: float = 0.02
    kind = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.missing < 1:
            raise ConfigError(f"missing: expected a share below 1; got {self.missing}")

    def measure(self, thing: Tensor, matrix: tuple[int, int], conditions: Conditions) -> Measured:
        return _measured(thing, _incomplete(self.missing, matrix), self.noise, conditions)


@lru_cache(16)
def _blur(width: float, matrix: tuple[int, int]) -> Linear:
    return Linear(Convolution(gaussian(width), matrix), matrix)


@lru_cache(16)
def _coarser(factor: int, matrix: tuple[int, int]) -> Linear:
    return Linear(Convolution(box(factor), matrix, factor), matrix)


@lru_cache(16)
def _incomplete(missing: float, matrix: tuple[int, int]) -> Linear:
    operator: LinearOperator = Inpainting(torch.rand(matrix, generator=torch.Generator().manual_seed(0)) >= missing)
    return Linear(operator, matrix)


def _measured(thing: Tensor, geometry: Linear, std: float, conditions: Conditions) -> Measured:
    """What the operator makes of the magnitude at the resolution of the image, with noise: the operator is exact."""
    image = resampled(thing.abs(), geometry.matrix).clamp_min(0)
    y = geometry.forward(image[None])
    error, sampled = noise(tuple(y.shape), std, conditions.generator, y.dtype), geometry.forward.sampled
    y = y + (error if sampled is None else error * sampled)
    scan = Scan(y, geometry, noise_std=std, name="simulated", header={"simulated": True})
    return Measured(scan, image, is_coils=False)
