"""Endless, seeded streams of training problems, from simulation or from files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from laminar.acquisition import Acquisition
from laminar.data.config import MaskKind, SamplingConfig, SimulationConfig
from laminar.data.formats import read
from laminar.data.preparation import Problem, prepare, without_oversampling
from laminar.data.simulation import SimulatedSlice, simulate_slice
from laminar.errors import ConfigError
from laminar.flow import Trajectory
from laminar.operators import ifft2c

__all__ = ["Batch", "FileStream", "SamplingConfig", "SimulationConfig", "SimulationStream", "Stream"]

# A file counts as fully sampled up to this measured acceleration: zero padding and partial Fourier.
MOST_ACCELERATED = 1.5


@dataclass(frozen=True)
class Batch:
    """Problems of one matrix and number of coils, and their images `target` complex64 (batch, y, x).

    `reference` is the trajectory to align with, if it is not the line to the target.
    """

    problem: Problem
    target: Tensor
    reference: Trajectory | None = None

    def to(self, device: torch.device | str) -> Batch:
        reference = self.reference and self.reference.to(device)
        return Batch(self.problem.to(device), self.target.to(device), reference)


class Stream(Protocol):
    """Batch `index` of a stream depends on nothing but the stream's settings, its seed and `index`."""

    def batch(self, index: int) -> Batch: ...


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
            samples.append(_with_target(Acquisition(scan.kspace[None] * mask, mask), scan.clean[None]))
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
    """Training problems from fully sampled scans in files; a batch takes its slices from one file.

    Zero padding and partial Fourier are accepted: the target is the image of all acquired samples, the problem
    keeps those that the drawn mask has as well. Where the file says which axis is the readout, only the other one
    is undersampled.
    """

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
        path = self.paths[int(random.integers(len(self.paths)))]
        scan = _read_cached(path, self.variable, self.axes)
        kind, axis = _kind_and_axis(self._sampling_of(scan, path), random)
        if scan.readout_axis is not None:
            axis = scan.phase_axis
        samples = []
        for _ in range(self.batch_size):
            part = scan.slice(int(random.integers(scan.n_slices)))
            mask = self.sampling.draw(scan.matrix, axis, kind, random)
            samples.append(_with_target(part.undersample(mask), part.kspace))
        return _stack(samples)

    def _sampling_of(self, scan: Acquisition, path: Path) -> SamplingConfig:
        """The settings without Poisson masks where the readout is known: these leave gaps along both axes."""
        if scan.readout_axis is None:
            return self.sampling
        kinds: list[MaskKind] = [kind for kind in self.sampling.kinds if kind != "poisson"]
        if not kinds:
            raise ConfigError(f"{path}: Poisson masks would undersample its readout; sampling.kinds needs a line mask")
        return replace(self.sampling, kinds=kinds)


@lru_cache(maxsize=8)
def _read_cached(path: Path, variable: str | None, axes: str | None) -> Acquisition:
    """The slices with signal of a fully sampled scan, without readout oversampling."""
    scan = read(path, variable=variable, axes=axes)
    if scan.measured_acceleration > MOST_ACCELERATED:
        raise ConfigError(
            f"{path}: training needs fully sampled scans (R up to {MOST_ACCELERATED}); "
            f"this one has R = {scan.measured_acceleration:.2f}"
        )
    signal = (scan.kspace != 0).flatten(1).any(1)
    if not bool(signal.any()):
        raise ConfigError(f"{path}: training needs signal; every slice of this scan is zero")
    maps = scan.sensitivities
    scan = replace(scan, kspace=scan.kspace[signal], sensitivities=None if maps is None else maps[signal])
    return without_oversampling(scan)


def _kind_and_axis(sampling: SamplingConfig, random: np.random.Generator) -> tuple[str, int]:
    kind = sampling.kinds[int(random.integers(len(sampling.kinds)))]
    axis = -2 if sampling.both_axes and random.random() < 0.5 else -1
    return kind, axis


def _with_target(scan: Acquisition, clean: Tensor) -> Batch:
    """The problem of a scan of one slice, and the image `S^H F^-1 y_clean` of `clean` (1, coil, y, x)."""
    problem = prepare(scan)
    target = (problem.sensitivities.conj() * ifft2c(clean)).sum(1) / problem.scale[:, None, None]
    return Batch(problem, target)


def _stack(samples: Sequence[Batch]) -> Batch:
    problem = Problem.stack([sample.problem for sample in samples])
    return Batch(problem, torch.cat([sample.target for sample in samples]))
