"""Cropping: the oversampling of the readout before a reconstruction, the image after it."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from laminar.acquisition import Acquisition
from laminar.operators import fft2c, ifft2c


def crop_readout(scan: Acquisition) -> Acquisition:
    """Remove readout oversampling: crop the image along every axis that is sampled without gaps.

    Exact, because such an axis can be transformed by itself; it saves half the work where a scanner oversamples twice.
    """
    if scan.image_shape is None:
        return scan
    for axis, size in zip((-2, -1), scan.image_shape, strict=True):
        lines = scan.mask.all(axis)
        whole = bool((lines == scan.mask.any(axis)).all())
        if whole and size < scan.kspace.shape[axis]:
            scan = _crop_axis(scan, axis, size)
    return scan


def _crop_axis(scan: Acquisition, axis: int, size: int) -> Acquisition:
    image = _narrow(ifft2c(scan.kspace, (axis,)), axis, size)
    maps = scan.sensitivities
    return replace(
        scan,
        kspace=fft2c(image, (axis,)),
        mask=_narrow(scan.mask, axis, size),
        sensitivities=None if maps is None else _narrow(maps, axis, size),
    )


def center_crop(image: Tensor, shape: tuple[int, int] | None) -> Tensor:
    """The central part (..., y, x) of an image; an axis that is shorter than asked for is left as it is."""
    if shape is None:
        return image
    for axis, size in zip((-2, -1), shape, strict=True):
        image = _narrow(image, axis, min(size, image.shape[axis]))
    return image


def _narrow(tensor: Tensor, axis: int, size: int) -> Tensor:
    return tensor.narrow(axis, tensor.shape[axis] // 2 - size // 2, size)
