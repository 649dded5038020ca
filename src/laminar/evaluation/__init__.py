"""Predicted volumes against their references: conventions of metrics, frozen protocols, files."""

from laminar.evaluation.conventions import CONVENTIONS, Convention, VolumeScore
from laminar.evaluation.files import Evaluation, evaluate_files, read_volume
from laminar.evaluation.protocol import MaskRule, Protocol, load_protocol, mask_checksum, protocol_names

__all__ = [
    "CONVENTIONS",
    "Convention",
    "Evaluation",
    "MaskRule",
    "Protocol",
    "VolumeScore",
    "evaluate_files",
    "load_protocol",
    "mask_checksum",
    "protocol_names",
    "read_volume",
]
