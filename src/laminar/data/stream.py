"""Endless, seeded streams of training problems, from simulation or from files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from laminar.acquisition import Acquisition
from laminar.data.formats import read
from laminar.data.masks import make_mask
from laminar.data.preparation import Problem, prepare
from laminar.data.simulation import SimulatedSlice, simulate_slice
from laminar.errors import ConfigError
from laminar.operators import ifft2c

MaskKind = Literal["random", "equispaced", "equispaced-fraction", "magic-fraction", "poisson"]


@dataclass(frozen=True)
class Batch:
    """Problems of one matrix and number of coils, and their images `target` complex64 (batch, y, x)."""

    problem: Problem
    target: Tensor

    def to(self, device: torch.device | str) -> Batch:
        return Batch(self.problem.to(device), self.target.to(device))


class Stream(Protocol):
    """Batch `index` of a stream depends on nothing but the stream's settings, its seed and `index`."""

    def batch(self, index: int) -> Batch: ...


@dataclass(frozen=True)
class SamplingConfig:
    """How training problems are undersampled; every pair is a range from which is drawn.

    Args:
        kinds: mask kinds, each entry as likely as the others.
        acceleration: nominal R.
        calibration_lines: fully sampled lines in the center; fewer where R would not allow as many.
        both_axes: undersample y as often as x, else always x.
    """

    kinds: list[MaskKind] = field(
        default_factory=lambda: ["equispaced-fraction", "equispaced-fraction", "random", "poisson"]
    )
    acceleration: tuple[float, float] = (2.0, 9.0)
    calibration_lines: tuple[int, int] = (12, 26)
    both_axes: bool = True

    def draw(self, matrix: tuple[int, int], axis: int, kind: str, random: np.random.Generator) -> Tensor:
        """One mask (y, x)."""
        acceleration = random.uniform(*self.acceleration)
        lines = int(random.integers(self.calibration_lines[0], self.calibration_lines[1] + 1))
        if kind == "poisson":
            room = int((matrix[0] * matrix[1] / acceleration) ** 0.5 / 2)
        else:
            room = int(0.7 * matrix[axis] / acceleration)
        if kind == "equispaced":
            acceleration = round(acceleration)
        return make_mask(kind, matrix, acceleration, max(8, min(lines, room)), int(random.integers(2**31)), axis)


@dataclass(frozen=True)
class SimulationConfig:
    """Endless simulated scans.

    Args:
        anatomy: brain | knee | cardiac | abstract | mixed.
        matrices: sizes (y, x), each as likely as the others.
        readout: largest part of the readout that is kept, at a random place; it is cheaper and nothing is lost,
            because a fully sampled axis decouples. Poisson masks have no readout and take at most 3/2 of
            this size along both axes.
        coils: fewest and most coils.
        noise_std: range of the noise level relative to the magnetization, drawn log-uniformly.
    """

    anatomy: str = "mixed"
    matrices: list[tuple[int, int]] = field(default_factory=lambda: [(128, 128), (160, 160), (192, 192), (224, 192)])
    readout: int = 64
    coils: tuple[int, int] = (4, 8)
    noise_std: tuple[float, float] = (0.003, 0.06)


@dataclass(frozen=True)
class SimulationStream:
    """Simulated training problems; each batch has one matrix, number of coils, mask kind and mask axis."""

    config: SimulationConfig
    sampling: SamplingConfig
    batch_size: int
    seed: int

    def batch(self, index: int) -> Batch:
        random = np.random.default_rng((self.seed, index))
        matrix = self.config.matrices[int(random.integers(len(self.config.matrices)))]
        coils = int(random.integers(self.config.coils[0], self.config.coils[1] + 1))
        kind, axis = _kind_and_axis(self.sampling, random)
        if kind == "poisson":
            largest = 3 * self.config.readout // 2
            matrix = (min(matrix[0], largest), min(matrix[1], largest))
        samples = []
        for _ in range(self.batch_size):
            scan = self._scan(matrix, coils, random)
            if kind != "poisson":
                scan = self._part_of_readout(scan, -1 if axis == -2 else -2, random)
            mask = self.sampling.draw(scan.matrix, axis, kind, random)
            samples.append(_undersampled(scan.kspace, scan.clean, mask))
        return _stack(samples)

    def _scan(self, matrix: tuple[int, int], coils: int, random: np.random.Generator) -> SimulatedSlice:
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        noise = float(np.exp(random.uniform(*np.log(self.config.noise_std))))
        return simulate_slice(self.config.anatomy, matrix, coils, noise, generator)

    def _part_of_readout(self, scan: SimulatedSlice, axis: int, random: np.random.Generator) -> SimulatedSlice:
        spare = scan.matrix[axis] - self.config.readout
        if spare <= 0:
            return scan
        return scan.crop(axis, int(random.integers(spare // 4, spare - spare // 4 + 1)), self.config.readout)


@dataclass(frozen=True)
class FileStream:
    """Training problems from fully sampled scans in files; a batch takes its slices from one file."""

    paths: Sequence[Path]
    sampling: SamplingConfig
    batch_size: int
    seed: int
    variable: str | None = None
    axes: str | None = None

    def __post_init__(self) -> None:
        if not self.paths:
            raise ConfigError("training from files needs at least one file; got none")

    def batch(self, index: int) -> Batch:
        random = np.random.default_rng((self.seed, index))
        scan = _read_cached(self.paths[int(random.integers(len(self.paths)))], self.variable, self.axes)
        kind, axis = _kind_and_axis(self.sampling, random)
        samples = []
        for _ in range(self.batch_size):
            kspace = scan.kspace[int(random.integers(scan.n_slices))]
            mask = self.sampling.draw(scan.matrix, axis, kind, random)
            samples.append(_undersampled(kspace, kspace, mask))
        return _stack(samples)


@lru_cache(maxsize=8)
def _read_cached(path: Path, variable: str | None, axes: str | None) -> Acquisition:
    scan = read(path, variable=variable, axes=axes)
    if not bool(scan.mask.all()):
        raise ConfigError(
            f"{path}: training needs fully sampled scans; this one has R = {scan.measured_acceleration:.1f}"
        )
    return scan


def _kind_and_axis(sampling: SamplingConfig, random: np.random.Generator) -> tuple[str, int]:
    kind = sampling.kinds[int(random.integers(len(sampling.kinds)))]
    axis = -2 if sampling.both_axes and random.random() < 0.5 else -1
    return kind, axis


def _undersampled(kspace: Tensor, clean: Tensor, mask: Tensor) -> Batch:
    """The problem of one slice (coil, y, x) and its image `S^H F^-1 y_clean` with the estimated sensitivities S."""
    problem = prepare(Acquisition(kspace[None] * mask, mask))
    coil_images = ifft2c(clean[None])
    target = (problem.sensitivities.conj() * coil_images).sum(1) / problem.scale[:, None, None]
    return Batch(problem, target)


def _stack(samples: Sequence[Batch]) -> Batch:
    problem = Problem.stack([sample.problem for sample in samples])
    return Batch(problem, torch.cat([sample.target for sample in samples]))
