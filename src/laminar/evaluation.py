"""Predicted volumes against their references, file by file, with the protocol of fastMRI."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from laminar.errors import DataFormatError, LaminarError, failure
from laminar.metrics import fastmri_metrics, fastmri_metrics_per_slice
from laminar.statistics import mean_interval

PROTOCOL = (
    "fastMRI protocol: data range = maximum of the reference volume; PSNR and NMSE over the volume; "
    "SSIM 7 x 7 uniform, averaged over slices. Beside it, object_psnr: PSNR over the pixels above 5 % of the "
    "reference's maximum"
)
PREDICTION = "reconstruction"
REFERENCES = ("reconstruction_rss", "reconstruction_esc", "reconstruction")
SUFFIXES = (".h5", ".hdf5")

Volume = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class VolumeScore:
    """The metrics of one volume, `psnr` (dB), `ssim` and `nmse`, for all of it and for each slice."""

    volume: Mapping[str, float]
    slices: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Evaluation:
    """The scores by volume name, and by the same kind of name why others could not be scored."""

    scores: Mapping[str, VolumeScore]
    failures: Mapping[str, str]

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
        found = {"laminar": version("laminar"), "protocol": PROTOCOL, "summary": self.summary(), "volumes": volumes}
        plain: dict[str, Any] = _finite(found) | {"failures": dict(self.failures)}
        return plain


def evaluate_files(
    predictions: str | Path,
    references: str | Path,
    *,
    reference: str | None = None,
    center_crop: bool = False,
) -> Evaluation:
    """Compare two HDF5 files, or two folders of them matched by file name.

    Predictions hold the dataset `reconstruction` (slice, y, x); references hold `reference`, by default the
    first of `reconstruction_rss`, `reconstruction_esc`, `reconstruction`. With `center_crop` both are cropped
    to the centered square of the reference's width first, as fastMRI's own evaluation does.

    A volume that cannot be scored is listed in `failures` and does not stop the others. Raises LaminarError
    if the two paths are not two files or two folders, or if there is no HDF5 file at all.
    """
    scores: dict[str, VolumeScore] = {}
    failures: dict[str, str] = {}
    for name, pair in _pairs(Path(predictions), Path(references)).items():
        try:
            scores[name] = _score(*pair, reference, center_crop)
        except LaminarError as error:
            failures[name] = str(error)
    return Evaluation(scores, failures)


def read_volume(path: Path, *names: str) -> Volume:
    """The first dataset of `names` that the HDF5 file has, as real (slice, y, x).

    Raises DataFormatError for a file that is missing, no HDF5 or truncated, for a missing dataset (listing
    those that exist), and for values that are not real finite magnitudes.
    """
    try:
        with h5py.File(path, "r") as file:
            found = [name for name in names if isinstance(file.get(name), h5py.Dataset)]
            if not found:
                there = ", ".join(sorted(file)) or "nothing"
                raise DataFormatError(f"{path}: no dataset {' or '.join(names)}; the file has: {there}")
            array = np.asarray(file[found[0]][()])
    except (OSError, RuntimeError, KeyError) as error:
        if not path.exists():
            raise DataFormatError(f"{path}: no such file") from error
        raise DataFormatError(f"{path}: {failure(error) or f'not a readable HDF5 file: {error}'}") from error
    return _checked(array, f"{path}, dataset {found[0]}")


def _checked(array: NDArray[Any], name: str) -> Volume:
    array = array[None] if array.ndim == 2 else array
    if array.dtype.kind not in "fiu" or array.ndim != 3 or array.size == 0:
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
    names = sorted(
        {path.name for folder in (predictions, references) for path in folder.iterdir() if path.suffix in SUFFIXES}
    )
    if not names:
        raise LaminarError(f"no .h5 or .hdf5 file in {predictions} or {references}")
    return {name: (predictions / name, references / name) for name in names}


def _score(prediction: Path, target: Path, reference: str | None, center_crop: bool) -> VolumeScore:
    image = read_volume(prediction, PREDICTION)
    truth = read_volume(target, *([reference] if reference else REFERENCES))
    if center_crop:
        width = truth.shape[-1]
        image, truth = _central_square(image, width), _central_square(truth, width)
    if image.shape != truth.shape:
        raise DataFormatError(
            f"{prediction}: (slice, y, x) = {image.shape}, but the reference has {truth.shape}"
            + ("" if center_crop else "; center_crop may help")
        )
    return VolumeScore(fastmri_metrics(image, truth), fastmri_metrics_per_slice(image, truth))


def _central_square(volume: Volume, width: int) -> Volume:
    if min(volume.shape[1:]) < width:
        raise DataFormatError(f"cannot crop {volume.shape[1:]} to the reference's width, {width} x {width}")
    top, left = ((size - width) // 2 for size in volume.shape[1:])
    return volume[:, top : top + width, left : left + width]


def _spread(values: Sequence[float]) -> dict[str, float]:
    mean, low, high = mean_interval(values)
    std = float(np.std(values, ddof=1)) if math.isfinite(low) else math.nan
    return {"mean": mean, "std": std, "low": low, "high": high}


def _finite(value: Any) -> Any:
    """`value` with None for every float that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
