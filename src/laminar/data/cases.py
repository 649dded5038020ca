"""A problem whose image is known, the one thing that training, audit and calibration are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from laminar.data.coils import whitened
from laminar.data.formats import UNSAID, LazyScan, Request, opened
from laminar.data.peek import peek
from laminar.data.preparation import Problem, noise_std_of, prepare, without_oversampling
from laminar.errors import ConfigError, LaminarError
from laminar.flow import Trajectory
from laminar.operators import ifft2c
from laminar.scan import Scan, is_finite
from laminar.words import counted

MOST_ACCELERATED = 1.5
"""A file counts as fully sampled up to this measured acceleration: zero padding and partial Fourier."""
KEPT = 8


@dataclass(frozen=True, eq=False, repr=False)
class Case:
    """A problem with its `image` complex64 (batch, y, x) in the problem's units, of two maps (batch, map, y, x).

    `reference` is the trajectory to align with, if it is not the line to the image; `name` says what it is of.
    """

    problem: Problem
    image: Tensor
    name: str = ""
    reference: Trajectory | None = None

    def __repr__(self) -> str:
        return f"Case({f'{self.name!r}: ' if self.name else ''}image {tuple(self.image.shape)}, {self.problem})"

    def to(self, device: torch.device | str) -> Case:
        reference = self.reference and self.reference.to(device)
        return Case(self.problem.to(device), self.image.to(device), self.name, reference)

    @staticmethod
    def stack(cases: Sequence[Case]) -> Case:
        """One batch of cases of the same matrix and number of coils, without references.

        Where some have two maps, the others get a second one that is zero, and so is its image.
        """
        most = max(case.problem.n_maps for case in cases)
        problem = Problem.stack([case.problem.padded(most) for case in cases])
        images = torch.cat([case._padded(most) for case in cases])
        return Case(problem, images, ", ".join(c.name for c in cases if c.name))

    def _padded(self, n_maps: int) -> Tensor:
        if n_maps == self.problem.n_maps:
            return self.image
        return torch.stack([self.image, *[torch.zeros_like(self.image)] * (n_maps - 1)], 1)


def case_of(full: Scan, mask: Tensor, clean: Tensor | None = None, name: str = "", *, n_maps: int | None = 1) -> Case:
    """The problem that `mask` (y, x) leaves of a fully sampled scan, and the image `S^H F^-1 y` of all of it.

    `clean` (slice, coil, y, x) is its k-space without noise, where that is known; `n_maps` as of `prepare`.
    """
    known = whitened(full if clean is None else full.with_kspace(clean))
    problem = prepare(full.undersample(mask), n_maps)
    return Case(problem, image_of(known.kspace, problem), name)


def image_of(kspace: Tensor, problem: Problem) -> Tensor:
    """`S^H F^-1 y` of all samples (slice, coil, y, x) with the maps, and in the units, of a problem: (slice, y, x).

    Of two maps (slice, map, y, x), of which either is well defined, for the maps of a pixel are orthonormal:
    `S_1 x_1 + S_2 x_2` is what the coil images have in the span of both.
    """
    images = problem.sensed.joined(ifft2c(kspace))
    return images / problem.scale.reshape(-1, *[1] * (images.ndim - 1))


@dataclass(frozen=True, eq=False)
class FullScans:
    """Fully sampled scans in files, read slice by slice and without the oversampling of their readout.

    With `undersampled`, others are welcome too: there the image of a case is that of the samples there are.
    `request` says how they are read, as `laminar.data.formats.read` takes it. The last `KEPT` files stay open: the mask
    of one takes a pass over its slices, and a format that cannot be read slice by slice is held whole. The noise level
    of each, which takes longer, is measured once.
    """

    paths: Sequence[Path]
    request: Request = UNSAID
    undersampled: bool = False
    _opened: dict[Path, LazyScan] = field(default_factory=dict, repr=False, compare=False)
    _noise: dict[Path, float] = field(default_factory=dict, repr=False, compare=False)

    def check(self) -> None:
        """Look at the middle slice of every file. Raises ConfigError that says what is wrong with the first of those
        that cannot be used, before any work is done.
        """
        faults = [fault for path in self.paths if (fault := self._fault(path)) is not None]
        if faults:
            more = f" (and {counted(len(faults) - 1, 'other file')} cannot be used)" if len(faults) > 1 else ""
            raise ConfigError(f"{faults[0]}{more}")

    def _fault(self, path: Path) -> str | None:
        try:
            seen = peek(path, self.request)
            self._check_full(path, seen.acceleration)
        except LaminarError as error:
            return str(error)
        return None if is_finite(seen.kspace) else f"{path}: k-space holds NaN or Inf"

    def _check_full(self, path: Path, acceleration: float) -> None:
        if acceleration > MOST_ACCELERATED and not self.undersampled:
            raise ConfigError(
                f"{path}: a fully sampled scan is needed (R up to {MOST_ACCELERATED}); "
                f"this one has R = {acceleration:.2f}"
            )

    def open(self, path: Path) -> LazyScan:
        """The scan of a file. Raises ConfigError if it is not fully sampled."""
        return self._known(path)[0]

    def slice(self, path: Path, index: int) -> Scan | None:
        """Slice `index` of a file; None if it has no signal."""
        scan, noise_std = self._known(path)
        part = scan.slice(index)
        return without_oversampling(replace(part, noise_std=noise_std)) if bool(part.kspace.any()) else None

    def slices(self, path: Path) -> list[int]:
        """The numbers of the slices with signal. Raises ConfigError if there are none."""
        scan = self.open(path)
        found = [index for index in range(scan.n_slices) if bool(scan.slice(index).kspace.any())]
        if not found:
            raise ConfigError(f"{path}: a scan with signal is needed; every slice of this one is zero")
        return found

    def _known(self, path: Path) -> tuple[LazyScan, float]:
        if path not in self._opened:
            scan = opened(path, self.request)
            self._check_full(path, scan.measured_acceleration)
            while len(self._opened) >= KEPT:
                self._opened.pop(next(iter(self._opened)))
            if path not in self._noise:
                self._noise[path] = noise_std_of(scan)
            self._opened[path] = scan
        return self._opened[path], self._noise[path]
