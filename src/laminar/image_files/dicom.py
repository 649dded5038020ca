"""Writing a reconstruction as DICOM: a series of single images, in their place in the patient.

MR Image Storage where the scan says where its slices lie, Secondary Capture where it does not; both derived, for
research, and with no attribute of a patient or of a private kind (PS3.3 A.4, A.8.1, C.7.6.2, C.8.3.1).
"""

from __future__ import annotations

import hashlib
import re
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from laminar.errors import MissingExtraError
from laminar.image_files.volume import WARNING, Volume, window_of
from laminar.scan import Placement
from laminar.version import __version__

_NAMESPACE = uuid.UUID("5b0a3f5e-2f0c-5a0e-9c0e-6f1d6c8f2a41")
_LARGEST = 2**16 - 1
_MODALITY = {
    "RepetitionTime": "tr_ms",
    "EchoTime": "te_ms",
    "FlipAngle": "flip_angle_deg",
    "MagneticFieldStrength": "field_strength_t",
}


def pydicom() -> Any:
    """The package. Raises MissingExtraError."""
    try:
        import pydicom as package
    except ImportError as error:
        raise MissingExtraError("pydicom", "dicom") from error
    return package


def uid(*parts: object) -> str:
    """A UID under 2.25 (PS3.5 B.2) that is the same for the same parts."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, repr(parts)).int}"


def write_dicom(folder: Path, volume: Volume) -> None:
    """A file for each image, `<series>-<number>.dcm`: series 1 the magnitudes, series 2 their standard deviation.

    Pixels are unsigned 16-bit numbers; one RealWorldValueSlope for a series brings them to the units of the scan. The
    same volume gives the same bytes: UIDs are made from `volume.scan`, `volume.request` and the pixels.
    """
    package = pydicom()
    folder.mkdir()
    for number, (kind, images) in enumerate(volume.kinds.items(), start=1):
        slope = max(float(images.max()), 1e-30) / _LARGEST
        for index, image in enumerate(images):
            dataset = package.Dataset()
            for attributes in (_patient(volume), _series(volume, kind, number), _derived(volume, kind)):
                _set(dataset, attributes)
            _set(dataset, _place(volume, index))
            _set(dataset, _pixels(image, slope, window_of(images)))
            dataset.InstanceNumber = index + 1
            dataset.SOPInstanceUID = uid(dataset.SeriesInstanceUID, index, _digest(dataset.PixelData))
            _save(dataset, folder / f"{number}-{index + 1:04d}.dcm")


def _set(dataset: Any, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        setattr(dataset, name, value)


def _save(dataset: Any, path: Path) -> None:
    meta = pydicom().dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = pydicom().uid.ExplicitVRLittleEndian
    meta.ImplementationClassUID, meta.ImplementationVersionName = uid("laminar"), "LAMINAR"
    dataset.file_meta = meta
    dataset.preamble = f'"laminar": "{__version__}"'.encode().ljust(128, b"\0")  # ours to use, and a mark
    dataset.save_as(path, enforce_file_format=True)


def _patient(volume: Volume) -> dict[str, Any]:
    """Who and when: nothing is known, and nothing is said; the name of the file stands for the patient."""
    name = _text(volume.name)
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": f"{name[:63]}^",
        "PatientID": name,
        "PatientBirthDate": "",
        "PatientSex": "",
        "StudyInstanceUID": uid("study", volume.scan),
        "StudyID": "",
        "StudyDate": "",
        "StudyTime": "",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
    }


def _series(volume: Volume, kind: str, number: int) -> dict[str, Any]:
    said = volume.header
    protocol = _text(str(said.get("protocol", "")))
    dataset: dict[str, Any] = {
        "Modality": "MR",
        "SeriesInstanceUID": uid("series", volume.scan, volume.request, volume.method, kind),
        "SeriesNumber": number,
        "Laterality": "",
        "SeriesDescription": _text(f"Laminar {volume.method} {kind}".strip()),
        "Manufacturer": "Laminar",
        "SoftwareVersions": __version__,
        "ContributingEquipmentSequence": [_scanner(volume)],
    }
    return dataset | ({"ProtocolName": protocol} if protocol else {})


def _scanner(volume: Volume) -> Any:
    """What measured the data: the equipment of the series is the one that made the images."""
    scanner, purpose = pydicom().Dataset(), pydicom().Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "109101", "DCM"
    purpose.CodeMeaning = "Acquisition Equipment"
    scanner.PurposeOfReferenceCodeSequence = [purpose]
    scanner.Manufacturer = _text(str(volume.header.get("vendor", "unknown")))
    if "model" in volume.header:
        scanner.ManufacturerModelName = _text(str(volume.header["model"]))
    return scanner


def _derived(volume: Volume, kind: str) -> dict[str, Any]:
    what = "standard deviation of posterior samples" if kind else "image"
    return {
        "ImageType": ["DERIVED", "SECONDARY" if kind else "PRIMARY", "OTHER", *([kind.upper()] if kind else [])],
        "DerivationDescription": f"{what} from undersampled k-space by {_text(volume.method)}, Laminar",
        "ImageComments": WARNING,
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
    }


def _place(volume: Volume, index: int) -> dict[str, Any]:
    if volume.placements is None or volume.spacing_mm is None:
        capture = pydicom().uid.SecondaryCaptureImageStorage
        return {"SOPClassUID": capture, "ConversionType": "WSD", "PatientOrientation": ""}
    return _magnetic(volume, index) | _plane(volume, volume.placements[index], volume.spacing_mm)


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
        "PatientPosition": _text(str(volume.header.get("patient_position", ""))),
        **{name: value for name, value in times.items() if value or name in ("RepetitionTime", "EchoTime")},
        **{name: value + 1 for name, value in several.items() if value is not None},
    }


def _plane(volume: Volume, placement: Placement, spacing_mm: tuple[float, float]) -> dict[str, Any]:
    """Where the center of the first pixel lies, and along which directions columns and rows follow it."""
    height, width = volume.magnitude.shape[-2:]
    x_axis, y_axis = np.array(placement.x_axis), np.array(placement.y_axis)
    first = np.array(placement.center) - width // 2 * spacing_mm[1] * x_axis - height // 2 * spacing_mm[0] * y_axis
    return {
        "FrameOfReferenceUID": uid("frame", volume.scan),
        "PositionReferenceIndicator": "",
        "ImagePositionPatient": [_decimal(value) for value in first],
        "ImageOrientationPatient": [_decimal(value) for value in (*x_axis, *y_axis)],
        "PixelSpacing": [_decimal(value) for value in spacing_mm],
        "SliceThickness": "" if placement.thickness is None else _decimal(placement.thickness),
    }


def _mapping(slope: float) -> Any:
    """The units of the scan. MR Image Storage knows no rescale slope, and windows below one no viewer."""
    mapping, unit = pydicom().Dataset(), pydicom().Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "1", "UCUM", "no units"
    mapping.MeasurementUnitsCodeSequence = [unit]
    mapping.LUTExplanation, mapping.LUTLabel = "units of the raw data", "SCAN"
    mapping.RealWorldValueFirstValueMapped, mapping.RealWorldValueLastValueMapped = 0, _LARGEST
    mapping.RealWorldValueIntercept, mapping.RealWorldValueSlope = 0.0, slope
    return mapping


def _pixels(image: Tensor, slope: float, window: tuple[float, float]) -> dict[str, Any]:
    stored: npt.NDArray[np.uint16] = np.rint(image.double().numpy() / slope).clip(0, _LARGEST).astype("<u2")
    return {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "SmallestImagePixelValue": int(stored.min()),
        "LargestImagePixelValue": int(stored.max()),
        "WindowCenter": round(window[0] / slope),
        "WindowWidth": max(1, round(window[1] / slope)),
        "RealWorldValueMappingSequence": [_mapping(slope)],
        "PixelData": stored.tobytes(),
    }


def _decimal(value: float) -> Any:
    """A number as the 16 characters of a decimal string hold it."""
    return pydicom().valuerep.DSfloat(float(value), auto_format=True)


def _number(value: Any) -> Any:
    return _decimal(value) if isinstance(value, int | float) else ""


def _text(text: str) -> str:
    """Text that every kind of string may hold: printable, no separator of DICOM, 64 characters."""
    return re.sub(r"[\\^=]", "_", "".join(c if c.isprintable() else "_" for c in text))[:64].strip()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
