"""DICOM and MRD images lie where NIfTI says, hold what was reconstructed, and are accepted by those who check them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import nibabel
import numpy as np
import pydicom
import pytest
import torch

from laminar.cli.formats import FORMATS
from laminar.data.formats import read as laminar_read
from laminar.errors import DataFormatError
from laminar.image_files import Volume, write_dicom, write_mrd, write_nifti
from tests.image_files.test_nifti import ORIENTATIONS, SHAPE, SPACING, placements

HEADER = {"vendor": "SIEMENS", "model": "Skyra", "tr_ms": 4.6, "te_ms": 2.1, "flip_angle_deg": 9.0}
HEADER |= {"field_strength_t": 2.89362, "protocol": "a\\b^c\n", "patient_position": "HFS"}


def volume(frame: np.ndarray = ORIENTATIONS[-3], **more: Any) -> Volume:
    image = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)) * 1e-4  # as small as fastMRI's
    told = {
        "placements": placements(frame),
        "spacing_mm": SPACING,
        "thickness_mm": 2.0,
        "header": HEADER,
        "scan": "s",
        "request": "r",
    }
    return Volume(image, **(told | more))


def read(folder: Path, series: int = 1) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.glob(f"{series}-*.dcm"))]


def values(dataset: pydicom.Dataset) -> np.ndarray:
    return dataset.pixel_array * dataset.RealWorldValueMappingSequence[0].RealWorldValueSlope


@pytest.mark.parametrize("frame", ORIENTATIONS)
def test_every_pixel_of_dicom_is_where_nifti_has_it(tmp_path: Path, frame: np.ndarray) -> None:
    write_dicom(tmp_path / "a", volume(frame))
    write_nifti(tmp_path / "a.nii", volume(frame))
    found = nibabel.load(tmp_path / "a.nii")
    data, to_index = np.asanyarray(found.dataobj), np.linalg.inv(found.affine)
    for dataset in read(tmp_path / "a"):
        x_axis, y_axis = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
        dy, dx = map(float, dataset.PixelSpacing)
        pixels = values(dataset)
        for j, i in product(*map(range, pixels.shape)):
            lps = np.array(dataset.ImagePositionPatient, float) + i * dx * x_axis + j * dy * y_axis
            index = (to_index @ (*(lps * (-1, -1, 1)), 1))[:3]
            np.testing.assert_allclose(index, index.round(), atol=1e-4)
            assert abs(data[tuple(index.round().astype(int))] - pixels[j, i]) < 1e-4 / 2**16


def test_a_series_of_dicom_says_what_it_is(tmp_path: Path) -> None:
    several = {"phase": 1, "slice": SHAPE[0]}
    write_dicom(tmp_path / "a", volume(series=several, std=torch.rand(SHAPE), method="l1-wavelet"))
    first, second = read(tmp_path / "a")[1], read(tmp_path / "a", 2)[1]
    assert (first.SeriesDescription, second.SeriesDescription) == (
        "Laminar l1-wavelet",
        "Laminar l1-wavelet uncertainty",
    )
    assert first.ImageType == ["DERIVED", "PRIMARY", "OTHER"]
    assert first.ImageComments == "not for diagnostic use"
    assert (first.EchoTime, first.ProtocolName, first.InstanceNumber) == (2.1, "a_b_c_", 2)
    assert first.SliceThickness == 2
    assert first.TemporalPositionIdentifier == 1
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.FrameOfReferenceUID == second.FrameOfReferenceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
    assert not any(element.tag.is_private for element in first.iterall())


def test_the_same_volume_gives_the_same_bytes_and_another_one_other_names(tmp_path: Path) -> None:
    for name, change in {"a": {}, "b": {}, "c": {"scan": "t"}, "d": {"request": "q"}}.items():
        write_dicom(tmp_path / name, volume(**change))
    a, b, c, d = ([path.read_bytes() for path in sorted((tmp_path / name).iterdir())] for name in "abcd")
    assert a == b
    assert len({*a, *c, *d}) == 3 * SHAPE[0]
    studies = [read(tmp_path / name)[0].StudyInstanceUID for name in "abcd"]
    assert studies[0] == studies[1] == studies[3] != studies[2]


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy, of the package dicom3tools")
@pytest.mark.parametrize("change", [{}, {"placements": None}, {"header": {}}, {"series": {"contrast": 5}}])
def test_dciodvfy_finds_no_error(tmp_path: Path, change: dict[str, Any]) -> None:
    write_dicom(tmp_path / "a", volume(std=torch.rand(SHAPE), **change))
    for path in (tmp_path / "a").iterdir():
        done = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
        assert "Error" not in done.stderr, done.stderr


def test_without_a_place_nothing_is_claimed(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a", volume(placements=None))
    dataset = read(tmp_path / "a")[0]
    assert dataset.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
    assert (list(dataset.PixelSpacing), dataset.SliceThickness) == ([*SPACING], 2)
    assert "ImagePositionPatient" not in dataset
    assert "FrameOfReferenceUID" not in dataset


def test_mrd_images_are_read_back_by_their_own_package(tmp_path: Path) -> None:
    told = volume(std=torch.rand(SHAPE), method="grappa")
    write_mrd(tmp_path / "a.mrd.h5", told)
    with ismrmrd.File(tmp_path / "a.mrd.h5", "r") as file:
        images, deviations = (list(file[f"dataset/image_{n}"].images) for n in (1, 2))
    np.testing.assert_array_equal(np.stack([image.data[0, 0] for image in images]), told.magnitude)
    np.testing.assert_array_equal(np.stack([image.data[0, 0] for image in deviations]), told.std)
    assert told.placements is not None
    for k, image in enumerate(images):
        assert (image.slice, image.image_index, image.image_series_index) == (k, k + 1, 1)
        np.testing.assert_allclose(image.position[:], told.placements[k].center, rtol=1e-6)
        np.testing.assert_allclose(image.phase_dir[:], told.placements[k].y_axis, rtol=1e-6)
    with pytest.raises(
        DataFormatError, match=r"images, no k-space: dataset/image_1, 5 of 6 x 9, dataset/image_2, 5 of"
    ):
        laminar_read(tmp_path / "a.mrd.h5")
    assert deviations[0].meta["SeriesDescription"] == "Laminar grappa uncertainty"
    assert deviations[0].meta["ImageComment"] == "not for diagnostic use"


def test_reconstruct_writes_all_of_them_and_replaces_its_own_alone(
    tiny_model: Path, tmp_path: Path, laminar: Callable[..., tuple[int, str, str]]
) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", (rng.normal(size=(2, 32, 32)) + 1j * rng.normal(size=(2, 32, 32))).astype("c8"))
    told = ("--axes", "coil,ky,kx", "--model", tiny_model, "--format", ",".join(FORMATS[:2]), *FORMATS[2:])
    for _ in range(2):
        code, said, err = laminar("reconstruct", tmp_path / "a.npy", *told, "--out", tmp_path / "out")
        assert code == 0, err
    assert "their place is not told, and DICOM is Secondary Capture, an image a file\n" in said
    with h5py.File(tmp_path / "out" / "a.h5") as file:
        expected = file["reconstruction"][()]
    (dataset,) = read(tmp_path / "out" / "a.dicom")
    assert dataset.DerivationDescription.startswith("image from k-space by ")  # all of it
    np.testing.assert_allclose(values(dataset), expected[0], atol=expected.max() / 2**16)
    (tmp_path / "out" / "a.dicom" / "mine.txt").write_text("precious")
    code, _, err = laminar("reconstruct", tmp_path / "a.npy", *told, "--out", tmp_path / "out")
    assert code == 2
    assert "was not written by laminar" in err
