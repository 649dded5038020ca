"""What DICOM images of a reconstruction say of themselves, whatever their kind, and how they are saved.

All are derived, for research, and have no attribute of a patient or of a private kind.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from laminar.errors import package
from laminar.files import MARK
from laminar.image_files.volume import Volume
from laminar.scan import Placement
from laminar.version import __version__

_NAMESPACE = uuid.UUID("5b0a3f5e-2f0c-5a0e-9c0e-6f1d6c8f2a41")
LARGEST = 2**16 - 1


def pydicom() -> Any:
    """The package. Raises MissingExtraError."""
    return package("pydicom", "dicom")


def uid(*parts: object) -> str:
    """A UID under 2.25 (PS3.5 B.2) that is the same for the same parts."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, repr(parts)).int}"


def dataset_of(attributes: Mapping[str, Any]) -> Any:
    """A data set of attributes by keyword, in which a dict is an item of a sequence, alone or in a list."""
    dataset = pydicom().Dataset()
    for name, value in attributes.items():
        items = [value] if isinstance(value, dict) else value
        is_sequence = isinstance(items, list) and all(isinstance(item, dict) for item in items)
        setattr(dataset, name, [dataset_of(item) for item in items] if is_sequence else value)
    return dataset


def save(attributes: Mapping[str, Any], path: Path) -> None:
    """A file of these attributes, little endian."""
    dataset, meta = dataset_of(attributes), pydicom().dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = pydicom().uid.ExplicitVRLittleEndian
    meta.ImplementationClassUID, meta.ImplementationVersionName = uid("laminar"), "LAMINAR"
    dataset.file_meta = meta
    dataset.preamble = MARK.ljust(128, b"\0")  # ours to use, and a mark
    dataset.save_as(path, enforce_file_format=True)


def patient(volume: Volume) -> dict[str, Any]:
    """Who and when: nothing is known, and nothing is said; the name of the file stands for the patient."""
    name = text(volume.name)
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


def series(volume: Volume, kind: str, number: int) -> dict[str, Any]:
    """The series of one kind of images, and what made it."""
    protocol = text(str(volume.header.get("protocol", "")))
    return {
        "Modality": "MR",
        "SeriesInstanceUID": uid("series", volume.scan, volume.request, volume.method, kind),
        "SeriesNumber": number,
        "SeriesDescription": text(f"Laminar {volume.method} {kind}".strip()),
        "Manufacturer": "Laminar",
        "SoftwareVersions": __version__,
        **({"ProtocolName": protocol} if protocol else {}),
    }


def derivation(volume: Volume, kind: str) -> str:
    what = "standard deviation of posterior samples" if kind else "image"
    kspace = "undersampled k-space" if volume.acceleration > 1 else "k-space"
    return f"{what} from {kspace} by {text(volume.method)}, Laminar"


def frame_of_reference(volume: Volume) -> dict[str, Any]:
    return {"FrameOfReferenceUID": uid("frame", volume.scan), "PositionReferenceIndicator": ""}


def position(volume: Volume, placement: Placement, spacing_mm: tuple[float, float]) -> list[Any]:
    """Where the center of the first pixel lies, in mm along L, P, S."""
    height, width = volume.magnitude.shape[-2:]
    x_axis, y_axis = np.array(placement.x_axis), np.array(placement.y_axis)
    first = np.array(placement.center) - width // 2 * spacing_mm[1] * x_axis - height // 2 * spacing_mm[0] * y_axis
    return [decimal(value) for value in first]


def orientation(placement: Placement) -> list[Any]:
    """Along which directions columns and rows follow the first pixel."""
    return [decimal(value) for value in (*placement.x_axis, *placement.y_axis)]


def slope_of(images: Tensor) -> float:
    """The units of the scan in one step of a stored number, alike for a series: its largest value is the last one."""
    return max(float(images.max()), 1e-30) / LARGEST


def stored(images: Tensor, slope: float) -> npt.NDArray[np.uint16]:
    return np.rint(images.double().numpy() / slope).clip(0, LARGEST).astype("<u2")


def pixels(values: npt.NDArray[np.uint16]) -> dict[str, Any]:
    """The Image Pixel module of images (.., y, x), unsigned 16-bit numbers of which all bits are used."""
    return {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": values.shape[-2],
        "Columns": values.shape[-1],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "PixelData": values.tobytes(),
    }


def window(center_width: tuple[float, float], slope: float) -> dict[str, int]:
    center, width = (round(value / slope) for value in center_width)
    return {"WindowCenter": center, "WindowWidth": max(1, width)}


def mapping(slope: float) -> dict[str, Any]:
    """The units of the scan. MR Image Storage knows no rescale slope, and windows below one no viewer."""
    return {
        "MeasurementUnitsCodeSequence": code("1", "UCUM", "no units"),
        "LUTExplanation": "units of the raw data",
        "LUTLabel": "SCAN",
        "RealWorldValueFirstValueMapped": 0,
        "RealWorldValueLastValueMapped": LARGEST,
        "RealWorldValueIntercept": 0.0,
        "RealWorldValueSlope": slope,
    }


def code(value: str, scheme: str, meaning: str) -> dict[str, Any]:
    return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}


def decimal(value: float) -> Any:
    """A number as the 16 characters of a decimal string hold it."""
    return pydicom().valuerep.DSfloat(float(value), auto_format=True)


def text(text: str) -> str:
    """Text that every kind of string may hold: printable, no separator of DICOM, 64 characters."""
    return re.sub(r"[\\^=]", "_", "".join(c if c.isprintable() else "_" for c in text))[:64].strip()
