"""The options that say in which formats images are written, and where they are sent."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from laminar.errors import ConfigError, MissingExtraError
from laminar.registry import nearest

DICOM = ("dicom", "dicom-enhanced")
FORMATS = ("h5", "nifti", *DICOM, "mrd", "gif")


def add_formats(parser: argparse._ActionsContainer) -> None:
    """`--format` and `--pacs`."""
    parser.add_argument("--format", nargs="+", action=_Formats, metavar="FORMAT", default=["h5"], help=_FORMAT)
    parser.add_argument("--pacs", metavar="HOST:PORT:TITLE", help=_PACS)


_FORMAT = (
    "what else to write beside <name>.h5, in its place in the patient: nifti, <name>.nii; dicom, a folder <name>.dicom "
    "of MR images; dicom-enhanced, a folder <name>.enhanced.dicom of multi-frame ones, a volume or a cine each; mrd, "
    "ISMRMRD images in <name>.mrd.h5 (extras nifti, dicom, mrd); gif, a movie of its images in turn (extra figures)"
)
_PACS = "send what --format dicom or dicom-enhanced writes to an archive (C-STORE)"


class _Formats(argparse.Action):
    """Formats apart, or with commas between them."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        formats = [name for text in values for name in text.split(",") if name]
        for name in formats:
            if name not in FORMATS:
                hint = ": scans stand before --format" if Path(name).exists() else nearest(name, FORMATS)
                raise argparse.ArgumentError(self, f"{name!r} is no format{hint}")
        setattr(namespace, self.dest, formats)


def check_packages(formats: Sequence[str]) -> None:
    """Raise ConfigError, before any work is done, for all packages that the formats need and that are missing."""
    from laminar.image_files import IMAGE_FORMATS

    missing = []
    for format in formats:
        try:
            IMAGE_FORMATS[format].package()
        except MissingExtraError as error:
            missing.append(str(error.extra))
    if missing:
        extras = ",".join(dict.fromkeys(missing))
        raise ConfigError(f"--format {' '.join(formats)} needs more: pip install 'laminar-mri[{extras}]'")
