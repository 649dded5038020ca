"""Seeded streams of training problems, from files and from several streams in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from laminar.data.cases import MOST_ACCELERATED, Case, FullScans, case_of
from laminar.data.config import MaskKind, SamplingConfig
from laminar.errors import ConfigError
from laminar.scan import Scan


class Stream(Protocol):
    """Batch `index` of a stream depends on nothing but the stream's settings, its seed and `index`."""

    def batch(self, index: int) -> Case: ...


@dataclass(frozen=True)
class Mixture:
    """Every batch from one of several streams, drawn with their weights."""

    streams: Sequence[Stream]
    weights: Sequence[float]
    seed: int

    def batch(self, index: int) -> Case:
        return self.choose(index).batch(index)

    def choose(self, index: int) -> Stream:
        """The stream that batch `index` comes from."""
        chances = np.asarray(self.weights) / sum(self.weights)
        return self.streams[int(np.random.default_rng((self.seed, index, 1)).choice(len(self.streams), p=chances))]


@dataclass(frozen=True, eq=False)
class FileStream:
    """Training problems from fully sampled scans in files; a batch takes its slices from one file.

    Zero padding and partial Fourier are accepted: the image is that of all acquired samples, the problem keeps those
    that the drawn mask has as well. Where the file says which axis is the readout, only the other one is undersampled.
    A scan that is undersampled already keeps its own mask. `n_maps` as of `laminar.data.preparation.prepare`.
    """

    scans: FullScans
    sampling: SamplingConfig
    batch_size: int
    seed: int
    n_maps: int | None = 1

    def __post_init__(self) -> None:
        if not self.scans.paths:
            raise ConfigError("training from files needs at least one file; got none")

    def batch(self, index: int) -> Case:
        random = np.random.default_rng((self.seed, index))
        path = self.scans.paths[int(random.integers(len(self.scans.paths)))]
        parts = [self._slice(path, random) for _ in range(self.batch_size)]
        if parts[0].measured_acceleration > MOST_ACCELERATED:
            return Case.stack([case_of(part, part.mask, n_maps=self.n_maps) for part in parts])
        known = parts[0].grid.readout_axis is not None
        kind, axis = (_without_poisson(self.sampling, path) if known else self.sampling).draw_kind(random)
        axis = parts[0].grid.phase_axis if known else axis
        masks = [self.sampling.draw(part.matrix, axis, kind, random) for part in parts]
        return Case.stack([case_of(part, mask, n_maps=self.n_maps) for part, mask in zip(parts, masks, strict=True)])

    def _slice(self, path: Path, random: np.random.Generator) -> Scan:
        """A random slice with signal."""
        count = self.scans.open(path).n_slices
        for _ in range(count):
            part = self.scans.slice(path, int(random.integers(count)))
            if part is not None:
                return part
        part = self.scans.slice(path, self.scans.slices(path)[0])
        assert part is not None
        return part


def _without_poisson(sampling: SamplingConfig, path: Path) -> SamplingConfig:
    """The settings for a file whose readout is known: Poisson masks leave gaps along both axes."""
    kinds: list[MaskKind] = [kind for kind in sampling.kinds if kind != "poisson"]
    if not kinds:
        raise ConfigError(f"{path}: Poisson masks would undersample its readout; sampling.kinds needs a line mask")
    return replace(sampling, kinds=kinds)
