"""Training problems prepared once, on disk: scans with their maps and images, to which each reading gives new masks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.utils.data import Dataset

from laminar.data.cases import Case
from laminar.data.config import SamplingConfig, log_uniform
from laminar.data.preparation import Problem
from laminar.data.simulated import SimulationStream
from laminar.data.stream import Mixture, Stream
from laminar.errors import ConfigError, DataFormatError
from laminar.files import replacing
from laminar.geometry import Cartesian
from laminar.operators import fft2c, ifft2c

SUFFIX = ".problems.safetensors"
_SPREAD = 1.25  # by which the acceleration of a reading differs at most from the one that was drawn for the record


def check_packable(stream: Stream) -> None:
    """Raise ConfigError for a stream that does not simulate."""
    parts = stream.streams if isinstance(stream, Mixture) else [stream]
    if not all(isinstance(part, SimulationStream) for part in parts):
        raise ConfigError("only simulated problems can be packed: data.kind simulation or images, or a mixture of them")


def pack(stream: Stream, index: int, path: Path, request: str = "") -> None:
    """Write batch `index` of a simulation as a record: fully sampled scans and the maps that their calibration gave.

    `kspace` complex64 (batch, coil, y, x) in the units of the problem, `maps` as pairs of float16, `target`, both with
    an axis of maps behind the batch where there are two, and `noise_level`; kind, axis, accelerations and calibration
    lines of the masks stand in the header, and the `request` that it answers. Raises as `check_packable` does.
    """
    check_packable(stream)
    if isinstance(stream, Mixture):
        stream = stream.choose(index)
    assert isinstance(stream, SimulationStream)
    record = stream.record(index)
    case = stream.case(record)
    problem = case.problem
    tensors = {
        "kspace": torch.stack([scan.kspace for scan in record.scans]) / problem.scale[:, None, None, None],
        "maps": torch.view_as_real(problem.sensed.sensitivities).half(),
        "target": case.image,
        "noise_level": problem.noise_level,
    }
    header = {"kind": record.kind, "axis": record.axis, "accelerations": record.accelerations, "lines": record.lines}
    header |= {"request": request}
    with replacing(path) as temporary:
        contiguous = {name: values.contiguous() for name, values in tensors.items()}
        temporary.write_bytes(save(contiguous, {"laminar": json.dumps(header)}))


@dataclass(frozen=True)
class Packing(Dataset[int]):
    """Item i packs batch i of a stream into a folder, if it is not there yet: a data set for a loader with workers.

    Raises ConfigError for a stream that does not simulate, and for a record of another `request` that stands there.
    """

    stream: Stream
    folder: Path
    count: int
    request: str = ""

    def __post_init__(self) -> None:
        check_packable(self.stream)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        path = self.folder / f"{index:06d}{SUFFIX}"
        if not path.exists():
            pack(self.stream, index, path, self.request)
        else:
            self._check(path)
        return index

    def _check(self, path: Path) -> None:
        with _opened(path) as (_, header):
            if header.get("request", "") != self.request:
                raise ConfigError(f"{path} was packed by other settings, seed or version: name another folder")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The tensors of a record, and what it says of itself. Raises DataFormatError."""
    try:
        with safe_open(path, "pt") as file:
            yield file, json.loads(file.metadata()["laminar"])
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise DataFormatError(f"{path}: not packed problems: {error}") from error


@dataclass(frozen=True)
class PackedStream:
    """Batches of records that `pack` wrote, in random order; each time with other masks, mirrored, in another phase.

    With an `n_maps` of 1 the first set of sensitivities is taken alone, else all that were packed.
    """

    paths: Sequence[Path]
    sampling: SamplingConfig
    seed: int
    n_maps: int | None = 1

    @classmethod
    def open(cls, places: Sequence[Path], sampling: SamplingConfig, seed: int, n_maps: int | None = 1) -> PackedStream:
        """The records in files and folders. Raises ConfigError if there are none."""
        files = [path for place in places for path in (sorted(place.iterdir()) if place.is_dir() else [place])]
        paths = [path for path in files if path.name.endswith(SUFFIX) and path.exists()]
        if not paths:
            raise ConfigError(f"no packed problems (*{SUFFIX}) in {', '.join(map(str, places))}")
        return cls(paths, sampling, seed, n_maps)

    def batch(self, index: int) -> Case:
        epoch, place = divmod(index, len(self.paths))
        path = self.paths[np.random.default_rng((self.seed, epoch)).permutation(len(self.paths))[place]]
        return self._read(path, np.random.default_rng((self.seed, epoch, place)))

    def _read(self, path: Path, random: np.random.Generator) -> Case:
        with _opened(path) as (file, header):
            kspace, maps, target, noise_level = (
                file.get_tensor(n) for n in ("kspace", "maps", "target", "noise_level")
            )
        sensitivities = torch.view_as_complex(maps.float())
        if sensitivities.ndim == 5 and self.n_maps == 1:
            sensitivities, target = sensitivities[:, 0], target[:, 0]
        kspace, sensitivities, target = _symmetric(kspace, sensitivities, target, random)
        matrix = (kspace.shape[-2], kspace.shape[-1])
        masks = []
        for acceleration, lines in zip(header["accelerations"], header["lines"], strict=True):
            aim = float(
                np.clip(
                    log_uniform(random, acceleration / _SPREAD, acceleration * _SPREAD), *self.sampling.acceleration
                )
            )
            masks.append(self.sampling.mask(header["kind"], matrix, header["axis"], aim, lines, random))
        mask = torch.stack(masks)
        operator = Cartesian(mask).operator(len(mask), sensitivities)
        return Case(Problem(kspace * mask[:, None], operator, noise_level, torch.ones(len(target))), target)


def _symmetric(
    kspace: Tensor, maps: Tensor, target: Tensor, random: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """The same scans mirrored along either axis and in another global phase of the object."""
    axes = [axis for axis in (-2, -1) if random.random() < 0.5]
    phase = torch.polar(torch.ones(()), torch.tensor(random.uniform(0, 2 * np.pi), dtype=torch.float32))
    if axes:
        kspace, maps, target = fft2c(ifft2c(kspace).flip(axes)), maps.flip(axes), target.flip(axes)
    return kspace * phase, maps, target * phase
