"""Frozen protocols: which volumes, masks, slices, crop and metrics a number stands for.

A protocol is a file `protocols/NAME.yaml`, in the part of YAML that is JSON, so that the standard library reads it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laminar.data.masks import make_mask, seed_of_file
from laminar.errors import ConfigError, DataFormatError
from laminar.evaluation.conventions import CONVENTIONS, Convention

Volume = NDArray[np.floating[Any]]
_FOLDER = files("laminar.evaluation") / "protocols"


@dataclass(frozen=True)
class MaskRule:
    """The mask of a volume, from the name of its file.

    Args:
        kind: of `laminar.data.masks.make_mask`, or "stored": one of those in a published file.
        acceleration, calibration_lines, axis, offset: as there.
        measured: least and largest true acceleration.
        stored: for a matrix "218x170", `file` and its `md5`; a (mask, y, x) array.
        checks: masks that all have to agree in: `name`, `matrix`, and `sha256` or the `index` of a stored one.
    """

    kind: str
    measured: tuple[float, float]
    acceleration: float = 1.0
    calibration_lines: int | float = 0
    axis: int = -1
    offset: int | None = None
    stored: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    checks: tuple[Mapping[str, Any], ...] = ()

    def draw(self, name: str, matrix: tuple[int, int], folder: Path | None = None) -> Tensor:
        """The mask bool (y, x) of the volume in a file of this name; `folder` has the stored masks.

        Raises ConfigError if it is not there, or not what was published, or not of this matrix.
        """
        if self.kind != "stored":
            rates = self.acceleration, self.calibration_lines
            return make_mask(self.kind, matrix, *rates, seed_of_file(name), self.axis, self.offset)
        key = "x".join(map(str, matrix))
        if key not in self.stored or folder is None:
            raise ConfigError(
                f"the published masks of this protocol are for {' and '.join(self.stored)}, in a folder that --masks "
                f"names; got a scan of {key}, and {'no folder' if folder is None else folder}"
            )
        path = folder / self.stored[key]["file"]
        try:
            found = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path}: the published masks are needed there: {error.strerror}") from error
        if (md5 := hashlib.md5(found, usedforsecurity=False).hexdigest()) != self.stored[key]["md5"]:
            raise ConfigError(f"{path}: not the published masks, md5 {self.stored[key]['md5']}; it has {md5}")
        masks = np.load(path, allow_pickle=False)
        return torch.from_numpy(masks[self.index(name, len(masks))].astype(bool))

    def index(self, name: str, count: int) -> int:
        """Which of `count` stored masks the volume in a file of this name has, as DIRECT draws it."""
        return int(np.random.RandomState(seed_of_file(name)).randint(0, count))


@dataclass(frozen=True)
class Protocol:
    """What a number of this protocol stands for.

    Args:
        data: which volumes of which set, in words; `volumes` is their number.
        reference: the dataset that is compared with; the first that a file has.
        mask: how each is undersampled.
        drop: slices that are left out at the beginning and the end.
        middle: of the others this many in the middle; None takes all.
        frames: the first of a series (frame, slice, y, x); None takes all.
        crop: "width" for the centered square of the reference's width; or the parts of y and x that are kept.
        metrics: a key of CONVENTIONS.
        normalization: what becomes of the scale before, in words.
        sources: where all this was published.
    """

    name: str
    title: str
    data: str
    volumes: int | None
    reference: tuple[str, ...]
    mask: MaskRule
    metrics: str
    normalization: str
    sources: tuple[str, ...]
    drop: tuple[int, int] = (0, 0)
    middle: int | None = None
    frames: int | None = None
    crop: str | tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.metrics not in CONVENTIONS:
            raise ConfigError(f"{self.name}: metrics must be one of {', '.join(CONVENTIONS)}; got {self.metrics}")
        if isinstance(self.crop, str) and self.crop != "width":
            raise ConfigError(f"{self.name}: crop must be width, or the parts of y and x; got {self.crop}")

    @property
    def convention(self) -> Convention:
        return CONVENTIONS[self.metrics]

    def select(self, prediction: Volume, reference: Volume, name: str = "prediction") -> tuple[Volume, Volume]:
        """What is compared, both (slice, y, x): frames, slices and crop of two (slice, y, x) or (frame, slice, y, x).

        Raises DataFormatError if nothing is left or the crop does not fit.
        """
        a, b = (self._slices(volume, name) for volume in (prediction, reference))
        if self.crop is None:
            return a, b
        if isinstance(self.crop, str):
            width = b.shape[-1]
            return central_square(a, width), central_square(b, width)
        if a.shape != b.shape:
            raise DataFormatError(f"{name}: (slice, y, x) = {a.shape}, but the reference has {b.shape}")
        sizes = [math.floor(n * part + 0.5) for n, part in zip(b.shape[1:], self.crop, strict=True)]
        top, left = (n // 2 - size // 2 for n, size in zip(b.shape[1:], sizes, strict=True))
        inside = (slice(None), slice(top, top + sizes[0]), slice(left, left + sizes[1]))
        return a[inside], b[inside]

    def _slices(self, volume: Volume, name: str) -> Volume:
        series = volume[None] if volume.ndim == 3 else volume[: self.frames]
        kept = series[:, self.drop[0] : series.shape[1] - self.drop[1]]
        if self.middle is not None and kept.shape[1] > self.middle:
            last = (kept.shape[1] + 1) // 2  # as the challenge's own code rounds
            kept = kept[:, last - self.middle : last]
        if kept.size == 0:
            raise DataFormatError(f"{name}: {self.name} leaves out {sum(self.drop)} slices; it has {series.shape[1]}")
        return kept.reshape(-1, *kept.shape[-2:])


def central_square(volume: Volume, width: int) -> Volume:
    """The centered square (slice, width, width), as fastMRI crops. Raises DataFormatError if it is larger."""
    if min(volume.shape[1:]) < width:
        raise DataFormatError(f"cannot crop {volume.shape[1:]} to the reference's width, {width} x {width}")
    top, left = ((size - width) // 2 for size in volume.shape[1:])
    return volume[:, top : top + width, left : left + width]


def mask_checksum(mask: Tensor) -> str:
    """SHA-256 of a mask's size and bits, row by row, the first bit the highest of its byte."""
    size = "x".join(map(str, mask.shape)).encode()
    return hashlib.sha256(size + np.packbits(mask.numpy().ravel()).tobytes()).hexdigest()


def protocol_names() -> list[str]:
    """Those that ship."""
    return sorted(item.name.removesuffix(".yaml") for item in _FOLDER.iterdir() if item.name.endswith(".yaml"))


def load_protocol(name: str | Path) -> Protocol:
    """A protocol that ships, by name, or one in a file `*.yaml`.

    Raises ConfigError for an unknown name, listing them, and for a file that is not one: what is missing or unknown.
    """
    path = _FOLDER / f"{name}.yaml" if str(name) in protocol_names() else Path(name)
    if not path.is_file():
        raise ConfigError(f"unknown protocol '{name}': choose one of {', '.join(protocol_names())}, or a file")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        mask = values["mask"]
        return Protocol(**_tuples(Protocol, values) | {"mask": MaskRule(**_tuples(MaskRule, mask))})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{name}: not a protocol (YAML written as JSON): {' '.join(str(error).split())}") from error


def _tuples(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    known = {item.name for item in fields(kind)}
    if unknown := set(values) - known:
        raise ValueError(f"unknown {', '.join(sorted(unknown))}; expected {', '.join(sorted(known))}")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
