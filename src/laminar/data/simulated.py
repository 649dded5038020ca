"""Endless, seeded training problems from simulation: of phantoms, or of images of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from laminar.data.cases import Case, case_of
from laminar.data.config import SMALLEST_MATRIX, SamplingConfig, SimulationConfig, log_uniform
from laminar.data.images import ImageStack
from laminar.data.simulation import SimulatedSlice
from laminar.data.simulation.phantoms import phantom
from laminar.data.simulation.pictured import COARSEST, FINEST, pictured
from laminar.data.simulation.scan import OVERSAMPLING, scan_object

FOLDS = (1.05, 1.6)
"""How much larger than its field of view a folded object may be."""

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
    """Simulated training problems; each batch has one matrix, number of coils, mask kind and mask axis.

    `n_maps` as of `laminar.data.preparation.prepare`.
    """

    objects: Objects
    config: SimulationConfig
    sampling: SamplingConfig
    batch_size: int
    seed: int
    n_maps: int | None = 1

    def batch(self, index: int) -> Case:
        return self.case(self.record(index))

    def case(self, record: Record) -> Case:
        """The problems that the masks of a record leave."""
        samples = zip(record.scans, record.masks, strict=True)
        return Case.stack([case_of(scan.scan, mask, scan.clean[None], n_maps=self.n_maps) for scan, mask in samples])

    def record(self, index: int) -> Record:
        """The scans of batch `index`, still fully sampled, and their masks."""
        random = np.random.default_rng((self.seed, index))
        matrix, make = self.objects.draw(random)
        coils = int(log_uniform(random, self.config.coils[0], self.config.coils[1] + 1))
        kind, axis = self.sampling.draw_kind(random)
        if kind == "poisson":
            largest = 3 * self.config.readout // 2
            matrix = (min(matrix[0], largest), min(matrix[1], largest))
        folded = self._folded(matrix[axis], random) if kind != "poisson" else matrix[axis]
        scans, masks, accelerations, lines = [], [], list[float](), list[int]()
        for _ in range(self.batch_size):
            generator = torch.Generator().manual_seed(int(random.integers(2**62)))
            noise = log_uniform(random, *self.config.noise_std)
            scan = scan_object(make(matrix, generator), matrix, coils, noise, generator)
            if folded < matrix[axis]:
                scan = scan.fold(axis, folded)
            if kind != "poisson":
                scan = self._part_of_readout(scan, -1 if axis == -2 else -2, random)
            aim, count = self.sampling.draw_acceleration(kind, scan.matrix, axis, random)
            masks.append(self.sampling.mask(kind, scan.matrix, axis, aim, count, random))
            scans.append(scan)
            accelerations.append(aim)
            lines.append(count)
        return Record(scans, masks, kind, axis, accelerations, lines)

    def _folded(self, size: int, random: np.random.Generator) -> int:
        """The pixels of the field of view along the undersampled axis, some of them too few for the object."""
        folds, factor = random.random() < self.config.folded, random.uniform(*FOLDS)
        return max(SMALLEST_MATRIX, int(size / factor)) if folds else size

    def _part_of_readout(self, scan: SimulatedSlice, axis: int, random: np.random.Generator) -> SimulatedSlice:
        spare = scan.matrix[axis] - self.config.readout
        if spare <= 0:
            return scan
        return scan.crop(axis, int(random.integers(spare // 4, spare - spare // 4 + 1)), self.config.readout)
