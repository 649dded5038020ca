"""Reconstructions as DICOM: a series of single images, or volumes and cines as multi-frame images."""

from laminar.image_files.dicom.archive import pynetdicom, send
from laminar.image_files.dicom.attributes import pydicom
from laminar.image_files.dicom.enhanced import write_enhanced_dicom
from laminar.image_files.dicom.single import write_dicom

__all__ = ["pydicom", "pynetdicom", "send", "write_dicom", "write_enhanced_dicom"]
