"""What belongs to processes and not to the mathematics: memory that is kept, ranks, workers, and seeds."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterable
from multiprocessing import util
from multiprocessing.process import BaseProcess

import numpy as np

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 * 1024 * 1024
_SET_PARENT_DEATH_SIGNAL = 1
MOST_WORKERS = 128


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


def leads() -> bool:
    """Whether this process is the first of those that a launcher started together."""
    return all(os.environ.get(rank, "0") == "0" for rank in ("LOCAL_RANK", "RANK", "SLURM_PROCID"))


def follow_parent(worker: int = 0) -> None:
    """The first act of a data worker: leave signals to its parent, and die with it.

    Ctrl-C, SLURM and `timeout` signal the whole group; the parent needs its workers for the step that it finishes.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def end_at_exit(workers: Iterable[BaseProcess]) -> None:
    """Kill those of these data workers that are still there when this process ends.

    An error that holds its frames, or a loader in a global variable, keeps them. Multiprocessing then asks them to end
    by SIGTERM, which they leave to their parent, and waits for ever.
    """
    util.Finalize(None, _end, (list(workers),), exitpriority=0)


def _end(workers: list[BaseProcess]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # else the loader takes them for crashed
    for worker in workers:
        worker.kill()


def seed_of(*parts: int) -> int:
    """A seed made of several numbers, such as a run's seed and an index, independent of those of other numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)
