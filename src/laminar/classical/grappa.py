"""GRAPPA: missing lines of k-space from their acquired neighbors in all coils."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise, zip_longest

import torch
from torch import Tensor
from torch.nn.functional import pad

from laminar.errors import ConfigError

Offsets = tuple[int, ...]
"""Acquired lines that a missing line is made of, relative to it."""
_FLOOR = 1e-5
"""Least penalty, as part of the mean power of the calibration samples. Without noise these, the strong center of
k-space, would leave directions of a kernel to rounding, and the weak lines farther out would take them up."""


@torch.no_grad()
def grappa(
    kspace: Tensor,
    mask: Tensor,
    noise_level: float | Tensor = 0.0,
    *,
    weight: float = 4.0,
    n_lines: int = 4,
    width: int = 5,
) -> Tensor:
    """K-space with its missing lines filled in; acquired samples are kept as they are.

        y_c(k, x) = sum_{c', o, d} w_{c'c}(o, d) y_c'(k + o, x + d)
        w = argmin ||S w - t||^2 + n max(weight sigma^2, 1e-5 p) ||w||^2

    with o the lines nearest to k that were acquired (half of `n_lines` on either side; fewer at the border of k-space,
    or where they span more than half of the calibration lines), d = -(width // 2) ... width // 2 along the readout, and
    (S, t) the n places among the calibration lines where the pattern fits, of mean power p: a kernel for every pattern
    that occurs. A slice has its own kernels. Missing lines farther out than the largest gap between acquired lines stay
    zero.

    Args:
        kspace: complex (batch, coil, y, x), zero frequency at n // 2.
        mask: bool (y, x), true = acquired, one for all slices.
        noise_level: sigma per complex sample in the units of `kspace`, one number or (batch,).
        weight: of the penalty. The noise of the calibration lines alone would make it 0; more is better because the
            kernel is used farther out, where there is less signal.
        n_lines: lines of a kernel, even.
        width: samples of a kernel along the readout, odd.

    Raises ConfigError if the mask is not made of whole lines, has too few calibration lines for a pattern, or a
    parameter is out of range. Source: Griswold et al. 2002, doi:10.1002/mrm.10171.
    """
    _check(kspace, mask, n_lines, width, weight)
    axis = _phase_axis(mask)
    if axis == -1:
        return grappa(kspace.mT, mask.mT, noise_level, weight=weight, n_lines=n_lines, width=width).mT
    acquired, readout = mask.any(1), _run(mask.any(0))
    block = kspace[..., readout].to(torch.complex128)
    ridge = weight * torch.as_tensor(noise_level, dtype=torch.float64, device=kspace.device).square().reshape(-1, 1, 1)
    calibration = block[..., _calibration_lines(acquired), :]
    filled = block.clone()
    for offsets, targets in _patterns(acquired, n_lines).items():
        kernel = _calibrate(calibration, offsets, width, ridge)
        sources = _sources(block, torch.tensor(targets), offsets, width)
        filled[..., targets, :] = torch.einsum("bnkx,bnc->bckx", sources, kernel)
    result = kspace.clone()
    result[..., readout] = filled.to(kspace.dtype)
    return torch.where(mask, kspace, result)


def _check(kspace: Tensor, mask: Tensor, n_lines: int, width: int, weight: float) -> None:
    if kspace.ndim != 4 or not kspace.is_complex() or mask.dtype != torch.bool or mask.shape != kspace.shape[-2:]:
        raise ConfigError(
            "GRAPPA needs complex k-space (batch, coil, y, x) and one bool mask (y, x); "
            f"got {kspace.dtype} {tuple(kspace.shape)} and {mask.dtype} {tuple(mask.shape)}"
        )
    if n_lines < 2 or n_lines % 2 or width < 1 or not width % 2 or not weight >= 0:
        raise ConfigError(
            f"GRAPPA needs an even n_lines >= 2, an odd width >= 1 and a weight >= 0; got {n_lines}, {width}, {weight}"
        )


def _phase_axis(mask: Tensor) -> int:
    """The axis along which lines are missing: -2 or -1. The other one must be sampled without gaps."""
    rows, columns = mask.any(1), mask.any(0)
    if bool(mask.any()) and torch.equal(mask, rows[:, None] & columns):
        for axis, readout in ((-2, columns), (-1, rows)):
            run = _run(readout)
            if int(readout.sum()) == run.stop - run.start:
                return axis
    raise ConfigError("GRAPPA needs a mask of whole lines; this one undersamples both axes, or nothing is acquired")


def _run(lines: Tensor) -> slice:
    """From the first to the last line that is true."""
    found = lines.nonzero()
    return slice(int(found[0]), int(found[-1]) + 1)


def _calibration_lines(acquired: Tensor) -> slice:
    """The lines around the zero frequency without a gap."""
    center = len(acquired) // 2
    missing = (~acquired).nonzero().flatten()
    below, above = missing[missing <= center], missing[missing >= center]
    return slice(int(below[-1]) + 1 if len(below) else 0, int(above[0]) if len(above) else len(acquired))


def _patterns(acquired: Tensor, n_lines: int) -> dict[Offsets, list[int]]:
    """The missing lines of every pattern of nearest acquired lines that the calibration lines are wide enough for."""
    lines = acquired.nonzero().flatten().tolist()
    gap = max((b - a for a, b in pairwise(lines)), default=1)
    calibration = _calibration_lines(acquired)
    room = calibration.stop - calibration.start
    found: defaultdict[Offsets, list[int]] = defaultdict(list)
    for target in (~acquired).nonzero().flatten().tolist():
        if lines[0] - gap < target < lines[-1] + gap:
            found[_offsets(lines, target, n_lines, room)].append(target)
    return dict(found)


def _offsets(lines: list[int], target: int, n_lines: int, room: int) -> Offsets:
    """The nearest acquired lines on either side of the target, relative to it.

    More than the nearest pair only if they span at most half of the `room` calibration lines: a kernel that fits into
    few places would know only the center of k-space.
    """
    below, above = ([n - target for n in reversed(lines) if n < target], [n - target for n in lines if n > target])
    pairs = list(zip_longest(below, above))[: n_lines // 2]
    offsets = [n for pair in pairs for n in sorted((n for n in pair if n is not None), key=abs)]
    while offsets and (_span(offsets) >= room or (len(offsets) > 2 and _span(offsets) > room / 2)):
        offsets.pop()
    if not offsets:
        raise ConfigError(
            f"GRAPPA needs calibration lines: {max(room, 0)} lines around the zero frequency are without a gap, and "
            f"line {target} has no acquired neighbor as near as that; cg-sense takes lines apart, too"
        )
    return tuple(sorted(offsets))


def _span(offsets: Sequence[int]) -> int:
    return max(0, *offsets) - min(0, *offsets)


def _calibrate(calibration: Tensor, offsets: Offsets, width: int, ridge: Tensor) -> Tensor:
    """The kernel (batch, source, coil) of a pattern, fitted wherever it lies inside the calibration lines."""
    lines = torch.arange(max(0, -min(offsets)), calibration.shape[-2] - max(0, *offsets))
    inside = slice(width // 2, calibration.shape[-1] - width // 2)
    sources = _sources(calibration, lines, offsets, width)[..., inside].flatten(2)
    targets = calibration[..., lines, inside].flatten(2)
    gram = sources.conj() @ sources.mT
    power = gram.diagonal(dim1=-2, dim2=-1).real.mean(-1)[:, None, None]
    damping = torch.maximum(sources.shape[-1] * ridge, _FLOOR * power).clamp_min(torch.finfo(power.dtype).tiny)
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    kernel: Tensor = torch.linalg.solve(gram + damping * identity, sources.conj() @ targets.mT)
    return kernel


def _sources(block: Tensor, targets: Tensor, offsets: Offsets, width: int) -> Tensor:
    """The samples that make each target: (batch, coil * offset * width, target, x), zero beyond the readout."""
    lines = torch.stack([block[..., targets + offset, :] for offset in offsets], 2)
    return pad(lines, (width // 2, width // 2)).unfold(-1, width, 1).permute(0, 1, 2, 5, 3, 4).flatten(1, 3)
