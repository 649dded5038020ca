"""Where the zero frequency and the image origin are in a scan, told from its energy, and how they are moved to n // 2.

Rolling k-space multiplies the image by a linear phase, and a linear phase on k-space rolls the image: both are exact.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from laminar.data.coils import calibration_region
from laminar.data.formats.lazy import LazyScan
from laminar.errors import DataFormatError
from laminar.operators import ifft2c
from laminar.scan import Scan

_SMALLEST = 16  # points of an axis: fewer do not tell
_NEAR = 32  # the peak may lie off by n over this: lines left out, the phase of an image
_PEAK, _OUTSHINES = 0.1, 3.0
_PLAIN, _WEAK = 0.25, 0.05  # resultants of energy around the ends of an axis
_JOINED = 0.35  # by which an image coheres better around its ends than around its middle
_LINES = 24  # of the calibration region


def centered(scan: LazyScan) -> LazyScan:
    """The scan with its zero frequency and image origin at n // 2; where they were elsewhere, its notes say so."""
    part = _telling(scan)
    if part is None:
        return scan
    shift = dc_offset(part.data)
    if any(shift):
        scan = _rolled(scan, shift)
        y, x = (n // 2 + d for n, d in zip(scan.matrix, shift, strict=True))
        scan = scan.noting(f"the zero frequency was at (y, x) = ({y}, {x}), not at n // 2: k-space was recentered")
        part = _telling(scan) or part
    if axes := corner_axes(part):
        names = " and ".join("yx"[axis + 2] for axis in axes)
        scan = _ramped(scan, axes).noting(f"the image origin was in the corner along {names}: it was recentered")
    return scan


def _telling(scan: LazyScan) -> Scan | None:
    """The middle slice, or else the first one with signal; None for a grid that is too small."""
    if min(scan.matrix) < _SMALLEST:
        return None
    order = [scan.n_slices // 2, *range(scan.n_slices)]
    return next((part for part in map(scan.slice, order) if bool(part.data.any())), None)


def _power(array: Tensor) -> Tensor:
    """Energy (y, x) over the coils of the first image (image, coil, y, x)."""
    coils = array[0]
    coils = coils / coils.abs().amax().clamp_min(torch.finfo(torch.float32).tiny)
    return coils.abs().square().sum(0)


def dc_offset(kspace: Tensor) -> tuple[int, int]:
    """How far (y, x) the peak of the energy (image, coil, y, x) lies from n // 2; zero where it is near, or no peak.

    It is one if a 32nd of each axis around it holds a tenth of all energy and three times that around n // 2.
    """
    power = _power(kspace)
    height, width = power.shape
    reach = [max(1, n // (2 * _NEAR)) for n in power.shape]
    padded = torch.nn.functional.pad(power[None, None], (reach[1],) * 2 + (reach[0],) * 2, mode="circular")
    size = (2 * reach[0] + 1, 2 * reach[1] + 1)
    around = torch.nn.functional.avg_pool2d(padded, size, stride=1)[0, 0] * math.prod(size)
    near = around[_middle(height), _middle(width)].amax()
    peak = divmod(int(power.argmax()), width)
    there = around[peak]
    if there < _PEAK * power.sum() or there < _OUTSHINES * near:
        return 0, 0
    offset = peak[0] - height // 2, peak[1] - width // 2
    return offset[0] if abs(offset[0]) > height // _NEAR else 0, offset[1] if abs(offset[1]) > width // _NEAR else 0


def _middle(n: int) -> slice:
    return slice(n // 2 - n // _NEAR, n // 2 + n // _NEAR + 1)


def corner_axes(part: Scan) -> list[int]:
    """The axes, -2 and -1, along which the image of the calibration region lies around the ends, not the middle.

    `r = sum_n p_n exp(2 pi i (n - n // 2) / N) / sum_n p_n` of the energy p along an axis: its angle is where the image
    lies, its length how compact it is. That of an object that fills its field of view may lie there too, where it is
    fat or near a coil: so the ends must also join, the coil images be one image across them and not across the middle,
    by _JOINED along all these axes together. One axis must lie there plainly; then the other need do so weakly.
    """
    try:
        rows, columns = calibration_region(part.grid.common_mask, limit=_LINES)
    except DataFormatError:
        return []
    block = part.data[..., rows, columns]
    power, coils = _power(ifft2c(block)), torch.zeros_like(part.data[0])
    coils[..., rows, columns] = block[0]
    coils = ifft2c(coils)
    signs = {
        axis: (_resultant(power.sum(-3 - axis)), _joined(coils, axis)) for axis in (-2, -1) if power.shape[axis] >= 8
    }
    found = {axis: sign for axis, sign in signs.items() if sign[0].real < -_WEAK and abs(sign[0].imag) < -sign[0].real}
    plain = any(r.real <= -_PLAIN for r, _ in found.values())
    return list(found) if plain and sum(joined for _, joined in found.values()) > _JOINED else []


def _resultant(profile: Tensor) -> complex:
    n = len(profile)
    angle = 2 * torch.pi * (torch.arange(n) - n // 2) / n
    return complex((torch.polar(profile, angle.to(profile)).sum() / profile.sum()).item())


def _joined(coils: Tensor, axis: int) -> float:
    """How much better the coil images (coil, y, x) cohere around the ends of an axis than around its middle."""
    return _coherence(coils, axis, 0) - _coherence(coils, axis, coils.shape[axis] // 2)


def _coherence(coils: Tensor, axis: int, place: int) -> float:
    """`sum |<a, b>| / sum ||a|| ||b||` of lines a and b two cells of resolution apart, over pairs around a place."""
    n = coils.shape[axis]
    apart = max(1, round(n / _LINES))
    around = torch.arange(place - apart, place + apart + 1)
    before, after = (coils.index_select(axis, (around + d) % n).movedim(axis, 0).flatten(1) for d in (-apart, apart))
    joint = (before.conj() * after).sum(1).abs().sum()
    return float(joint / (before.norm(dim=1) * after.norm(dim=1)).sum().clamp_min(torch.finfo(torch.float32).tiny))


def _rolled(scan: LazyScan, shift: tuple[int, int]) -> LazyScan:
    back = (-shift[0], -shift[1])
    grid = replace(scan.grid, mask=scan.grid.mask.roll(back, (-2, -1)))

    def load(index: int) -> Scan:
        part = scan.load(index)
        return part.with_kspace(part.data.roll(back, (-2, -1)), part.mask.roll(back, (-2, -1)))

    return replace(scan, geometry=grid, load=load, held=None)


def _ramped(scan: LazyScan, axes: list[int]) -> LazyScan:
    def load(index: int) -> Scan:
        part = scan.load(index)
        maps = part.sensitivities
        for axis in axes:
            maps = None if maps is None else maps.roll(maps.shape[axis] // 2, axis)
        return replace(part.with_kspace(origin_at_center(part.data, axes)), sensitivities=maps)

    return replace(scan, load=load, held=None)


def origin_at_center(kspace: Tensor, axes: list[int]) -> Tensor:
    """Centered k-space of images whose origin is at index n // 2, of such with the origin at index 0.

    y'_k = y_k exp(2 pi i k c / n),   c = n // 2,   k = -c .. n - 1 - c
    """
    for axis in axes:
        n = kspace.shape[axis]
        ramp = (torch.arange(n, dtype=torch.float64) - n // 2) * (n // 2) % n
        phase = torch.polar(torch.ones(n, dtype=torch.float64), 2 * torch.pi * ramp / n)
        kspace = kspace * phase.to(kspace.dtype).reshape(-1, *[1] * (-1 - axis))
    return kspace
