"""The operators beside straightforward peers: FFT, sensitivities, `A`, `A^H A` and one regularized solve.

    python -m benchmarks.operators [--rounds 7] [--device cuda]

One simulated 15-coil 320 x 320 slice, R = 4 along one axis, maps by ESPIRiT. All in one process, taking turns; a
ratio compares two of the same round. "fastmri": that package's functions on real pairs, put together as its VarNet
does. "plain": the 2-D formulation in a few lines of torch. "bart": a process of its own, its start and files included.
Beside the seconds of the clock stand those of the processor, summed over threads; on a machine with other work, run
with OMP_NUM_THREADS=1 and believe those.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.record import write_record
from benchmarks.varnet import scan
from laminar.data.preparation import Problem, prepare
from laminar.operators import Encoding, conjugate_gradient, fft2c, ifft2c
from laminar.runtime import keep_freed_memory

Task = Callable[[], Any]
WEIGHT, ITERATIONS, TOLERANCE = 0.0024, 12, 1e-3  # the first cascade of the shipped network on this slice


def timed(task: Task, device: str = "cpu") -> dict[str, float]:
    start, processor = time.perf_counter(), _processor()
    task()
    if device == "cuda":
        torch.cuda.synchronize()
    return {"seconds": time.perf_counter() - start, "processor_seconds": _processor() - processor}


def _processor() -> float:
    """Seconds of this process and of the children it has waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system if not _CHILDLESS else time.process_time()


_CHILDLESS = True


def take_turns(tasks: dict[str, Task], rounds: int, device: str = "cpu") -> dict[str, dict[str, list[float]]]:
    """Seconds of every round of every task, after one round to warm up."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in tasks}
    for turn in range(rounds + 1):
        for name, task in tasks.items():
            measured = timed(task, device)
            if turn:
                found[name].append(measured)
    return {name: {key: [turn[key] for turn in turns] for key in turns[0]} for name, turns in found.items()}
