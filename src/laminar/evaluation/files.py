"""Predicted volumes against their references, file by file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laminar.data.formats.fastmri import series_of
from laminar.data.formats.guard import reading
from laminar.data.formats.hdf5 import survey
from laminar.data.formats.scan_file import REFERENCE
from laminar.errors import ConfigError, DataFormatError, LaminarError
from laminar.evaluation.conventions import CONVENTIONS, VolumeScore
from laminar.evaluation.protocol import Protocol, central_square
from laminar.files import finite
from laminar.statistics import mean_interval
from laminar.version import __version__
from laminar.words import counted

PREDICTION = "reconstruction"
REFERENCES = ("reconstruction_rss", "reconstruction_esc", "reconstruction", REFERENCE)
SUFFIXES = (".h5", ".hdf5")

Volume = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Evaluation:
    """The scores by volume name, and by the same kind of name why others could not be scored.

    `statement` says how they were computed, `notes` what is not as a protocol has it.
    """

    scores: Mapping[str, VolumeScore]
    failures: Mapping[str, str]
    statement: str = CONVENTIONS["fastmri"].statement
    protocol: str | None = None
    notes: Sequence[str] = ()

    def summary(self) -> dict[str, dict[str, float]]:
        """Over volumes, for each metric: `mean`, `std` (unbiased) and the ends `low`, `high` of its interval.

        The interval is the 95 % percentile bootstrap of the mean over volumes, seeded. It and the standard
        deviation are NaN for a single volume, or where a value is infinite.
        """
        table = [score.volume for score in self.scores.values()]
        return {name: _spread([row[name] for row in table]) for name in (table[0] if table else ())}

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values for JSON; what is not finite, as the PSNR of equal images, is None."""
        volumes = {name: {**score.volume, "slices": dict(score.slices)} for name, score in self.scores.items()}
        said = {"name": self.protocol, "notes": list(self.notes)} if self.protocol else {}
        found = {"laminar": __version__, "protocol": self.statement, "summary": self.summary()}
        plain: dict[str, Any] = finite(found | said | {"volumes": volumes}) | {"failures": dict(self.failures)}
        return plain


def evaluate_files(
    predictions: str | Path,
    references: str | Path,
    *,
    reference: str | None = None,
    center_crop: bool = False,
    protocol: Protocol | None = None,
) -> Evaluation:
    """Compare two HDF5 files, or two folders of them matched by file name.

    Predictions hold the dataset `reconstruction` (slice, y, x); references hold the dataset that `reference` names, by
    default the first of `reconstruction_rss`, `reconstruction_esc`, `reconstruction`, and the `reference` of our own
    scans. With `center_crop` both are cropped to the centered square of the reference's width first, as fastMRI's own
    evaluation does. A `protocol` has its own references, slices, crop and metrics instead; without one these are
    fastMRI's.

    A volume that cannot be scored is listed in `failures` and does not stop the others. Raises LaminarError
    if the two paths are not two files or two folders, if there is no HDF5 file at all, or if a protocol is to be
    changed.
    """
    if protocol is not None and (reference is not None or center_crop):
        raise ConfigError(f"protocol {protocol.name} has its own reference and crop: leave out the others")
    scores: dict[str, VolumeScore] = {}
    failures: dict[str, str] = {}
    notes: list[str] = []
    for name, pair in _pairs(Path(predictions), Path(references)).items():
        try:
            if protocol is None:
                scores[name] = _score(*pair, reference, center_crop)
            else:
                scores[name] = _score_by(protocol, *pair)
                notes += _other_acceleration(protocol, pair[0])
        except LaminarError as error:
            failures[name] = str(error)
    if protocol is None:
        return Evaluation(scores, failures)
    if protocol.volumes not in (None, len(scores)):
        notes.append(
            f"{counted(len(scores), 'volume')} scored, {protocol.name} has {protocol.volumes}: not a number of it"
        )
    return Evaluation(scores, failures, protocol.convention.statement, protocol.name, notes)


