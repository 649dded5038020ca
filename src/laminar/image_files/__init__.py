"""Images in files of other programs: NIfTI, DICOM, MRD, GIF."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from laminar.addresses import Archive
from laminar.figures import movie, pillow
from laminar.image_files.dicom import pydicom, pynetdicom, send, write_dicom, write_enhanced_dicom
from laminar.image_files.mrd import ismrmrd, write_mrd
from laminar.image_files.nifti import nibabel, write_nifti
from laminar.image_files.volume import Volume, digest_of


@dataclass(frozen=True)
class ImageFormat:
    """The ending of the file or folder, the package that it takes, and what writes it."""

    ending: str
    package: Callable[[], Any]
    write: Callable[[Path, Volume], None]


IMAGE_FORMATS = {
    "nifti": ImageFormat(".nii", nibabel, write_nifti),
    "dicom": ImageFormat(".dicom", pydicom, write_dicom),
    "dicom-enhanced": ImageFormat(".enhanced.dicom", pydicom, write_enhanced_dicom),
    "mrd": ImageFormat(".mrd.h5", ismrmrd, write_mrd),
    "gif": ImageFormat(".gif", pillow, lambda path, volume: movie(volume.slice_by_slice, path)),
}

__all__ = [
    "IMAGE_FORMATS",
    "Archive",
    "ImageFormat",
    "Volume",
    "digest_of",
    "nibabel",
    "pynetdicom",
    "send",
    "write_dicom",
    "write_enhanced_dicom",
    "write_mrd",
    "write_nifti",
]
