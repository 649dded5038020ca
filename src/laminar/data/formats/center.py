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

SMALLEST = 16  # points of an axis: fewer do not tell
_NEAR = 32  # the peak may lie off by n over this: lines left out, the phase of an image
_PEAK, _OUTSHINES = 0.1, 3.0
_LINES, _FEWEST = 24, 8  # of the calibration region
_BAND = 24  # a part of an axis, to either side of its middle and at either end
_AIR = 2.5  # 800 simulated objects, half of them folded, have at most 1.9


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
    if min(scan.matrix) < SMALLEST:
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
    """The axes, -2 and -1, along which the image of the calibration region lies around the ends, air in the middle.

        e = log10(energy in the outermost _BAND of an axis) - log10(energy in the innermost)

    An object that fills its field of view, or lies near a coil, may have e up to 1 along an axis; one in the middle of
    air, whose origin is in the corner, 2 to 6 along each. It is moved where the sum of the positive ones exceeds _AIR.
    """
    try:
        rows, columns = calibration_region(part.grid.common_mask, limit=_LINES)
    except DataFormatError:
        return []
    coils = torch.zeros_like(part.data[0])
    block = part.data[0][..., rows, columns]
    windows = [torch.hann_window(n, periodic=True) for n in block.shape[-2:]]
    coils[..., rows, columns] = block * windows[0][:, None] * windows[1]
    power = ifft2c(coils).abs().square()
    power = (power / power.sum((-2, -1), keepdim=True).clamp_min(torch.finfo(power.dtype).tiny)).sum(0)
    signs = {axis: _ends(power.sum(-3 - axis)) for axis in (-2, -1) if block.shape[axis] >= _FEWEST}
    found = {axis: sign for axis, sign in signs.items() if sign > 0}
    return list(found) if sum(found.values()) > _AIR else []


def _ends(profile: Tensor) -> float:
    """How many times ten more of a profile (n,) there is at its ends than in its middle."""
    n, reach = len(profile), max(1, len(profile) // _BAND)
    middle = profile[n // 2 - reach : n // 2 + reach].sum()
    ends = profile[:reach].sum() + profile[n - reach :].sum()
    return float((ends / middle.clamp_min(torch.finfo(profile.dtype).tiny)).clamp_min(1e-30).log10())


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
