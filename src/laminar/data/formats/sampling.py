"""Where k-space was sampled, told from the samples themselves."""

from __future__ import annotations

import torch
from torch import Tensor

from laminar.errors import DataFormatError

# A line counts as whole when this part of it is non-zero: quantized data hold some exact zeros.
WHOLE_LINE = 0.95
# Slices share a mask when each has this part of the points that any has. Masks drawn anew for each slice share
# less, however mildly they undersample.
SHARED_MASK = 0.85


def occupied(line_axis_mask: Tensor) -> Tensor:
    """The extent of a readout: true from the first to the last index that any line reaches. (line, n) ->
    (n,).
    """
    used = line_axis_mask.any(0).nonzero()
    extent = torch.zeros(line_axis_mask.shape[1], dtype=torch.bool)
    extent[int(used.min()) : int(used.max()) + 1] = True
    return extent


def has_whole_lines(mask: Tensor, axis: int) -> bool:
    """Whether every line along `axis` with any sample is sampled over the extent that all lines share.

    Zeros before and after that extent are asymmetric echo or zero padding and do not count against it.
    """
    lines = mask.movedim(axis, -1).reshape(-1, mask.shape[axis])
    lines = lines[lines.any(1)]
    filled = lines[:, occupied(lines)].float().mean(1)
    return bool((filled >= WHOLE_LINE).all())


def detect_mask(kspace: Tensor) -> Tensor:
    """The points (y, x) at which any slice or coil of `kspace` (slice, coil, y, x) is non-zero.

    Where that consists of whole lines, single zeros within them are filled: a scanner acquires lines, not
    points. Slices without any signal do not count. Raises DataFormatError if nothing is non-zero, or if the
    slices were sampled differently: there is one mask for all.
    """
    sampled = (kspace != 0).any(1)
    mask = sampled.any(0)
    if not bool(mask.any()):
        raise DataFormatError("no acquired line: k-space is zero everywhere")
    check_slices(sampled, mask)
    for axis in (0, 1):
        if has_whole_lines(mask, axis):
            lines = mask.movedim(axis, -1)
            whole = lines.any(1)[:, None] & occupied(lines)[None, :]
            return whole.movedim(-1, axis).contiguous()
    return mask


def detect_masks(kspace: Tensor, n_frames: int = 1) -> Tensor:
    """The mask (y, x) of `detect_mask`, or (image, y, x) where the frames of a series were sampled differently.

    `kspace` (image, coil, y, x) holds `n_frames` times as many slices; the slices of a frame share their mask. A frame
    without any sample has the points that any frame has.
    """
    frames = kspace.reshape(n_frames, -1, *kspace.shape[1:])
    seen = [detect_mask(frame) if bool((frame != 0).any()) else None for frame in frames]
    found = [mask for mask in seen if mask is not None]
    if not found:
        raise DataFormatError("no acquired line: k-space is zero everywhere")
    if all(torch.equal(mask, found[0]) for mask in found):
        return found[0]
    union = torch.stack(found).any(0)
    masks = torch.stack([union if mask is None else mask for mask in seen])
    return masks.repeat_interleave(frames.shape[1], 0)


def check_slices(sampled: Tensor, union: Tensor) -> None:
    """Raise DataFormatError if a slice with signal lacks whole lines of `union`, or many of its points.

    `sampled` is bool (slice, y, x). Single zeros are no difference.
    """
    for index, own in enumerate(sampled):
        same_lines = all(torch.equal(own.any(axis), union.any(axis)) for axis in (0, 1))
        if bool(own.any()) and not (same_lines and own.sum() >= SHARED_MASK * union.sum()):
            raise DataFormatError(
                f"the slices were sampled differently, but one mask must hold for all: slice {index} has "
                f"{int(own.sum())} of the {int(union.sum())} points that any slice has"
            )


def readout_axis(mask: Tensor) -> int:
    """The axis of a 3-D mask along which every acquired line is whole; the last of several."""
    for axis in (2, 1, 0):
        if mask.shape[axis] > 1 and has_whole_lines(mask, axis):
            return axis
    raise DataFormatError(
        "no fully sampled axis among kz, ky, kx: a 3-D Cartesian scan has one, its readout, along which it is split"
    )


def empty_ends(mask: Tensor) -> dict[str, tuple[int, int]]:
    """The lines (before, after) what was acquired of a mask (y, x), along each axis "y" or "x" that has such.

    Lines that an undersampled scan leaves out at its edges are not more than twice what lies between two others, or a
    hundredth of all.
    """
    found = {}
    for name, lines in (("y", mask.any(1)), ("x", mask.any(0))):
        at = lines.nonzero()[:, 0]
        apart = int(at.diff().max()) if len(at) > 1 else 1
        ends = (int(at[0]), len(lines) - 1 - int(at[-1]))
        before, after = (end if end > max(2 * apart, 0.01 * len(lines)) else 0 for end in ends)
        if before or after:
            found[name] = (before, after)
    return found


def padding_note(mask: Tensor) -> str | None:
    """A line on zero padding, at both ends of an axis, with the acceleration over the rest of k-space; None without."""
    padding = {name: ends for name, ends in empty_ends(mask).items() if min(ends)}
    if not padding:
        return None
    (top, bottom), (left, right) = (padding.get(name, (0, 0)) for name in "yx")
    extent = mask[top : mask.shape[0] - bottom, left : mask.shape[1] - right]
    where = " and ".join(f"{before} + {after} lines along {name}" for name, (before, after) in padding.items())
    return (
        f"k-space is zero-padded by {where}: R = {extent.numel() / int(extent.sum()):.2f} over the rest, "
        f"{mask.numel() / int(mask.sum()):.2f} over all"
    )


def partial_note(mask: Tensor) -> str | None:
    """A line on lines missing at one end of an axis: partial Fourier or asymmetric echo; None without."""
    sizes = dict(zip("yx", mask.shape, strict=True))
    missing = [
        f"{sizes[name] - max(ends)} of {sizes[name]} along {name}"
        for name, ends in empty_ends(mask).items()
        if not min(ends)
    ]
    return f"samples are {' and '.join(missing)}: partial Fourier or asymmetric echo" if missing else None
