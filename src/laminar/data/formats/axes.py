"""From an array with named axes to k-space (slice, coil, y, x) and its mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from laminar.data.formats.domain import Domain, to_kspace
from laminar.data.formats.sampling import detect_mask, readout_axis
from laminar.errors import DataFormatError
from laminar.operators import ifft2c

Array = npt.NDArray[Any]

SPATIAL = ("kz", "ky", "kx")
MOST_COILS = 128  # more is an image axis that was called coil
NAMES = ("slice", "coil", *SPATIAL, "ri", "_")
KNOWN = "slice, coil, kz, ky, kx, ri (a pair of real and imaginary part) and _ (length 1)"


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
        if name == "ri" and length != 2:
            raise DataFormatError(f"'ri' is the pair of real and imaginary part, but {tuple(shape)} has {length}")
    if sum(name in SPATIAL for name in names) < 2:
        raise DataFormatError(f"'{axes}' must name at least two of kz, ky, kx")
    return names


def example_axes(shape: Sequence[int]) -> str:
    """An example of an axis string that fits `shape`: the shortest axis as coils, the longest as k-space."""
    order = sorted((i for i, n in enumerate(shape) if n > 1), key=lambda i: shape[i], reverse=True)
    n_spatial = min(len(order), 2)
    names = ["_"] * len(shape)
    for index, name in zip(sorted(order[:n_spatial]), ("ky", "kx"), strict=False):
        names[index] = name
    for index, name in zip(reversed(order[n_spatial:]), ("coil", "slice", "kz"), strict=False):
        names[index] = name
    return ",".join(names)


def to_complex64(array: Array) -> Tensor:
    """The array as complex64; real and integer arrays are refused, because a magnitude is not k-space."""
    if not np.iscomplexobj(array):
        raise DataFormatError(
            f"k-space must be complex; got {array.dtype} {array.shape} (a real array needs an axis 'ri' of length 2)"
        )
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows becomes Inf, which Scan refuses
        return torch.from_numpy(np.require(array, np.complex64, ["C", "W"]))


def _join_real_and_imaginary(array: Array, names: list[str]) -> tuple[Array, list[str]]:
    if "ri" not in names:
        return array, names
    if array.dtype.kind not in "iuf":
        raise DataFormatError(f"an axis 'ri' needs a real array; got {array.dtype}")
    pair = np.moveaxis(array, names.index("ri"), 0)
    return pair[0] + 1j * pair[1], [name for name in names if name != "ri"]


def arrange(array: Array, axes: str, domain: Domain | None = None) -> tuple[Tensor, Tensor, int | None]:
    """K-space complex64 (slice, coil, y, x), mask bool (y, x) and readout axis of an array whose axes are named.

    Two of kz, ky, kx become (y, x) in the order of the file. Of all three, the fully sampled one is the
    readout: it is transformed to image space, x = F^-1 k (centered, unitary), and its points become slices; of images
    (`domain` "image") the first one is taken for it.
    The readout axis is -2 or -1 where kx is y or x, else None.

    Raises DataFormatError if names and shape do not fit, the array is not complex, or nothing was sampled.
    """
    names = parse_axes(axes, array.shape)
    if array.size == 0:
        raise DataFormatError(f"the array is empty: {array.shape}")
    array, names = _join_real_and_imaginary(array, names)
    spatial = [name for name in names if name in SPATIAL]
    present = [name for name in ("slice", "coil", *spatial) if name in names]
    dropped = tuple(i for i, name in enumerate(names) if name == "_")
    kept = [name for name in names if name != "_"]
    array = array.squeeze(dropped).transpose([kept.index(name) for name in present])
    for position, name in enumerate(("slice", "coil")):
        if name not in present:
            array = np.expand_dims(array, position)
    kspace = to_complex64(array)
    if kspace.shape[1] > MOST_COILS:
        raise DataFormatError(
            f"{kspace.shape[1]} coils of {tuple(kspace.shape[2:])} points: are the axes '{axes}' right?"
        )
    if kspace.ndim == 5:
        kspace, along = (kspace.movedim(2, 1).flatten(0, 1), 0) if domain == "image" else split_volume(kspace)
        del spatial[along]
    kspace = to_kspace(kspace, domain)
    mask = torch.ones(kspace.shape[-2:], dtype=torch.bool) if domain == "image" else detect_mask(kspace)
    return kspace, mask, spatial.index("kx") - 2 if "kx" in spatial else None


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
