"""Writing a reconstruction where the next program in the chain expects it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laminar.files import writing_hdf5
from laminar.reconstruction import SliceReconstruction
from laminar.scan import Placement
from laminar.uncertainty import Calibration, Spread


@contextmanager
def writing_reconstruction(
    path: Path,
    n_slices: int,
    attributes: Mapping[str, Any],
    *,
    notes: Sequence[str] = (),
    level: float = 0.9,
    calibration: Calibration | None = None,
) -> Iterator[Callable[[SliceReconstruction], None]]:
    """A function that writes the next slice of a reconstruction into HDF5, which becomes `path` after the last.

    `reconstruction` (magnitude float32 (slice, y, x), as fastMRI's evaluation reads it), `reconstruction_complex`,
    and where it was kept the `trajectory` (state, slice, y, x) with its `times`. Each says its `axes` and `units`;
    images of a series have the axis of it behind that of the slices. Of a scan that knows them, the file has
    `spacing_mm` (y, x), its attribute `thickness_mm`, and the `placement` of each slice (slice, 3, 3): the center of
    pixel (n // 2, n // 2) in mm and the directions of x and y, along L, P, S of DICOM. Nothing else of its header is
    copied: that may name a patient.
    The file grows in memory. Its attribute `notes` has a line for each of the `notes` and of those of the slices.

    Slices that bring a spread add, float32 (slice, y, x) in the units of the scan, `uncertainty_std` and the ends
    `interval_lower` and `interval_upper` of the intervals of `level`, widened by a `calibration` if there is one; their
    center is `reconstruction`, the mean of the magnitudes of the samples, and `reconstruction_complex` is the mean of
    the samples.

    The same reconstruction gives the same bytes. Raises LaminarError if the file cannot be written, ConfigError for a
    calibration of another level or number of samples.
    """
    with writing_hdf5(path) as file:
        file.attrs.update(dict(attributes))
        written, said = iter(range(n_slices)), list(notes)

        def write(done: SliceReconstruction) -> None:
            index = next(written)
            said.extend(done.log)
            _write(file, index, n_slices, done)
            if done.spread is not None:
                _write_spread(file, index, n_slices, done.spread, done.axes, level, calibration)

        yield write
        if said:
            file.attrs["notes"] = "\n".join(said)


def _write(file: h5py.File, index: int, n_slices: int, done: SliceReconstruction) -> None:
    shape = (n_slices, *done.image.shape)
    _images(file, "reconstruction", shape, np.float32, done.axes)[index] = done.magnitude.numpy()
    _images(file, "reconstruction_complex", shape, np.complex64, done.axes)[index] = _complex(done.image)
    if done.spacing_mm is not None:
        dataset = file.require_dataset("spacing_mm", (2,), np.float64, exact=True)
        dataset[:] = done.spacing_mm
        if done.thickness_mm is not None:
            dataset.attrs["thickness_mm"] = done.thickness_mm
    if done.placement is not None:
        _write_placement(file, index, n_slices, done.placement)
    if done.trajectory is not None and not done.is_empty:  # HDF5 leaves the states of an empty slice at zero
        states, axes = (len(done.trajectory), *shape), ("state", *done.axes)
        _images(file, "trajectory", states, np.complex64, axes)[:, index] = _complex(done.trajectory)
        if done.times is not None and "times" not in file:
            file["times"] = done.times.cpu().numpy()


def _images(file: h5py.File, name: str, shape: tuple[int, ...], kind: Any, axes: tuple[str, ...]) -> h5py.Dataset:
    """The dataset of a name, which is made if it is not there."""
    dataset = file.require_dataset(name, shape, kind, exact=True)
    dataset.attrs.update({"axes": ",".join(axes), "units": _UNITS})
    return dataset


_UNITS = "those of the data of the scan; Fourier transforms are unitary"


def _complex(image: Tensor) -> NDArray[np.complex64]:
    """An image as the files hold it: a real one is a complex one."""
    return image.to(torch.complex64).numpy()


def _write_placement(file: h5py.File, index: int, n_slices: int, placement: Placement) -> None:
    dataset = file.require_dataset("placement", (n_slices, 3, 3), np.float64, exact=True)
    dataset[index] = [placement.center, placement.x_axis, placement.y_axis]
    dataset.attrs["rows"] = "center (mm), direction of x, direction of y, along L, P, S"


def _write_spread(
    file: h5py.File,
    index: int,
    n_slices: int,
    spread: Spread,
    axes: tuple[str, ...],
    level: float,
    calibration: Calibration | None,
) -> None:
    lower, upper = spread.interval(level, calibration)
    attributes = {
        "level": level,
        "samples": spread.n,
        "calibration_factor": 1.0 if calibration is None else calibration.factor,
        "calibration_kind": "none" if calibration is None else calibration.kind,
    }
    # No magnitude is negative, so an interval may end at zero and lose nothing.
    images = {"uncertainty_std": spread.std, "interval_lower": lower.clamp_min(0), "interval_upper": upper}
    for name, image in images.items():
        dataset = _images(file, name, (n_slices, *image.shape), np.float32, axes)
        dataset[index] = image.numpy()
        dataset.attrs.update(attributes)