def read_volume(path: Path, *names: str, series: bool = False) -> Volume:
    """The first dataset of `names` that the HDF5 file has: real (slice, y, x), or in a `series` (frame, slice, y, x),
    as which a flat one with the attribute of `series_of` is read.

    Raises DataFormatError for a file that is missing, no HDF5 or truncated, for a missing dataset (listing
    those that exist), and for values that are not real finite magnitudes.
    """
    with reading(path):
        file = survey(path)
        name = next((name for name in names if name in file.datasets), None)
        if name is None:
            there = ", ".join(sorted({each.split("/")[0] for each in (*file.datasets, *file.groups)})) or "nothing"
            scan = ": a scan, of which laminar reconstruct makes images" if "kspace" in file.datasets else ""
            raise DataFormatError(f"no dataset {' or '.join(names)}; the file has: {there}{scan}")
        array = file.datasets[name].load()
        if series and array.ndim == 3 and (frames := series_of(file, len(array))):
            array = array.reshape(-1, frames.get("slice", 1), *array.shape[1:])
    return _checked(array, f"{path}, dataset {name}", series)


def read_images(path: Path, *names: str) -> Volume:
    """As `read_volume`, (image, y, x): those of a series (slice, frame, y, x) one behind the other."""
    volume = read_volume(path, *names, series=True)
    return volume.reshape(-1, *volume.shape[-2:])


def _checked(array: NDArray[Any], name: str, series: bool) -> Volume:
    array = array[None] if array.ndim == 2 else array
    if array.dtype.kind not in "fiu" or array.ndim not in (3, 3 + series) or array.size == 0:
        raise DataFormatError(f"{name}: real magnitudes (slice, y, x) are needed; got {array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        raise DataFormatError(f"{name}: holds NaN or Inf")
    return array.astype(np.float64)


def _pairs(predictions: Path, references: Path) -> dict[str, tuple[Path, Path]]:
    """Prediction and reference of each volume; where a folder lacks one, reading it will say so."""
    for path in (predictions, references):
        if not path.exists():
            raise LaminarError(f"{path}: no such file or folder")
    if predictions.is_dir() != references.is_dir():
        raise LaminarError(f"two files or two folders are needed; got {predictions} and {references}")
    if not predictions.is_dir():
        return {predictions.stem: (predictions, references)}
    found, wanted = (_names(folder) for folder in (predictions, references))
    if not found & wanted:
        raise LaminarError(
            f"no .h5 or .hdf5 file has the same name in both folders: predictions {predictions} ({_some(found)}), "
            f"references {references} ({_some(wanted)})"
        )
    return {name: (predictions / name, references / name) for name in sorted(found | wanted)}


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix in SUFFIXES}


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "") or "none"


def _score(prediction: Path, target: Path, reference: str | None, center_crop: bool) -> VolumeScore:
    image = read_images(prediction, PREDICTION)
    truth = read_images(target, *([reference] if reference else REFERENCES))
    if center_crop:
        width = truth.shape[-1]
        image, truth = central_square(image, width), central_square(truth, width)
    hint = "" if center_crop else "; center_crop may help"
    return _compared(CONVENTIONS["fastmri"].score, image, truth, prediction, hint)


def _score_by(protocol: Protocol, prediction: Path, target: Path) -> VolumeScore:
    series = protocol.frames is not None
    image = read_volume(prediction, PREDICTION, series=series)
    truth = read_volume(target, *protocol.reference, series=series)
    return _compared(protocol.convention.score, *protocol.select(image, truth, str(prediction)), prediction)


def _compared(
    score: Callable[[Tensor, Tensor], VolumeScore], image: Volume, truth: Volume, name: Path, hint: str = ""
) -> VolumeScore:
    if image.shape != truth.shape:
        raise DataFormatError(f"{name}: (slice, y, x) = {image.shape}, but the reference has {truth.shape}{hint}")
    return score(torch.from_numpy(image), torch.from_numpy(truth))


def _other_acceleration(protocol: Protocol, prediction: Path) -> list[str]:
    """What is wrong with the true acceleration that a prediction says it was made from, if it says one."""
    said = survey(prediction).attributes.get("acceleration")
    low, high = protocol.mask.measured
    if not isinstance(said, (float, np.floating)) or low <= said <= high:
        return []
    return [f"{prediction.name}: made from R = {said:.2f}; the masks of {protocol.name} have {low:g} to {high:g}"]


def _spread(values: Sequence[float]) -> dict[str, float]:
    mean, low, high = mean_interval(values)
    std = float(np.std(values, ddof=1)) if math.isfinite(low) else math.nan
    return {"mean": mean, "std": std, "low": low, "high": high}
