"""Cropping: the oversampling of the readout before a reconstruction, the image after it."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor
from torch.nn.functional import pad

from laminar.geometry import Cartesian
from laminar.operators import fft2c, ifft2c
from laminar.scan import Scan


def crop_readout(scan: Scan) -> Scan:
    """Remove readout oversampling: crop the image along every axis that is sampled without gaps.

    Exact, because such an axis can be transformed by itself; it saves half the work where a scanner oversamples twice.
    """
    if scan.image_shape is None or not isinstance(scan.geometry, Cartesian):
        return scan
    for axis, size in zip((-2, -1), scan.image_shape, strict=True):
        whole = bool((scan.mask.all(axis) == scan.mask.any(axis)).all())
        if whole and size < scan.kspace.shape[axis]:
            scan = _crop_axis(scan, axis, size)
    return scan


def _crop_axis(scan: Scan, axis: int, size: int) -> Scan:
    image = _narrow(ifft2c(scan.kspace, (axis,)), axis, size)
    maps = scan.sensitivities
    return replace(
        scan,
        data=fft2c(image, (axis,)),
        geometry=replace(scan.grid, mask=_narrow(scan.mask, axis, size)),
        sensitivities=None if maps is None else _narrow(maps, axis, size),
    )


def center_crop(image: Tensor, shape: tuple[int, int] | None) -> Tensor:
    """The central part (..., y, x) of an image; an axis that is shorter than asked for is left as it is."""
    if shape is None:
        return image
    for axis, size in zip((-2, -1), shape, strict=True):
        image = _narrow(image, axis, min(size, image.shape[axis]))
    return image


def center_pad(image: Tensor, shape: tuple[int, int]) -> Tensor:
    """An image (..., y, x) amid zeros, so that `center_crop` gives it back."""
    before = [n // 2 - size // 2 for n, size in zip(shape, image.shape[-2:], strict=True)]
    after = [n - size - first for n, size, first in zip(shape, image.shape[-2:], before, strict=True)]
    return pad(image, (before[1], after[1], before[0], after[0]))


def _narrow(tensor: Tensor, axis: int, size: int) -> Tensor:
    return tensor.narrow(axis, tensor.shape[axis] // 2 - size // 2, size)
