"""Where the slices of ISMRMRD readouts lie in the patient."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from laminar.data.formats.header import MrdHeader
from laminar.data.formats.readouts import Records
from laminar.scan import Placement

Vectors = npt.NDArray[np.float64]
AXES = ("read_dir", "phase_dir", "slice_dir")
_TOLERANCE = 1e-3


def sorted_slices(head: Records) -> npt.NDArray[Any]:
    """The values of the slice counter, by position along the normal where that tells them apart, else by value."""
    slices = np.unique(head["idx"]["slice"])
    first = _first(head, slices)
    frames = _frames(first)
    if frames is None or not np.allclose(frames, frames[:1], atol=_TOLERANCE):
        return slices
    along = first["position"].astype(float) @ frames[0, 2]
    apart = np.diff(np.sort(along))
    return slices[np.argsort(along)] if bool((apart > _TOLERANCE).all()) else slices


def placements_of(
    head: Records, slices: npt.NDArray[Any], header: MrdHeader, keep: int | None
) -> tuple[Placement, ...] | None:
    """That of each slice, or with `keep` of each of so many planes of each volume, along its readout.

    The position of a readout is the center of its field of view, where the Fourier transform has pixel n // 2. None
    where the readouts have no sound directions.
    """
    first = _first(head, slices)
    frames = _frames(first)
    spacing = header.spacing(0)
    if frames is None or (keep and spacing is None):
        return None
    centers = first["position"].astype(float)
    if not np.isfinite(centers).all():
        return None
    if keep is None:
        return tuple(_placed(center, read, phase) for center, (read, phase, _) in zip(centers, frames, strict=True))
    offsets = (np.arange(keep) - keep // 2) * (spacing or 0.0)
    return tuple(
        _placed(center + offset * read, phase, normal)
        for center, (read, phase, normal) in zip(centers, frames, strict=True)
        for offset in offsets
    )


def _placed(center: Vectors, x_axis: Vectors, y_axis: Vectors) -> Placement:
    (cx, cy, cz), (xx, xy, xz), (yx, yy, yz) = (v.tolist() for v in (center, x_axis, y_axis))
    return Placement((cx, cy, cz), (xx, xy, xz), (yx, yy, yz))


def _first(head: Records, slices: npt.NDArray[Any]) -> Records:
    """The head of the first readout of each slice."""
    values, at = np.unique(head["idx"]["slice"], return_index=True)
    return head[at[np.searchsorted(values, slices)]]


def _frames(head: Records) -> Vectors | None:
    """The directions (slice, axis, 3) of readout, phase and slice encoding, if they are orthonormal."""
    frames = np.stack([head[axis].astype(float) for axis in AXES], axis=1)
    if not np.isfinite(frames).all():
        return None
    products = frames @ frames.transpose(0, 2, 1)
    return frames if np.allclose(products, np.eye(3), atol=_TOLERANCE) else None
