"""Images without raw data, as objects of a simulation: HDF5, DICOM, NIfTI and picture files, read on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laminar.data.formats.guard import reading
from laminar.data.formats.hdf5 import Dataset, survey
from laminar.errors import ConfigError, DataFormatError, LaminarError, package

SMALLEST_SIDE = 32
_DEEP = ("I;16", "I;16B", "I;16L", "I", "F")
"""Modes of pictures of more than 8 bits, of which a luminance would keep 8."""
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_HDF5_NAMES = ("images", "image", "reconstruction_rss", "reconstruction_esc", "reconstruction", "magnitude")

Array = NDArray[Any]


@dataclass(frozen=True)
class ImageStack:
    """Slices of one size in one file: `read(i)` gives slice i as an array (y, x), real or complex."""

    name: str
    matrix: tuple[int, int]
    count: int
    read: Callable[[int], Array]
    whole: float = 0.0

    def image(self, index: int) -> Tensor:
        """Slice `index`: float32 (y, x) in [0, 1], or complex64 of such a magnitude.

        Whole numbers are divided by the largest that the stack says to hold, others by the slice's 0.999 quantile.
        """
        try:
            pixels = self.read(index)
        except LaminarError:
            raise
        except Exception as error:  # the libraries of others may raise anything
            said = " ".join(str(error).split())
            raise DataFormatError(f"{self.name}: slice {index} cannot be read: {said}") from error
        if pixels.ndim != 2 or pixels.dtype.kind not in "biufc":
            raise DataFormatError(f"{self.name}: slice {index} is no image (y, x): {pixels.dtype} {pixels.shape}")
        is_complex = np.iscomplexobj(pixels)
        pixels = pixels.astype(np.complex64 if is_complex else np.float32)
        if not np.isfinite(pixels).all():
            raise DataFormatError(f"{self.name}: slice {index} holds NaN or Inf")
        top = self.whole or float(np.quantile(np.abs(pixels), 0.999)) or 1.0
        image = torch.from_numpy(pixels / top)
        return image if is_complex else image.clamp_min(0)


def find_images(paths: Sequence[Path]) -> list[ImageStack]:
    """Every stack of images in files and folders (searched through), in the order of their names.

    * HDF5: every data set (slice, y, x) or (y, x) called `images`, `image`, `magnitude`, `reconstruction` or as fastMRI
      names its images, in the file or in a group of it; complex ones keep their phase.
    * DICOM, a stack a file, its frames the slices (extra `dicom`); NIfTI, slices along the third axis (extra `nifti`);
      PNG, JPEG, TIFF and BMP, as their luminance (extra `figures`).

    Files of other kinds in a folder are passed over; one that was named itself is an error. Stacks with a side below 32
    are left out.
    Raises ConfigError if nothing is found, DataFormatError for a file that cannot be read.
    """
    stacks: list[ImageStack] = []
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{path}: no such file or folder of images")
        found = [stack for file in _files_of(path) for stack in _stacks(file, named=file == path)]
        stacks += [stack for stack in found if min(stack.matrix) >= SMALLEST_SIDE]
    if not stacks:
        raise ConfigError(f"no images of at least {SMALLEST_SIDE} x {SMALLEST_SIDE} in {', '.join(map(str, paths))}")
    return stacks


def _files_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))


def _stacks(path: Path, *, named: bool) -> Iterator[ImageStack]:
    name = path.name.lower()
    if h5py.is_hdf5(path):
        yield from _hdf5(path)
    elif name.endswith((".nii", ".nii.gz")):
        yield from _nifti(path)
    elif name.endswith(_PICTURES):
        yield _picture(path)
    elif _is_dicom(path):
        yield from _dicom(path)
    elif named:
        raise DataFormatError(f"{path}: expected images as HDF5, DICOM, NIfTI or a picture; it is none of them")


def _hdf5(path: Path) -> Iterator[ImageStack]:
    with reading(path):
        for key, data in sorted(survey(path).datasets.items()):
            if data.dtype is None or key.split("/")[-1] not in _HDF5_NAMES or len(data.shape) not in (2, 3):
                continue
            whole = float(np.iinfo(data.dtype).max) if data.dtype.kind == "u" else 0.0
            whole = 4095.0 if whole == 65535 and int(data.load().max()) < 4096 else whole
            count = data.shape[0] if len(data.shape) == 3 else 1
            matrix = (data.shape[-2], data.shape[-1])
            yield ImageStack(f"{path.name}:{key}", matrix, count, _Hdf5Reader(path, data), whole)


@dataclass(frozen=True)
class _Hdf5Reader:
    path: Path
    data: Dataset

    def __call__(self, index: int) -> Array:
        with reading(self.path):
            return self.data.load(slice(index, index + 1))[0] if len(self.data.shape) == 3 else self.data.load()


def _nifti(path: Path) -> Iterator[ImageStack]:
    nibabel = package("nibabel", "nifti")
    try:
        volume = nibabel.load(path)
        shape = tuple(int(n) for n in volume.shape)
    except Exception as error:
        raise DataFormatError(f"{path}: cannot be read as NIfTI: {error}") from error
    if len(shape) >= 2:
        count = int(np.prod(shape[2:])) if len(shape) > 2 else 1
        yield ImageStack(path.name, (shape[1], shape[0]), count, _NiftiReader(path))


@dataclass(frozen=True)
class _NiftiReader:
    path: Path

    def __call__(self, index: int) -> Array:
        data = package("nibabel", "nifti").load(self.path).dataobj
        place = np.unravel_index(index, data.shape[2:]) if len(data.shape) > 2 else ()
        return np.asarray(data[(slice(None), slice(None), *place)]).T


def _picture(path: Path) -> ImageStack:
    image = package("PIL.Image", "figures")
    try:
        with image.open(path) as file:
            width, height = file.size
            whole = 255.0 if file.mode not in _DEEP else 0.0
    except OSError as error:
        raise DataFormatError(f"{path}: cannot be read as a picture: {error}") from error
    return ImageStack(path.name, (height, width), 1, _PictureReader(path), whole)


@dataclass(frozen=True)
class _PictureReader:
    path: Path

    def __call__(self, index: int) -> Array:
        with package("PIL.Image", "figures").open(self.path) as file:
            return np.asarray(file if file.mode in _DEEP else file.convert("L"))


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _dicom(path: Path) -> Iterator[ImageStack]:
    pydicom = package("pydicom", "dicom")
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
    except Exception as error:
        raise DataFormatError(f"{path}: cannot be read as DICOM: {error}") from error
    if "Rows" in header:
        count, black = int(header.get("NumberOfFrames", 1)), None
        if header.get("PhotometricInterpretation") == "MONOCHROME1":
            black = 2 ** (int(header.BitsStored) - int(header.PixelRepresentation)) - 1
        yield ImageStack(path.name, (int(header.Rows), int(header.Columns)), count, _DicomReader(path, black))


@dataclass(frozen=True)
class _DicomReader:
    """`black`: the number that stands for black, where large ones do."""

    path: Path
    black: int | None

    def __call__(self, index: int) -> Array:
        pixels: Array = package("pydicom", "dicom").pixels.pixel_array(self.path, index=index)
        return pixels if self.black is None else self.black - pixels.astype(np.int64)
