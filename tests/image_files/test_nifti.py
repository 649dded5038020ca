"""NIfTI: every point of an asymmetric phantom lies in the patient where the scan says, whatever the orientation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from laminar.errors import DataFormatError
from laminar.image_files import Volume, write_nifti
from laminar.scan import Placement

SHAPE, SPACING, STEP = (5, 6, 9), (1.5, 0.8), 3.0  # (slice, y, x), (y, x) in mm
OBLIQUE = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
ORIENTATIONS = [
    frame * np.array(signs)[:, None] for frame in (np.eye(3), OBLIQUE) for signs in product((1, -1), repeat=3)
]


def placements(frame: np.ndarray) -> list[Placement]:
    x_axis, y_axis, along = (tuple(axis.tolist()) for axis in frame)
    centers = [np.array([7.0, -11, 30]) + k * STEP * np.array(along) for k in range(SHAPE[0])]
    return [Placement(tuple(center.tolist()), x_axis, y_axis) for center in centers]


@pytest.mark.parametrize("frame", ORIENTATIONS)
def test_every_pixel_is_where_the_scan_says(tmp_path: Path, frame: np.ndarray) -> None:
    image = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0))
    write_nifti(tmp_path / "a.nii", Volume(image, placements(frame), SPACING))
    found = nibabel.load(tmp_path / "a.nii")
    to_index = np.linalg.inv(found.affine)
    data = np.asanyarray(found.dataobj)
    for k, j, i in product(*map(range, SHAPE)):
        lps = np.array([7.0, -11, 30]) + (i - 4) * 0.8 * frame[0] + (j - 3) * 1.5 * frame[1] + k * STEP * frame[2]
        index = to_index @ (*(lps * (-1, -1, 1)), 1)
        np.testing.assert_allclose(index[:3], (i, j, k), atol=1e-4)
        assert data[tuple(index[:3].round().astype(int))] == image[k, j, i]
    np.testing.assert_allclose(found.get_qform(), found.get_sform(), atol=1e-4)


def test_a_series_is_the_fourth_axis(tmp_path: Path) -> None:
    image = torch.rand(2 * SHAPE[0], *SHAPE[1:])
    write_nifti(
        tmp_path / "a.nii", Volume(image, placements(np.eye(3)) * 2, SPACING, 2.0, {"phase": 2, "slice": SHAPE[0]})
    )
    data = np.asanyarray(nibabel.load(tmp_path / "a.nii").dataobj)
    np.testing.assert_array_equal(data[..., 1].transpose(2, 1, 0), image[SHAPE[0] :])


def test_without_a_place_the_sizes_are_told_and_no_place_is(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii", Volume(torch.rand(SHAPE), None, SPACING, 6.0))
    header = nibabel.load(tmp_path / "a.nii").header
    np.testing.assert_allclose(header.get_zooms(), (0.8, 1.5, 6.0))
    assert (header["qform_code"], header["sform_code"]) == (0, 0)
    np.testing.assert_allclose(header.get_sform() @ (4, 3, 2, 1), (0, 0, 0, 1), atol=1e-6)


@pytest.mark.parametrize("change", [{"center": (0.0, 0, 0)}, {"x_axis": (0.0, 0, 1)}])
def test_slices_that_no_affine_places_are_refused(tmp_path: Path, change: dict[str, tuple[float, ...]]) -> None:
    odd = placements(np.eye(3))
    odd[2] = Placement(**{**vars(odd[2]), **change})
    with pytest.raises(DataFormatError, match="not parallel and evenly spaced"):
        write_nifti(tmp_path / "a.nii", Volume(torch.rand(SHAPE), odd, SPACING))


def test_reconstruct_writes_it(tiny_model: Path, tmp_path: Path, laminar: Callable[..., tuple[int, str, str]]) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", (rng.normal(size=(2, 32, 32)) + 1j * rng.normal(size=(2, 32, 32))).astype("c8"))
    told = (tmp_path / "a.npy", "--axes", "coil,ky,kx", "--model", tiny_model, "--format", "nifti", "--out", tmp_path)
    for _ in range(2):  # the second time it replaces its own
        code, out, err = laminar("reconstruct", *told)
        assert code == 0, err
        assert "their place is not told\n" in out
    assert nibabel.load(tmp_path / "a.nii").shape == (32, 32, 1)
