"""What the viewer shows of a file: magnitudes, phase, the states of a trajectory, and intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from laminar.data.cropping import center_crop
from laminar.data.formats.fastmri import series_of
from laminar.data.formats.guard import reading
from laminar.data.formats.hdf5 import Hdf5, survey
from laminar.errors import DataFormatError
from laminar.evaluation.files import PREDICTION, REFERENCES, read_images, read_volume
from laminar.geometry import MOVING_KINDS
from laminar.scan import image_name

COMPLEX, STATES, TIMES, LEVEL = "reconstruction_complex", "trajectory", "times", "interval_level"
SPACING = "spacing_mm"
SPREAD = {"std": "uncertainty_std", "lower": "interval_lower", "upper": "interval_upper"}

Images = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Shown:
    """The images of a file, all real and in the units of the scan.

    Attributes:
        name: what stands above them.
        image: magnitudes (slice, y, x).
        phase: radians (slice, y, x); None where the file holds no complex image.
        states: magnitudes (state, slice, y, x), from the source to the image; None without a trajectory.
        times: flow time of each state; empty where there is none.
        spread: `std`, `lower` and `upper` (slice, y, x) of the posterior samples; empty where none were drawn.
        level: probability of the interval; None where the file does not say it.
        pixel: height of a pixel over its width; 1 where the file does not say it.
        names: what the images are called where they are more than slices: a name for each; empty where they are not.
    """

    name: str
    image: Images
    phase: Images | None = None
    states: Images | None = None
    times: Sequence[float] = ()
    spread: Mapping[str, Images] = field(default_factory=dict)
    level: float | None = None
    pixel: float = 1.0
    names: Sequence[str] = ()

    def cut(self, slices: slice) -> Shown:
        """Some of the slices. Raises DataFormatError if there are none of them."""
        if (slices.stop or 0) > len(self.image):
            last = len(self.image) - 1
            raise DataFormatError(
                f"{self.name}: expected slices from 0 to {last}; got {slices.start}:{slices.stop - 1}"
            )
        return replace(self.map(lambda images: images[..., slices, :, :]), names=self.names[slices])

    def map(self, change: Any) -> Shown:
        """The same with every array changed: (..., slice, y, x) to (..., slice, y, x)."""
        return replace(
            self,
            image=change(self.image),
            phase=None if self.phase is None else change(self.phase),
            states=None if self.states is None else change(self.states),
            spread={name: change(image) for name, image in self.spread.items()},
        )


def load(path: Path, name: str | None = None) -> Shown:
    """What `laminar reconstruct` wrote, or any HDF5 file with a `reconstruction` (slice, y, x).

    Of a series (slice, frame, y, x) every frame is shown as a slice. Raises DataFormatError for anything else, and for
    parts that do not fit each other.
    """
    image = read_volume(path, PREDICTION, series=True)
    with reading(path):
        file = survey(path)
        stored = file.datasets[PREDICTION].shape
        whole = _part(file, COMPLEX, stored)
        states = _part(file, STATES, stored)
        spread = {kind: _part(file, dataset, stored) for kind, dataset in SPREAD.items()}
        pixel = _pixel(file)
        times = _times(file, len(states)) if states is not None and TIMES in file.datasets else ()
    return Shown(
        name or path.stem,
        image.reshape(-1, *image.shape[-2:]),
        None if whole is None else np.angle(whole),
        None if states is None else np.abs(states),
        times,
        {kind: each for kind, each in spread.items() if each is not None},
        _number(file.attributes.get(LEVEL)),
        pixel,
        _names(file),
    )


def _times(file: Hdf5, count: int) -> Sequence[float]:
    times = file.datasets[TIMES].load()
    if times.shape != (count,) or not np.isfinite(times).all():
        raise DataFormatError(f"'{TIMES}' must be a finite time of each of {count} states; got {times.tolist()!r:.60}")
    found: list[float] = times.tolist()
    return found


def _names(file: Hdf5) -> list[str]:
    """The images of a series, or the frames of several slices, by their places, as `--select` counts them."""
    count, *frames = file.datasets[PREDICTION].shape[:-2] or (1,)
    inner = "frame" if file.attributes.get("geometry") in MOVING_KINDS else "slice"
    series = series_of(file, count) or {"image" if frames and inner == "slice" else "slice": count}
    if frames:
        series[inner] = frames[0]
    return [image_name(series, index) for index in range(math.prod(series.values()))] if len(series) > 1 else []


def load_reference(path: Path) -> Shown:
    """The reference in a file: what fastMRI calls `reconstruction_rss` or `reconstruction_esc`, or a `reconstruction`.

    Raises DataFormatError.
    """
    return Shown("reference", read_images(path, *REFERENCES))


def alike(files: Sequence[Shown], reference: Shown | None) -> tuple[list[Shown], Shown | None]:
    """All of them cropped around their center to the matrix that they share.

    Raises DataFormatError if their numbers of slices differ.
    """
    everything = [*files, *([] if reference is None else [reference])]
    counts = {each.name: len(each.image) for each in everything}
    if len(set(counts.values())) != 1:
        raise DataFormatError(f"files beside each other need equally many slices; got {counts}")
    shape = (min(each.image.shape[-2] for each in everything), min(each.image.shape[-1] for each in everything))

    def crop(images: Images) -> Images:
        return center_crop(torch.from_numpy(images), shape).numpy()

    return [each.map(crop) for each in files], None if reference is None else reference.map(crop)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, float | np.floating) and math.isfinite(value) else None


def _pixel(file: Hdf5) -> float:
    """Height over width of a pixel, by its spacing (y, x)."""
    if SPACING not in file.datasets:
        return 1.0
    sides = file.datasets[SPACING].load()
    if sides.shape != (2,) or not (np.isfinite(sides).all() and (sides > 0).all()):
        raise DataFormatError(f"'{SPACING}' must be two positive sizes (y, x); got {sides.tolist()!r:.60}")
    return float(sides[0] / sides[1])


def _part(file: Hdf5, name: str, shape: tuple[int, ...]) -> Any:
    """A dataset that belongs to an image of this shape, as (..., slice, y, x); None if it is not there."""
    if name not in file.datasets:
        return None
    array = file.datasets[name].load()
    states = name == STATES
    if array.shape[states:] != shape or array.dtype.kind not in "fc":
        raise DataFormatError(f"'{name}' does not fit 'reconstruction' {shape}: got {array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        raise DataFormatError(f"'{name}' holds NaN or Inf")
    return array.reshape(*array.shape[:states], -1, *shape[-2:])
