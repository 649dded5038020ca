"""From an array with named axes to k-space (slice, coil, y, x) and its mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from laminar.data.formats.domain import Domain, to_kspace
from laminar.data.formats.sampling import detect_masks, readout_axis
from laminar.errors import DataFormatError
from laminar.operators import ifft2c

Array = npt.NDArray[Any]

Index = tuple[int | slice, ...]

SPATIAL = ("kz", "ky", "kx")
SERIES = (
    *("time", "time2", "phase", "echo", "contrast", "repetition", "set"),
    *("batch", "level", "shift", "coeff", "coeff2", "iteration"),
)
MOST_COILS = 128  # more is an image axis that was called coil
NAMES = ("slice", "coil", *SPATIAL, *SERIES, "average", "ri", "coil_ri", "_")
KNOWN = (
    "slice, coil, kz, ky, kx, average, ri (a pair of real and imaginary part), coil_ri (real and imaginary part of one "
    f"coil after the other), _ (length 1), and for a series of images {', '.join(SERIES)}"
)


def parse_axes(axes: str, shape: Sequence[int]) -> list[str]:
    """Split "ky,kx,coil" and check it against the shape that it is to name.

    Raises DataFormatError for an unknown or repeated name, a wrong count, a `_` longer than one, an `ri`
    that is no pair, and fewer than two of kz, ky, kx.
    """
    names = [name.strip() for name in axes.split(",")]
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise DataFormatError(f"unknown axis '{unknown[0]}' in '{axes}'; known are {KNOWN}")
    if len(names) != len(shape):
        raise DataFormatError(f"'{axes}' names {len(names)} axes, the array has {len(shape)}: {tuple(shape)}")
    for name, length in zip(names, shape, strict=True):
        if name != "_" and names.count(name) > 1:
            raise DataFormatError(f"axis '{name}' is named twice in '{axes}'")
        if name == "_" and length != 1:
            raise DataFormatError(f"'_' in '{axes}' drops an axis of length 1, but {tuple(shape)} has {length} there")
        if name == "coil_ri" and length % 2:
            raise DataFormatError(f"'coil_ri' holds pairs, but {tuple(shape)} has {length}")
        if name == "ri" and length != 2:
            raise DataFormatError(f"'ri' is the pair of real and imaginary part, but {tuple(shape)} has {length}")
    if "coil_ri" in names and {"coil", "ri"} & set(names):
        raise DataFormatError(f"'coil_ri' is coil and ri in one, but '{axes}' names them as well")
    if sum(name in SPATIAL for name in names) < 2:
        raise DataFormatError(f"'{axes}' must name at least two of kz, ky, kx")
    return names


def example_axes(shape: Sequence[int]) -> str | None:
    """An example of an axis string that fits `shape`: the shortest of three axes as coils.

    None where it would be a guess: four axes have many meanings, and so many coils there are not.
    """
    long = [i for i, n in enumerate(shape) if n > 1]
    coil = min(long, key=lambda i: shape[i], default=0) if len(long) == 3 else None
    if len(long) not in (2, 3) or (coil is not None and shape[coil] > MOST_COILS):
        return None
    spatial = iter(("ky", "kx"))
    return ",".join("_" if i not in long else "coil" if i == coil else next(spatial) for i in range(len(shape)))


def to_complex64(array: Array) -> Tensor:
    """The array as complex64; real and integer arrays are refused, because a magnitude is not k-space."""
    if not np.iscomplexobj(array):
        raise DataFormatError(
            f"k-space must be complex; got {array.dtype} {array.shape} (a real array needs an axis 'ri' of length 2)"
        )
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows becomes Inf, which Scan refuses
        return torch.from_numpy(np.require(array, np.complex64, ["C", "W"]))


def _join_real_and_imaginary(array: Array, names: list[str]) -> tuple[Array, list[str]]:
    if "coil_ri" in names:
        at = names.index("coil_ri")
        array = array.reshape(*array.shape[:at], -1, 2, *array.shape[at + 1 :])
        names = [*names[:at], "coil", "ri", *names[at + 1 :]]
    if "ri" not in names:
        return array, names
    if array.dtype.kind not in "iuf":
        raise DataFormatError(f"an axis 'ri' needs a real array; got {array.dtype}")
    pair = np.moveaxis(array, names.index("ri"), 0)
    return pair[0] + 1j * pair[1], [name for name in names if name != "ri"]


def images(array: Array, names: Sequence[str]) -> Tensor:
    """K-space complex64 (image, coil, ...) of an array whose axes are named: the images count through the axes of
    `SERIES` in the order of the file, and through the slices fastest. Averages are averaged, sample by sample over
    those that were acquired.
    """
    array, names = _join_real_and_imaginary(array, list(names))
    counted = [*(name for name in names if name in SERIES), *("slice",) * ("slice" in names)]
    present = [n for n in ("average", *counted, "coil") if n in names] + [n for n in names if n in SPATIAL]
    dropped = tuple(i for i, name in enumerate(names) if name == "_")
    kept = [name for name in names if name != "_"]
    array = array.squeeze(dropped).transpose([kept.index(name) for name in present])
    if "average" in names:
        acquired = np.maximum((array != 0).sum(0), 1)
        array = array.sum(0) / acquired.astype(array.real.dtype)
    if "coil" not in names:
        array = np.expand_dims(array, len(counted))
    kspace = to_complex64(array.reshape(-1, *array.shape[len(counted) :]))
    if kspace.shape[1] > MOST_COILS:
        raise DataFormatError(
            f"{kspace.shape[1]} coils of {tuple(kspace.shape[2:])} points: are the axes '{','.join(names)}' right?"
        )
    return kspace


def arrange(array: Array, axes: str, domain: Domain | None = None) -> tuple[Tensor, Tensor, int | None, dict[str, int]]:
    """K-space complex64 (image, coil, y, x), its mask, readout axis and series, of an array whose axes are named.

    Two of kz, ky, kx become (y, x) in the order of the file. Of all three, the fully sampled one is the
    readout: it is transformed to image space, x = F^-1 k (centered, unitary), and its points become slices; of images
    (`domain` "image") the first one is taken for it.
    The mask is bool (y, x), or (image, y, x) where the images of a series differ. The readout axis is -2 or -1 where kx
    is y or x, else None. The series, as of a `Scan`, is empty where there are only slices.

    Raises DataFormatError if names and shape do not fit, the array is not complex, or nothing was sampled.
    """
    names = parse_axes(axes, array.shape)
    if array.size == 0:
        raise DataFormatError(f"the array is empty: {array.shape}")
    spatial = [name for name in names if name in SPATIAL]
    series = {name: array.shape[names.index(name)] for name in names if name in SERIES}
    kspace = images(array, names)
    if kspace.ndim == 5:
        kspace, along = (kspace.movedim(2, 1).flatten(0, 1), 0) if domain == "image" else split_volume(kspace)
        del spatial[along]
    kspace = to_kspace(kspace, domain)
    frames = math.prod(series.values())
    mask = torch.ones(kspace.shape[-2:], dtype=torch.bool) if domain == "image" else detect_masks(kspace, frames)
    readout = spatial.index("kx") - 2 if "kx" in spatial else None
    slices = len(kspace) // frames
    return kspace, mask, readout, series | ({"slice": slices} if slices > 1 else {}) if series else {}


def split_volume(kspace: Tensor) -> tuple[Tensor, int]:
    """3-D k-space (volume, coil, a, b, c) as slices (volume * readout, coil, y, x) along its readout, and which of
    a, b, c that was.
    """
    sampled = (kspace != 0).any(0).any(0)
    if not bool(sampled.any()):
        raise DataFormatError("no acquired line: k-space is zero everywhere")
    along = readout_axis(sampled)
    axis = along + 2
    return ifft2c(kspace, axes=(axis,)).movedim(axis, 1).flatten(0, 1).contiguous(), along
