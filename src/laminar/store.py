"""Writing a reconstruction where the next program in the chain expects it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from laminar.files import writing_hdf5
from laminar.reconstruction import Reconstruction


def write_reconstruction(
    path: Path, reconstruction: Reconstruction, attributes: Mapping[str, Any], *, trajectory: bool = False
) -> None:
    """Write HDF5 with `reconstruction` (magnitude float32 (slice, y, x), as fastMRI's evaluation reads it),
    `reconstruction_complex`, and with `trajectory` the states (state, slice, y, x) and their times.

    The same reconstruction gives the same bytes. Raises LaminarError if the file cannot be written.
    """
    with writing_hdf5(path) as file:
        file["reconstruction"] = reconstruction.magnitude.numpy()
        file["reconstruction_complex"] = reconstruction.image.numpy()
        if trajectory and reconstruction.trajectory is not None:
            file["trajectory"] = reconstruction.trajectory.numpy()
            if reconstruction.times is not None:
                file["times"] = reconstruction.times.cpu().numpy()
        file.attrs.update(dict(attributes))
