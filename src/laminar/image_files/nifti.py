"""Writing a reconstruction as NIfTI, in its place in the patient."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from laminar.errors import DataFormatError, package
from laminar.files import MARK
from laminar.image_files.volume import Volume
from laminar.scan import Placement

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_TOLERANCE_MM, _TOLERANCE = 0.05, 1e-3
_MILLIMETERS, _SCANNER, _UNKNOWN = 2, 1, 0


def nibabel() -> Any:
    """The package. Raises MissingExtraError."""
    return package("nibabel", "nifti")


def write_nifti(path: Path, volume: Volume) -> None:
    """The magnitudes as a volume (x, y, slice), or of a series (x, y, slice, image of the series).

    The affine is `affine_of` the first slices; where the scan does not say where they lie, that of axes through the
    middle, marked as unknown, with what is known of the sizes. Raises DataFormatError for slices that no affine places.
    """
    n_slices, placements, spacing_mm = volume.n_slices, volume.placements, volume.spacing_mm
    images = volume.magnitude.numpy().reshape(-1, n_slices, *volume.magnitude.shape[-2:])
    shape = (images.shape[3], images.shape[2], n_slices)
    known = placements is not None and spacing_mm is not None
    if placements is not None and spacing_mm is not None:
        affine = affine_of(placements[:n_slices], spacing_mm, shape[:2], volume.thickness_mm)
    else:
        y, x = spacing_mm or (1.0, 1.0)
        affine = np.diag([x, y, volume.thickness_mm or 1.0, 1.0])
        affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) // 2)
    array = images.transpose(3, 2, 1, 0)
    package = nibabel()
    made = package.Nifti1Image(array[..., 0] if len(images) == 1 else array, affine)
    made.header.set_xyzt_units(_MILLIMETERS)
    made.header["descrip"] = MARK
    for set_form in (made.set_sform, made.set_qform):
        set_form(affine, _SCANNER if known else _UNKNOWN)
    package.save(made, path)


def affine_of(
    placements: Sequence[Placement],
    spacing_mm: tuple[float, float],
    shape: tuple[int, ...],
    thickness_mm: float | None = None,
) -> npt.NDArray[np.float64]:
    """The matrix (4, 4) from the indices (x, y, slice) to mm along R, A, S, for slices of the `shape` (x, y).

        r = c_0 + (i - n_x // 2) d_x e_x + (j - n_y // 2) d_y e_y + k (c_1 - c_0)

    with the centers c and axes e of the placements, turned from L, P, S. A single slice goes on along its normal, by
    its thickness. Raises DataFormatError if the slices are not parallel and evenly spaced.
    """
    count = len(placements)
    centers = np.array([one.center for one in placements])
    axes = np.array([(one.x_axis, one.y_axis) for one in placements])
    x_axis, y_axis = axes[0]
    step = np.cross(x_axis, y_axis) * (thickness_mm or 1.0)
    if count > 1:
        step = (centers[-1] - centers[0]) / (count - 1)
    even = centers[0] + np.arange(count)[:, None] * step
    if not np.allclose(axes, axes[0], atol=_TOLERANCE) or not np.allclose(centers, even, atol=_TOLERANCE_MM):
        raise DataFormatError("the slices are not parallel and evenly spaced: NIfTI has one affine for all")
    if count > 1 and abs(np.dot(step, np.cross(x_axis, y_axis))) < _TOLERANCE_MM:
        raise DataFormatError("the slices lie in each other: NIfTI has one affine for all")
    columns = np.stack([x_axis * spacing_mm[1], y_axis * spacing_mm[0], step], axis=1)
    origin = centers[0] - columns[:, :2] @ (np.array(shape[:2]) // 2)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = _LPS_TO_RAS @ columns, _LPS_TO_RAS @ origin
    return affine
