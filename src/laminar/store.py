"""Writing a reconstruction where the next program in the chain expects it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from laminar.files import writing_hdf5
from laminar.reconstruction import SliceReconstruction


@contextmanager
def writing_reconstruction(
    path: Path, n_slices: int, attributes: Mapping[str, Any], *, trajectory: bool = False
) -> Iterator[Callable[[SliceReconstruction], None]]:
    """A function that writes the next slice of a reconstruction into HDF5, which becomes `path` after the last.

    `reconstruction` (magnitude float32 (slice, y, x), as fastMRI's evaluation reads it), `reconstruction_complex`,
    and with `trajectory` the states (state, slice, y, x) and their times. No slice stays in memory.

    The same reconstruction gives the same bytes. Raises LaminarError if the file cannot be written.
    """
    with writing_hdf5(path) as file:
        file.attrs.update(dict(attributes))
        written = iter(range(n_slices))
        yield lambda done: _write(file, next(written), n_slices, done, trajectory)


def _write(file: h5py.File, index: int, n_slices: int, done: SliceReconstruction, trajectory: bool) -> None:
    shape = (n_slices, *done.image.shape)
    file.require_dataset("reconstruction", shape, np.float32, exact=True)[index] = done.image.abs().numpy()
    file.require_dataset("reconstruction_complex", shape, np.complex64, exact=True)[index] = done.image.numpy()
    if trajectory and not done.is_empty:  # the states of an empty slice are zero, as HDF5 leaves them
        states = (len(done.states), *shape)
        file.require_dataset("trajectory", states, np.complex64, exact=True)[:, index] = done.states.numpy()
        if done.times is not None and "times" not in file:
            file["times"] = done.times.cpu().numpy()
