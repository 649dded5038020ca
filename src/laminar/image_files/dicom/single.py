"""Writing a reconstruction as DICOM: a series of single images, in their place in the patient.

MR Image Storage where the scan says where its slices lie, Secondary Capture where it does not (PS3.3 A.4, A.8.1,
C.7.6.2, C.8.3.1).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

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
from laminar.image_files.volume import WARNING, Volume, window_of
from laminar.scan import Placement

_MODALITY = {
    "RepetitionTime": "tr_ms",
    "EchoTime": "te_ms",
    "FlipAngle": "flip_angle_deg",
    "MagneticFieldStrength": "field_strength_t",
}


def write_dicom(folder: Path, volume: Volume) -> None:
    """A file for each image, `<series>-<number>.dcm`: series 1 the magnitudes, series 2 their standard deviation.

    Pixels are unsigned 16-bit numbers; one RealWorldValueSlope for a series brings them to the units of the scan. The
    same volume gives the same bytes: UIDs are made from `volume.scan`, `volume.request` and the pixels.
    """
    pydicom()
    folder.mkdir()
    for number, (kind, images) in enumerate(volume.kinds.items(), start=1):
        slope, shown, told = slope_of(images), window_of(images), series(volume, kind, number)
        for index, image in enumerate(images):
            values = stored(image, slope)
            image_uid = uid(told["SeriesInstanceUID"], index, hashlib.sha256(values.tobytes()).hexdigest())
            said = patient(volume) | told | _scanner(volume) | _derived(volume, kind) | _place(volume, index)
            said |= pixels(values) | window(shown, slope) | {"RealWorldValueMappingSequence": mapping(slope)}
            said |= {"SmallestImagePixelValue": int(values.min()), "LargestImagePixelValue": int(values.max())}
            said |= {"InstanceNumber": index + 1, "SOPInstanceUID": image_uid}
            save(said, folder / f"{number}-{index + 1:04d}.dcm")


def _scanner(volume: Volume) -> dict[str, Any]:
    """What measured the data: the equipment of the series is the one that made the images."""
    said = volume.header
    scanner = {
        "PurposeOfReferenceCodeSequence": code("109101", "DCM", "Acquisition Equipment"),
        "Manufacturer": text(str(said.get("vendor", "unknown"))),
        **({"ManufacturerModelName": text(str(said["model"]))} if "model" in said else {}),
    }
    return {"ContributingEquipmentSequence": scanner, "Laterality": ""}


def _derived(volume: Volume, kind: str) -> dict[str, Any]:
    return {
        "ImageType": ["DERIVED", "SECONDARY" if kind else "PRIMARY", "OTHER", *([kind.upper()] if kind else [])],
        "DerivationDescription": derivation(volume, kind),
        "ImageComments": WARNING,
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
    }


def _place(volume: Volume, index: int) -> dict[str, Any]:
    if volume.placements is None or volume.spacing_mm is None:
        capture = pydicom().uid.SecondaryCaptureImageStorage
        return {"SOPClassUID": capture, "ConversionType": "WSD", "PatientOrientation": "", **_sizes(volume)}
    return _magnetic(volume, index) | _plane(volume, volume.placements[index], volume.spacing_mm)


def _sizes(volume: Volume) -> dict[str, Any]:
    """What is known of the sizes of pixel and slice; the second extends the standard attributes of a capture."""
    spacing, thickness = volume.spacing_mm, volume.thickness_mm
    return {
        **({} if spacing is None else {"PixelSpacing": [decimal(value) for value in spacing]}),
        **({} if thickness is None else {"SliceThickness": decimal(thickness)}),
    }


def _magnetic(volume: Volume, index: int) -> dict[str, Any]:
    """The MR Image module: a research sequence, with what the file says of it."""
    times = {name: _number(volume.header.get(key)) for name, key in _MODALITY.items()}
    at = volume.counters(index)
    if volume.counted.get("contrast", 1) > 1:
        times["EchoTime"] = ""  # the file says one for all of them
    several = {
        "EchoNumbers": at.get("contrast"),
        "TemporalPositionIdentifier": at.get("phase", at.get("repetition")),
        "AcquisitionNumber": at.get("repetition"),
    }
    return {
        "SOPClassUID": pydicom().uid.MRImageStorage,
        "ScanningSequence": "RM",
        "SequenceVariant": "NONE",
        "ScanOptions": "",
        "MRAcquisitionType": "",
        "EchoTrainLength": "",
        "PatientPosition": text(str(volume.header.get("patient_position", ""))),
        **{name: value for name, value in times.items() if value or name in ("RepetitionTime", "EchoTime")},
        **{name: value + 1 for name, value in several.items() if value is not None},
    }


def _plane(volume: Volume, placement: Placement, spacing_mm: tuple[float, float]) -> dict[str, Any]:
    return {
        **frame_of_reference(volume),
        "ImagePositionPatient": position(volume, placement, spacing_mm),
        "ImageOrientationPatient": orientation(placement),
        "SliceThickness": "",
        **_sizes(volume),
    }


def _number(value: Any) -> Any:
    return decimal(value) if isinstance(value, int | float) else ""
