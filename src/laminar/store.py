"""Writing a reconstruction where the next program in the chain expects it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
from laminar.uncertainty import Calibration, Spread


@contextmanager
def writing_reconstruction(
    path: Path,
    n_slices: int,
    attributes: Mapping[str, Any],
    *,
    level: float = 0.9,
    calibration: Calibration | None = None,
) -> Iterator[Callable[[SliceReconstruction], None]]:
    """A function that writes the next slice of a reconstruction into HDF5, which becomes `path` after the last.

    `reconstruction` (magnitude float32 (slice, y, x), as fastMRI's evaluation reads it), `reconstruction_complex`,
    and where it was kept the `trajectory` (state, slice, y, x) with its `times`. Images of a series have the axis of it
    behind that of the slices. The file grows in memory.

    Slices that bring a spread add, float32 (slice, y, x) in the units of the scan, `uncertainty_std` and the ends
    `interval_lower` and `interval_upper` of the intervals of `level`, widened by a `calibration` if there is one; their
    center is `reconstruction`, the mean of the magnitudes of the samples, and `reconstruction_complex` is the mean of
    the samples.

    The same reconstruction gives the same bytes. Raises LaminarError if the file cannot be written, ConfigError for a
    calibration of another level or number of samples.
    """
    with writing_hdf5(path) as file:
        file.attrs.update(dict(attributes))
        written = iter(range(n_slices))

        def write(done: SliceReconstruction) -> None:
            index = next(written)
            _write(file, index, n_slices, done)
            if done.spread is not None:
                _write_spread(file, index, n_slices, done.spread, level, calibration)

        yield write


def _write(file: h5py.File, index: int, n_slices: int, done: SliceReconstruction) -> None:
    shape = (n_slices, *done.image.shape)
    file.require_dataset("reconstruction", shape, np.float32, exact=True)[index] = done.magnitude.numpy()
    file.require_dataset("reconstruction_complex", shape, np.complex64, exact=True)[index] = _complex(done.image)
    if done.trajectory is not None and not done.is_empty:  # HDF5 leaves the states of an empty slice at zero
        states = (len(done.trajectory), *shape)
        file.require_dataset("trajectory", states, np.complex64, exact=True)[:, index] = _complex(done.trajectory)
        if done.times is not None and "times" not in file:
            file["times"] = done.times.cpu().numpy()


def _complex(image: Tensor) -> NDArray[np.complex64]:
    """An image as the files hold it: a real one is a complex one."""
    return image.to(torch.complex64).numpy()


def _write_spread(
    file: h5py.File, index: int, n_slices: int, spread: Spread, level: float, calibration: Calibration | None
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
        dataset = file.require_dataset(name, (n_slices, *image.shape), np.float32, exact=True)
        dataset[index] = image.numpy()
        dataset.attrs.update(attributes)
