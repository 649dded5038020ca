"""The options that say in which formats images are written, and where they are sent."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from laminar.errors import ConfigError, MissingExtraError
from laminar.registry import nearest

DICOM = ("dicom", "dicom-enhanced")
FORMATS = ("h5", "nifti", *DICOM, "mrd", "gif")


def add_formats(parser: argparse._ActionsContainer) -> None:
    """`--format` and `--pacs`."""
    parser.add_argument("--format", nargs="+", type=_format, metavar="FORMAT", default=["h5"], help=_FORMAT)
    parser.add_argument("--pacs", metavar="HOST:PORT:TITLE", help=_PACS)


_FORMAT = (
    "what else to write beside <name>.h5, in its place in the patient: nifti, <name>.nii; dicom, a folder <name>.dicom "
    "of MR images; dicom-enhanced, a folder <name>.enhanced.dicom of multi-frame ones, a volume or a cine each; mrd, "
    "ISMRMRD images in <name>.mrd.h5 (extras nifti, dicom, mrd); gif, a movie of its images in turn (extra figures)"
)
_PACS = "send what --format dicom or dicom-enhanced writes to an archive (C-STORE)"


def _format(text: str) -> str:
    if text in FORMATS:
        return text
    hint = ": scans stand before --format" if Path(text).exists() else nearest(text, FORMATS)
    raise argparse.ArgumentTypeError(f"{text!r} is no format{hint}")


def check_packages(formats: Sequence[str]) -> None:
    """Raise ConfigError, before any work is done, for all packages that the formats need and that are missing."""
    from laminar.image_files import IMAGE_FORMATS

    missing = []
    for format in formats:
        try:
            IMAGE_FORMATS[format].package()
        except MissingExtraError as error:
            missing.append(error.extra)
    if missing:
        extras = ",".join(dict.fromkeys(missing))
        raise ConfigError(f"--format {' '.join(formats)} needs more: pip install 'laminar-mri[{extras}]'")
