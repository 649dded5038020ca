"""Endless, seeded streams of training problems, from simulation or from files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from laminar.acquisition import Acquisition
from laminar.data.config import SMALLEST_MATRIX, MaskKind, SamplingConfig, SimulationConfig, log_uniform
from laminar.data.formats import read
from laminar.data.images import ImageStack
from laminar.data.preparation import Problem, prepare, without_oversampling
from laminar.data.simulation import SimulatedSlice
from laminar.data.simulation.phantoms import phantom
from laminar.data.simulation.pictured import COARSEST, FINEST, pictured
from laminar.data.simulation.scan import OVERSAMPLING, scan_object
from laminar.errors import ConfigError
from laminar.flow import Trajectory
from laminar.operators import ifft2c

__all__ = ["Batch", "FileStream", "SamplingConfig", "SimulationConfig", "SimulationStream", "Stream"]

# A file counts as fully sampled up to this measured acceleration: zero padding and partial Fourier.
MOST_ACCELERATED = 1.5


@dataclass(frozen=True, eq=False)
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


Maker = Callable[[tuple[int, int], torch.Generator], Tensor]
"""The magnetization (y, x) of a random object for a scan of a matrix, on a finer grid."""


class Objects(Protocol):
    """What a simulation scans: for each batch a matrix that suits the objects, and the maker of them."""

    def draw(self, random: np.random.Generator) -> tuple[tuple[int, int], Maker]: ...


@dataclass(frozen=True)
class Phantoms:
    """Procedural phantoms of an anatomy; the matrix is one of `matrices`."""

    anatomy: str
    matrices: Sequence[tuple[int, int]]

    def draw(self, random: np.random.Generator) -> tuple[tuple[int, int], Maker]:
        matrix = self.matrices[int(random.integers(len(self.matrices)))]
        return matrix, lambda size, generator: phantom(
            self.anatomy, (OVERSAMPLING * size[0], OVERSAMPLING * size[1]), generator
        )


@dataclass(frozen=True)
class Images:
    """Images of others; the objects of a batch come from one stack, every slice of all stacks as likely as another."""

    stacks: Sequence[ImageStack]

    def draw(self, random: np.random.Generator) -> tuple[tuple[int, int], Maker]:
        stack, turned = self._stack(int(random.integers(self.count))), random.random() < 0.5
        sides = stack.matrix[::-1] if turned else stack.matrix
        grid = (int(1.1 * sides[0]), int(1.1 * sides[1]))
        height, width = (max(SMALLEST_MATRIX, 2 * round(n * random.uniform(FINEST, COARSEST) / 2)) for n in grid)

        def make(_: tuple[int, int], generator: torch.Generator) -> Tensor:
            image = stack.image(int(torch.randint(stack.count, (), generator=generator)))
            return pictured(image.mT if turned else image, grid, generator)

        return (height, width), make

    @property
    def count(self) -> int:
        return sum(stack.count for stack in self.stacks)

    def _stack(self, index: int) -> ImageStack:
        return next(
            s for s, end in zip(self.stacks, accumulate(s.count for s in self.stacks), strict=True) if index < end
        )


@dataclass(frozen=True, eq=False)
class Record:
    """Scans of one matrix and number of coils, their masks, and what these were drawn from."""

    scans: list[SimulatedSlice]
    masks: list[Tensor]
    kind: str
    axis: int
    accelerations: list[float]
    lines: list[int]


@dataclass(frozen=True)
class SimulationStream:
    """Simulated training problems; each batch has one matrix, number of coils, mask kind and mask axis."""

    objects: Objects
    config: SimulationConfig
    sampling: SamplingConfig
    batch_size: int
    seed: int

    def batch(self, index: int) -> Batch:
        record = self.record(index)
        samples = zip(record.scans, record.masks, strict=True)
        return _stack([_with_target(Acquisition(s.kspace[None] * mask, mask), s.clean[None]) for s, mask in samples])

    def record(self, index: int) -> Record:
        """The scans of batch `index`, still fully sampled, and their masks."""
        random = np.random.default_rng((self.seed, index))
        matrix, make = self.objects.draw(random)
        coils = int(log_uniform(random, self.config.coils[0], self.config.coils[1] + 1))
        kind, axis = _kind_and_axis(self.sampling, random)
        if kind == "poisson":
            largest = 3 * self.config.readout // 2
            matrix = (min(matrix[0], largest), min(matrix[1], largest))
        scans, masks, accelerations, lines = [], [], list[float](), list[int]()
        for _ in range(self.batch_size):
            generator = torch.Generator().manual_seed(int(random.integers(2**62)))
            noise = log_uniform(random, *self.config.noise_std)
            scan = scan_object(make(matrix, generator), matrix, coils, noise, generator)
            if kind != "poisson":
                scan = self._part_of_readout(scan, -1 if axis == -2 else -2, random)
            aim, count = self.sampling.draw_acceleration(kind, scan.matrix, axis, random)
            masks.append(self.sampling.mask(kind, scan.matrix, axis, aim, count, random))
            scans.append(scan)
            accelerations.append(aim)
            lines.append(count)
        return Record(scans, masks, kind, axis, accelerations, lines)

    def _part_of_readout(self, scan: SimulatedSlice, axis: int, random: np.random.Generator) -> SimulatedSlice:
        spare = scan.matrix[axis] - self.config.readout
        if spare <= 0:
            return scan
        return scan.crop(axis, int(random.integers(spare // 4, spare - spare // 4 + 1)), self.config.readout)


@dataclass(frozen=True)
class Mixture:
    """Every batch from one of several streams, drawn with their weights."""

    streams: Sequence[Stream]
    weights: Sequence[float]
    seed: int

    def batch(self, index: int) -> Batch:
        return self.choose(index).batch(index)

    def choose(self, index: int) -> Stream:
        """The stream that batch `index` comes from."""
        chances = np.asarray(self.weights) / sum(self.weights)
        return self.streams[int(np.random.default_rng((self.seed, index, 1)).choice(len(self.streams), p=chances))]


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
    return Batch(problem, image_of(clean, problem))


def image_of(clean: Tensor, problem: Problem) -> Tensor:
    """`S^H F^-1 y_clean` (slice, y, x) of the clean k-space (slice, coil, y, x) in the units of a problem."""
    return (problem.sensitivities.conj() * ifft2c(clean)).sum(1) / problem.scale[:, None, None]


def _stack(samples: Sequence[Batch]) -> Batch:
    problem = Problem.stack([sample.problem for sample in samples])
    return Batch(problem, torch.cat([sample.target for sample in samples]))
