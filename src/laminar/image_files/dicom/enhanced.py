"""Writing a reconstruction as Enhanced MR Image Storage: a volume, or what it does in time, in one file.

PS3.3 A.36.2, C.7.6.16, C.7.6.17, C.8.13. Of pydicom alone: highdicom makes Enhanced MR only from single images that
are DICOM already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from laminar.image_files.dicom.attributes import (
    code,
    decimal,
    derivation,
    frame_of_reference,
    mapping,
    orientation,
    patient,
    pixels,
    position,
    pydicom,
    save,
    series,
    slope_of,
    stored,
    text,
    uid,
    window,
)
from laminar.image_files.dicom.single import write_dicom
from laminar.image_files.volume import WARNING, Volume, window_of
from laminar.scan import Placement
from laminar.version import __version__

_TIME = ("repetition", "phase")
_CONTENT = "FrameContentSequence"
_DIMENSIONS = ("TemporalPositionIndex", "InStackPositionNumber")
# Beside the groups: dciodvfy takes that of the times only with echo trains and absorption, which no scan says.
_MODALITY = {
    "RepetitionTime": "tr_ms",
    "FlipAngle": "flip_angle_deg",
    "MagneticFieldStrength": "field_strength_t",
}
_DESCRIPTION = {
    "PixelPresentation": "MONOCHROME",
    "VolumetricProperties": "VOLUME",
    "VolumeBasedCalculationTechnique": "NONE",
    "ComplexImageComponent": "MAGNITUDE",
    "AcquisitionContrast": "UNKNOWN",
}


def write_enhanced_dicom(folder: Path, volume: Volume) -> None:
    """A file for each volume or cine, `<series>-<number>.dcm`: series 1 the magnitudes, series 2 their deviation.

    The frames of a file differ in slice and time; each set and each contrast has a file. Pixels and UIDs are made as
    by `write_dicom`, which writes a volume that does not say where its slices lie and how thick they are: Enhanced MR
    must.
    """
    placements, spacing_mm = volume.placements, volume.spacing_mm
    if placements is None or spacing_mm is None or volume.thickness_mm is None:
        write_dicom(folder, volume)
        return
    folder.mkdir()
    for number, (kind, images) in enumerate(volume.kinds.items(), start=1):
        slope = slope_of(images)
        told, groups = _image(volume, kind, number), _same(volume, kind, slope, window_of(images))
        for instance, members in enumerate(_instances(volume), start=1):
            frames = [groups | _of_frame(volume, at, placements[at], spacing_mm) for at in members]
            values = stored(images[members], slope)
            image_uid = uid(told["SeriesInstanceUID"], instance, hashlib.sha256(values.tobytes()).hexdigest())
            said = told | pixels(values) | _multi_frame(frames, told["SeriesInstanceUID"])
            said |= {"InstanceNumber": instance, "SOPInstanceUID": image_uid}
            save(said, folder / f"{number}-{instance:04d}.dcm")


def _instances(volume: Volume) -> list[list[int]]:
    """The images of each file."""
    found: dict[str, list[int]] = {}
    for index in range(len(volume.magnitude)):
        found.setdefault(_label(volume, index), []).append(index)
    return list(found.values())


def _label(volume: Volume, index: int) -> str:
    """Which image it is along the axes that are neither slice nor time."""
    at = volume.counters(index).items()
    return text(", ".join(f"{axis} {n + 1}" for axis, n in at if axis not in (*_TIME, "slice")))


def _image(volume: Volume, kind: str, number: int) -> dict[str, Any]:
    """What is said once for a file. Its series is not that of the single images."""
    told = patient(volume) | series(volume, kind, number) | frame_of_reference(volume)
    return {
        **told,
        "SOPClassUID": pydicom().uid.EnhancedMRImageStorage,
        "SeriesInstanceUID": uid("enhanced", told["SeriesInstanceUID"]),
        "PatientPosition": text(str(volume.header.get("patient_position", ""))),
        "ManufacturerModelName": "Laminar",
        "DeviceSerialNumber": __version__,
        "ImageType": _kind(kind),
        **_DESCRIPTION,
        "ContentQualification": "RESEARCH",
        "ImageComments": f"{WARNING}; {derivation(volume, kind)}; {_scanner(volume)}",
        # The standard wants a time of the pixels: the same reconstruction has the same bytes, whenever it is made.
        "ContentDate": "19000101",
        "ContentTime": "000000",
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "PresentationLUTShape": "IDENTITY",
        "AcquisitionContextSequence": [],
        "ApplicableSafetyStandardAgency": "UNKNOWN",
        **_known(volume, _MODALITY),
    }


def _scanner(volume: Volume) -> str:
    """What measured the data. As contributing equipment dcm2niix takes it for what made the file, and guesses."""
    names = (str(volume.header[key]) for key in ("vendor", "model") if key in volume.header)
    return f"measured by {text(' '.join(names)) or 'an unknown scanner'}"


def _kind(kind: str) -> list[str]:
    return ["DERIVED", "PRIMARY", "OTHER", "STD_DEVIATION" if kind else "NONE"]


def _multi_frame(frames: Sequence[dict[str, Any]], series_uid: str) -> dict[str, Any]:
    """The functional groups and the dimensions. What all frames say is said once, except their content."""
    first, organization = frames[0], {"DimensionOrganizationUID": uid("dimensions", series_uid)}
    shared = [name for name in first if name != _CONTENT and all(frame[name] == first[name] for frame in frames)]
    tag = pydicom().datadict.tag_for_keyword
    return {
        "NumberOfFrames": len(frames),
        "SharedFunctionalGroupsSequence": {name: first[name] for name in shared},
        "PerFrameFunctionalGroupsSequence": [
            {name: group for name, group in frame.items() if name not in shared} for frame in frames
        ],
        "DimensionOrganizationSequence": organization,
        "DimensionIndexSequence": [
            organization | {"DimensionIndexPointer": tag(name), "FunctionalGroupPointer": tag(_CONTENT)}
            for name in _DIMENSIONS
        ],
    }


def _same(volume: Volume, kind: str, slope: float, shown: tuple[float, float]) -> dict[str, Any]:
    """The functional groups that do not depend on the frame."""
    has_one_echo = volume.counted.get("contrast", 1) == 1  # the file says one time for all of them
    echo = _known(volume, {"EffectiveEchoTime": "te_ms"}) if has_one_echo else {}
    return {
        "FrameAnatomySequence": {  # the standard wants one, and no scan says which
            "AnatomicRegionSequence": code("123037004", "SCT", "Anatomical structure"),
            "FrameLaterality": "U",
        },
        "MRImageFrameTypeSequence": {"FrameType": _kind(kind), **_DESCRIPTION},
        "PixelValueTransformationSequence": {"RescaleIntercept": 0, "RescaleSlope": 1, "RescaleType": "US"},
        "RealWorldValueMappingSequence": mapping(slope),
        "FrameVOILUTSequence": window(shown, slope),
        **({"MREchoSequence": echo} if echo else {}),
    }


def _of_frame(volume: Volume, index: int, placement: Placement, spacing_mm: tuple[float, float]) -> dict[str, Any]:
    """The functional groups that may depend on the frame."""
    at, time = volume.counters(index), 0
    for axis in _TIME:
        time = time * volume.counted.get(axis, 1) + at.get(axis, 0)
    place, label = at.get("slice", 0) + 1, _label(volume, index)
    return {
        _CONTENT: {
            "StackID": "1",
            "InStackPositionNumber": place,
            "TemporalPositionIndex": time + 1,
            "DimensionIndexValues": [time + 1, place],
            **({"FrameLabel": label} if label else {}),
        },
        "PlanePositionSequence": {"ImagePositionPatient": position(volume, placement, spacing_mm)},
        "PlaneOrientationSequence": {"ImageOrientationPatient": orientation(placement)},
        "PixelMeasuresSequence": {
            "PixelSpacing": [decimal(value) for value in spacing_mm],
            "SliceThickness": decimal(volume.thickness_mm or 0.0),
            **_gap(volume),
        },
    }


def _gap(volume: Volume) -> dict[str, Any]:
    """From center to center of slices that are parallel and evenly spaced; readers take the thickness without it."""
    slices = (volume.placements or ())[: volume.n_slices]
    normals = np.cross([one.x_axis for one in slices], [one.y_axis for one in slices])
    steps = np.diff([one.center for one in slices], axis=0)
    gaps = np.abs(steps @ normals[0])
    is_even = len(gaps) > 0 and np.allclose(normals, normals[0], atol=1e-4) and np.allclose(steps, steps[0], atol=1e-3)
    return {"SpacingBetweenSlices": decimal(gaps[0])} if is_even and gaps[0] else {}


def _known(volume: Volume, names: dict[str, str]) -> dict[str, Any]:
    """What the header of the scan says, in numbers, by the keywords of DICOM."""
    said = {name: volume.header.get(key) for name, key in names.items()}
    return {name: decimal(value) for name, value in said.items() if isinstance(value, int | float) and value}
