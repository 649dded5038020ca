"""Enhanced MR: every frame lies where NIfTI says, and says its place in the series; our own reader reads it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ismrmrd
import nibabel
import numpy as np
import pydicom
import pytest
import torch

from laminar.cli.volumes import place_notes
from laminar.data.images import find_images
from laminar.image_files import Volume, write_dicom, write_enhanced_dicom, write_nifti
from laminar.scan import Placement
from tests.image_files.test_dicom_and_mrd import HEADER
from tests.image_files.test_nifti import ORIENTATIONS, SHAPE, SPACING, STEP, placements
from tests.server.conversation import HEADER as XML
from tests.server.conversation import scan_readouts

TIMES = 3


def cine(frame: np.ndarray = ORIENTATIONS[-3], **more: Any) -> Volume:
    image = torch.rand(TIMES * SHAPE[0], 32, 40, generator=torch.Generator().manual_seed(0)) * 1e-4
    told = {
        "placements": placements(frame) * TIMES,
        "spacing_mm": SPACING,
        "thickness_mm": 2.0,
        "header": HEADER,
        "scan": "s",
    }
    return Volume(image, **(told | {"series": {"phase": TIMES, "slice": SHAPE[0]}} | more))


def read(folder: Path, name: str = "1-0001.dcm") -> pydicom.Dataset:
    return pydicom.dcmread(folder / name)


def group(dataset: pydicom.Dataset, frame: int, name: str) -> pydicom.Dataset:
    """The functional group of a frame: its own, or the one that is shared."""
    for place in (dataset.PerFrameFunctionalGroupsSequence[frame], dataset.SharedFunctionalGroupsSequence[0]):
        if name in place:
            return place[name].value[0]
    raise AssertionError(f"frame {frame} has no {name}")


@pytest.mark.parametrize("frame", ORIENTATIONS)
def test_every_pixel_of_every_frame_is_where_nifti_has_it(tmp_path: Path, frame: np.ndarray) -> None:
    write_enhanced_dicom(tmp_path / "a", cine(frame))
    write_nifti(tmp_path / "a.nii", cine(frame))
    found = nibabel.load(tmp_path / "a.nii")
    data, dataset = np.asanyarray(found.dataobj), read(tmp_path / "a")
    assert dataset.NumberOfFrames == TIMES * SHAPE[0]
    for n, pixels in enumerate(dataset.pixel_array):
        axes = np.array(group(dataset, n, "PlaneOrientationSequence").ImageOrientationPatient, float).reshape(2, 3)
        dy, dx = map(float, group(dataset, n, "PixelMeasuresSequence").PixelSpacing)
        corner = np.array(group(dataset, n, "PlanePositionSequence").ImagePositionPatient, float)
        slope = group(dataset, n, "RealWorldValueMappingSequence").RealWorldValueSlope
        j, i = np.indices(pixels.shape).reshape(2, -1, 1)
        ras = (corner + i * dx * axes[0] + j * dy * axes[1]) * (-1, -1, 1)
        index = nibabel.affines.apply_affine(np.linalg.inv(found.affine), ras)
        np.testing.assert_allclose(index, index.round(), atol=1e-4)
        time = group(dataset, n, "FrameContentSequence").TemporalPositionIndex - 1
        values = data[..., time][tuple(index.round().astype(int).T)]
        np.testing.assert_allclose(values, pixels.ravel() * slope, atol=1e-4 / 2**16)


def test_it_says_what_it_is_and_each_frame_where_it_belongs(tmp_path: Path) -> None:
    write_enhanced_dicom(
        tmp_path / "a", cine(std=torch.rand(TIMES * SHAPE[0], 32, 40), method="l1-wavelet", acceleration=4)
    )
    first, second = read(tmp_path / "a"), read(tmp_path / "a", "2-0001.dcm")
    assert first.SOPClassUID == first.file_meta.MediaStorageSOPClassUID == pydicom.uid.EnhancedMRImageStorage
    assert (list(first.ImageType), second.ImageType[3]) == (["DERIVED", "PRIMARY", "OTHER", "NONE"], "STD_DEVIATION")
    assert first.ImageComments.startswith("not for diagnostic use; image from undersampled k-space by l1-wavelet")
    assert first.ContentQualification == "RESEARCH"
    assert (first.RepetitionTime, group(first, 0, "MREchoSequence").EffectiveEchoTime) == (4.6, 2.1)
    measures = group(first, 0, "PixelMeasuresSequence")
    assert (measures.SliceThickness, measures.SpacingBetweenSlices) == (2, STEP)
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.FrameOfReferenceUID == second.FrameOfReferenceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
    assert not any(element.tag.is_private for element in first.iterall())
    contents = [group(first, n, "FrameContentSequence") for n in range(TIMES * SHAPE[0])]
    indices = [tuple(content.DimensionIndexValues) for content in contents]
    assert indices == [(time + 1, place + 1) for time in range(TIMES) for place in range(SHAPE[0])]
    for n, dimension in enumerate(first.DimensionIndexSequence):
        assert dimension.DimensionOrganizationUID == first.DimensionOrganizationSequence[0].DimensionOrganizationUID
        assert [content[dimension.DimensionIndexPointer].value for content in contents] == [at[n] for at in indices]


def test_a_contrast_has_a_file_and_two_axes_of_time_are_one(tmp_path: Path) -> None:
    volume = cine(series={"contrast": 3, "slice": 5})
    write_enhanced_dicom(tmp_path / "a", volume)
    files = [read(tmp_path / "a", path.name) for path in sorted((tmp_path / "a").iterdir())]
    assert [file.InstanceNumber for file in files] == [1, 2, 3]
    assert len({file.SeriesInstanceUID for file in files}) == 1
    assert group(files[2], 0, "FrameContentSequence").FrameLabel == "contrast 3"
    assert "MREchoSequence" not in files[0].SharedFunctionalGroupsSequence[0]
    slope = group(files[2], 0, "RealWorldValueMappingSequence").RealWorldValueSlope
    np.testing.assert_allclose(files[2].pixel_array * slope, volume.magnitude[10:], atol=1e-4 / 2**16)
    write_enhanced_dicom(tmp_path / "b", cine(series={"repetition": 3, "phase": 5}))
    both = read(tmp_path / "b")
    times = [group(both, n, "FrameContentSequence").TemporalPositionIndex for n in range(15)]
    assert times == list(range(1, 16))


def test_the_same_volume_gives_the_same_bytes_and_names_of_its_own(tmp_path: Path) -> None:
    for name, change in {"a": {}, "b": {}, "c": {"scan": "t"}}.items():
        write_enhanced_dicom(tmp_path / name, cine(**change))
    a, b, c = ((tmp_path / name / "1-0001.dcm").read_bytes() for name in "abc")
    assert a == b != c
    one = cine(placements=placements(np.eye(3))[:1], series={}, header={})
    one = Volume(one.magnitude[:1], one.placements, one.spacing_mm, one.thickness_mm)
    write_dicom(tmp_path / "single", one)
    write_enhanced_dicom(tmp_path / "enhanced", one)
    single, enhanced = read(tmp_path / "single"), read(tmp_path / "enhanced")
    assert single.SOPInstanceUID != enhanced.SOPInstanceUID
    assert single.SeriesInstanceUID != enhanced.SeriesInstanceUID


def tilted() -> list[Placement]:
    """Slices that share no direction, as those of a localizer."""
    return [one for frame in ORIENTATIONS[8 : 8 + SHAPE[0]] for one in placements(frame)[:1]] * TIMES


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy, of the package dicom3tools")
@pytest.mark.parametrize(
    "change",
    [{}, {"header": {}}, {"series": {"contrast": 15}}, {"series": {"repetition": 15}}, {"placements": tilted()}],
)
def test_dciodvfy_finds_no_error(tmp_path: Path, change: dict[str, Any]) -> None:
    write_enhanced_dicom(tmp_path / "a", cine(std=torch.rand(TIMES * SHAPE[0], 32, 40), **change))
    for path in sorted((tmp_path / "a").iterdir())[::7]:
        done = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
        assert done.stderr.startswith("EnhancedMRImage") or "\nEnhancedMRImage" in done.stderr
        assert "Error" not in done.stderr, done.stderr


def test_our_own_reader_takes_each_frame_for_a_slice(tmp_path: Path) -> None:
    write_enhanced_dicom(tmp_path / "a", cine())
    (stack,) = find_images([tmp_path / "a"])
    assert (stack.count, stack.matrix) == (TIMES * SHAPE[0], (32, 40))
    for n in (0, 7, 14):
        np.testing.assert_array_equal(stack.read(n), read(tmp_path / "a").pixel_array[n])


def test_without_a_place_single_images_are_written(tmp_path: Path) -> None:
    for name, change in {
        "a": {"placements": None},
        "b": {"thickness_mm": None},
    }.items():
        write_enhanced_dicom(tmp_path / name, cine(**change))
        write_dicom(tmp_path / f"{name}-single", cine(**change))
        files = [sorted((tmp_path / folder).iterdir()) for folder in (name, f"{name}-single")]
        assert [one.read_bytes() for one in files[0]] == [one.read_bytes() for one in files[1]]
    assert "how thick its slices are" in place_notes(cine(thickness_mm=None), ["dicom-enhanced"])[0]


def test_reconstruct_and_convert_write_it(
    tiny_model: Path, tmp_path: Path, laminar: Callable[..., tuple[int, str, str]]
) -> None:
    with ismrmrd.File(str(tmp_path / "a.mrd.h5"), "w") as file:
        file["dataset"].header = ismrmrd.xsd.CreateFromDocument(XML)
        file["dataset"].acquisitions = scan_readouts()
    code, _, err = laminar(
        "reconstruct", tmp_path / "a.mrd.h5", "--model", tiny_model, "--format", "dicom-enhanced", "--out", tmp_path
    )
    assert code == 0, err
    dataset = read(tmp_path / "a.enhanced.dicom")
    assert (dataset.SOPClassUID, dataset.NumberOfFrames) == (pydicom.uid.EnhancedMRImageStorage, 2)
    rng = np.random.default_rng(0)
    np.save(tmp_path / "b.npy", (rng.normal(size=(2, 32, 32)) + 1j * rng.normal(size=(2, 32, 32))).astype("c8"))
    code, _, err = laminar(
        "convert", tmp_path / "b.npy", "--axes", "coil,ky,kx", "--to", "dicom-enhanced", tmp_path / "b"
    )
    assert code == 0, err
    assert read(tmp_path / "b.enhanced.dicom").SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
