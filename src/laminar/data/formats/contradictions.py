"""Where the encodingLimits of an ISMRMRD header contradict the readouts: these are believed, and a note says so."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from laminar.data.formats.center import SMALLEST, dc_offset
from laminar.data.formats.header import MrdHeader
from laminar.data.formats.readouts import Records

_SPARE = 2  # as many times the widest gap between lines may be missing at an end


def counter_notes(head: Records, header: MrdHeader, steps: tuple[int, ...]) -> Iterator[str]:
    """A line for each phase encoding whose counters lie beyond its limits, or end far within them."""
    for step in steps:
        limits, counters = header.limits_of(step), np.unique(head["idx"][f"kspace_encode_step_{step}"]).astype(int)
        if limits is None:
            continue
        first, last = int(counters[0]), int(counters[-1])
        spare = _SPARE * int(np.diff(counters).max(initial=1))
        beyond = first < limits.minimum or last > limits.maximum or not first <= limits.center <= last
        if beyond or first > limits.minimum + spare or last < limits.maximum - spare:
            yield (
                f"encodingLimits of phase encoding {step} ({limits}) and the readouts, which count {first} to {last}, "
                "contradict each other: the mask is that of the readouts"
            )


def center_notes(image: Tensor, header: MrdHeader, steps: dict[int, int]) -> Iterator[str]:
    """A line for each phase encoding whose zero frequency is plainly elsewhere than its limits say.

    `image` is one, (coil, y, x) on the grid, `steps` the phase encoding along an axis of it, -2 or -1.
    """
    if min(image.shape[-2:]) < SMALLEST or not bool(image.any()):
        return
    shift = dc_offset(image[None])
    for axis, step in steps.items():
        if shift[axis] and (limits := header.limits_of(step)) is not None:
            yield (
                f"encodingLimits of phase encoding {step} ({limits}) contradict the readouts, whose zero frequency is "
                f"at {limits.center + shift[axis]}"
            )
