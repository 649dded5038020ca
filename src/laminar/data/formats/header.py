"""The ISMRMRD XML header, as ISMRMRD and fastMRI files carry it: matrix sizes, fields of view, limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from laminar.errors import DataFormatError

Size = tuple[int, int, int]
Length = tuple[float, float, float]


@dataclass(frozen=True)
class Limits:
    """First, last and central index of an encoding counter; the central one is the line through DC."""

    minimum: int
    maximum: int
    center: int

    def __str__(self) -> str:
        return f"minimum {self.minimum}, maximum {self.maximum}, center {self.center}"


@dataclass(frozen=True)
class MrdHeader:
    """What the first encoding of an ISMRMRD header says. Sizes and lengths (mm) are (x, y, z), x the readout; a length
    along z may be 0, which is not known.
    """

    encoded_matrix: Size
    recon_matrix: Size
    encoded_fov_mm: Length | None = None
    recon_fov_mm: Length | None = None
    limits: Mapping[str, Limits] = field(default_factory=dict)
    trajectory: str = "cartesian"
    calibration_mode: str = ""
    noise_bandwidth: float = 1.0
    info: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def limits_of(self, step: int) -> Limits | None:
        """Those of phase encoding 1 (y) or 2 (z)."""
        return self.limits.get(f"kspace_encoding_step_{step}")

    def crop(self, axis: int) -> int:
        """Number of points (axis 0, 1, 2 = x, y, z) of the reconstructed field of view at the encoded
        resolution.
        """
        encoded, recon = self.encoded_matrix[axis], self.recon_matrix[axis]
        if self.encoded_fov_mm and self.recon_fov_mm and self.encoded_fov_mm[axis]:
            recon = round(encoded * self.recon_fov_mm[axis] / self.encoded_fov_mm[axis])
        return max(1, min(encoded, recon))

    def spacing(self, axis: int) -> float | None:
        """Size in mm of a pixel along x, y or z at the encoded resolution."""
        length = self.encoded_fov_mm[axis] if self.encoded_fov_mm else 0.0
        return length / self.encoded_matrix[axis] if length else None

    @property
    def thickness(self) -> float | None:
        """That of a 2-D slice in mm: as encoded it may be thicker, by an oversampling that is only for volumes."""
        length = self.recon_fov_mm[2] if self.recon_fov_mm else 0.0
        return length / self.recon_matrix[2] if length else self.spacing(2)


# What is worth keeping of the rest: where it stands, and under which name. Nothing about the patient.
INFO = {
    "acquisitionSystemInformation/systemVendor": "vendor",
    "acquisitionSystemInformation/systemModel": "model",
    "acquisitionSystemInformation/systemFieldStrength_T": "field_strength_t",
    "measurementInformation/protocolName": "protocol",
    "measurementInformation/patientPosition": "patient_position",
    "sequenceParameters/sequence_type": "sequence",
    "sequenceParameters/TR": "tr_ms",
    "sequenceParameters/TE": "te_ms",
    "sequenceParameters/TI": "ti_ms",
    "sequenceParameters/flipAngle_deg": "flip_angle_deg",
}


_UNITS = ("_t", "_ms", "_deg")


def parse_header(xml: str | bytes) -> MrdHeader:
    """Read an ISMRMRD XML header. Raises DataFormatError if it is no such header."""
    root = _root(xml)
    encoding = _find(root, "encoding")
    if encoding is None:
        raise DataFormatError("the ISMRMRD header has no encoding")
    notes: list[str] = []
    return MrdHeader(
        encoded_matrix=_size(encoding, "encodedSpace/matrixSize", notes),
        recon_matrix=_size(encoding, "reconSpace/matrixSize", notes),
        encoded_fov_mm=_lengths(encoding, "encodedSpace/fieldOfView_mm"),
        recon_fov_mm=_lengths(encoding, "reconSpace/fieldOfView_mm"),
        limits=_limits(encoding),
        trajectory=_text(encoding, "trajectory").lower() or "cartesian",
        calibration_mode=_text(encoding, "parallelImaging/calibrationMode"),
        noise_bandwidth=float(_text(root, "acquisitionSystemInformation/relativeReceiverNoiseBandwidth") or 1.0),
        info={name: _plain(name, text) for place, name in INFO.items() if (text := _text(root, place))},
        notes=tuple(notes),
    )


def _root(xml: str | bytes) -> ElementTree.Element:
    """The document, perhaps behind blanks, as of a text in triple quotes, or with a name in Latin-1 called UTF-8."""
    try:
        return ElementTree.fromstring(xml.lstrip())
    except ElementTree.ParseError as error:
        with suppress(ElementTree.ParseError):
            if isinstance(xml, bytes):
                return ElementTree.fromstring(xml.lstrip().decode("latin-1"))
        raise DataFormatError(f"the ISMRMRD header is not valid XML: {error}") from error


def _find(node: ElementTree.Element, place: str) -> ElementTree.Element | None:
    return node.find("/".join("{*}" + part for part in place.split("/")))


def _text(node: ElementTree.Element, place: str) -> str:
    found = _find(node, place)
    return (found.text or "").strip() if found is not None else ""


def _plain(name: str, text: str) -> str | float:
    """A quantity as a number, if it is one; a name stays a text, though it may be of digits."""
    with suppress(ValueError):
        if name.endswith(_UNITS) and math.isfinite(number := float(text)):
            return number
    return text


def _size(node: ElementTree.Element, place: str, notes: list[str]) -> Size:
    """A matrix of whole numbers. Converters that derive it from lengths write 35.9996 or 64.0: rounded, and said."""
    said = [_text(node, f"{place}/{axis}") or "0" for axis in "xyz"]
    try:
        x, y, z = (round(float(text)) for text in said)
    except (ValueError, OverflowError):
        raise DataFormatError(f"the ISMRMRD header must give a whole {place}; got {', '.join(said)}") from None
    if min(x, y, z) < 1:
        raise DataFormatError(f"the ISMRMRD header must give a positive {place}; got {', '.join(said)}")
    if any(float(text) != n for text, n in zip(said, (x, y, z), strict=True)):
        notes.append(f"the header says a {place} of {', '.join(said)}: taken as {x}, {y}, {z}")
    return x, y, z


def _whole(node: ElementTree.Element, place: str) -> int:
    text = _text(node, place) or "0"
    try:
        return round(float(text))
    except (ValueError, OverflowError):
        raise DataFormatError(f"the ISMRMRD header must give a whole {place}; got {text}") from None


def _lengths(node: ElementTree.Element, place: str) -> Length | None:
    x, y, z = (float(_text(node, f"{place}/{axis}") or 0.0) for axis in "xyz")
    return lengths(x, y, z)


def lengths(x: float, y: float, z: float) -> Length | None:
    """The three of a field of view, None if it has none along x or y."""
    return (x, y, z) if all(map(math.isfinite, (x, y, z))) and min(x, y) > 0 <= z else None


def _limits(encoding: ElementTree.Element) -> dict[str, Limits]:
    found = {}
    for name in ("kspace_encoding_step_1", "kspace_encoding_step_2", "average"):
        place = f"encodingLimits/{name}"
        if _find(encoding, place) is not None:
            found[name] = Limits(*(_whole(encoding, f"{place}/{part}") for part in ("minimum", "maximum", "center")))
    return found
