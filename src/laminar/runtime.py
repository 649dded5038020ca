"""What belongs to the process and not to the mathematics: memory that is kept, and seeds."""

from __future__ import annotations

import ctypes
import sys

import numpy as np

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 * 1024 * 1024


def keep_freed_memory() -> bool:
    """Ask the C library to reuse large freed blocks instead of returning each to the kernel.

    An iteration over images allocates the same megabytes again and again; by default glibc maps and unmaps them every
    time, and the page faults take several times as long as the arithmetic. Returns whether the C library could be
    asked: it is glibc's `mallopt`, elsewhere nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def seed_of(*parts: int) -> int:
    """A seed made of several numbers, such as a run's seed and an index, independent of those of other numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)
