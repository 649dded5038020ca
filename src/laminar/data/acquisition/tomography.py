"""Computed and emission tomography of the magnitude of an object."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from laminar.data.acquisition.acquisition import Acquisition, Conditions, Measured, resampled
from laminar.data.simulation.transmission import transmission
from laminar.geometry import Emission, Tomography
from laminar.operators import Beam, Projector
from laminar.scan import Scan

FINER = 2
"""The grid of the object in the simulation, over that of the image."""
THICKNESS = 4.0
"""The attenuation of an object of magnitude one across the larger side of the field of view."""
BODY = 0.05  # of the magnitude: what attenuates


@dataclass(frozen=True)
class CT(Acquisition):
    """X-rays through an object: `views` evenly over half a turn, or over a whole one of a fan; photons a bin."""

    views: int = 60
    photons: float = 1e5
    fan: int = 0
    kind = "tomography"
    least: ClassVar = {"fan": 0}
    switches: ClassVar = ("fan",)

    def measure(self, thing: Tensor, matrix: tuple[int, int], conditions: Conditions) -> Measured:
        image, fine = (THICKNESS / max(matrix) * part for part in _magnitudes(thing, matrix))
        sinogram = _projector(self.views, bool(self.fan), matrix, FINER)(fine[None]) / FINER
        y, weights = transmission(sinogram, self.photons, conditions.generator)
        geometry = Tomography(_projector(self.views, bool(self.fan), matrix, 1), weights)
        return Measured(Scan(y, geometry, noise_std=1.0, name="simulated", header=_SIMULATED), image, is_coils=False)


@dataclass(frozen=True)
class PET(Acquisition):
    """Decays in an object that attenuates them: `counts` true ones in all, and a share of background beside them."""

    views: int = 90
    counts: float = 3e5
    background: float = 0.25
    kind = "emission"
    least: ClassVar = {"background": 0}

    def measure(self, thing: Tensor, matrix: tuple[int, int], conditions: Conditions) -> Measured:
        image, fine = _magnitudes(thing, matrix)
        coarse, finer = (_projector(self.views, False, matrix, factor) for factor in (1, FINER))
        factors = torch.exp(-THICKNESS / max(matrix) * coarse((image > BODY).float()[None]))
        true = factors * finer(fine[None]) / FINER
        unit = self.counts / true.sum().clamp_min(1e-6)
        background = torch.full_like(true, self.background * self.counts / true.numel())
        counts = torch.poisson(unit * true + background, generator=conditions.generator)
        scan = Scan(counts, Emission(coarse, factors, background), name="simulated", header=_SIMULATED)
        return Measured(scan, unit * image, is_coils=False)


_SIMULATED = {"simulated": True}


def _magnitudes(thing: Tensor, matrix: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The object, float32 and nowhere negative, on the grid of the image and on the finer one."""
    magnitude = thing.abs()
    fine = (FINER * matrix[0], FINER * matrix[1])
    return resampled(magnitude, matrix).clamp_min(0), resampled(magnitude, fine).clamp_min(0)


@lru_cache(8)
def _projector(views: int, fan: bool, matrix: tuple[int, int], finer: int) -> Projector:
    """Rays that cover the matrix, in pixels of a grid `finer` times as fine."""
    side, turn = max(matrix), math.pi * (2 if fan else 1)
    bins = 2 * math.ceil(math.hypot(*matrix) / 2) + 2
    angles = turn / views * torch.arange(views)
    size = (finer * matrix[0], finer * matrix[1])
    if not fan:
        return Projector(Beam(angles, bins, float(finer)), size)
    return Projector(Beam(angles, bins, 2.2 * finer, 1.8 * side * finer, 1.8 * side * finer), size)
