"""What it costs to open HDF5 files in a process of its own, on good files: percent of the time of reading them.

    nice -n 10 python -m benchmarks.safety [--rounds 15]

"safe" is what Laminar does. "bare" calls the same code in its own process, without limits, and reads all numbers by
HDF5. They take turns; the cost is by wall-clock time, of a slice of fastMRI size (15 coils, 640 x 368, simulated noise)
or of small scans read whole. "open" looks through the file and finds the mask; `start_seconds` is what the first HDF5
file of a program waits for the process to start.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
import torch

from benchmarks.operators import summary, take_turns
from benchmarks.readers import ismrmrd_file, matlab_file
from benchmarks.record import write_record
from laminar.data.formats import hdf5, hdf5_worker, read, stream, write_fastmri
from laminar.runtime import keep_freed_memory
from laminar.scan import Scan, cartesian

MATRIX, COILS, SLICES = (640, 368), 15, 4


def ask(what: str, *arguments: Any) -> tuple[Any, list[Any]]:
    """The answer of the sandbox, in this process."""
    answer = hdf5_worker.REQUESTS[what](*arguments)
    parts = list(answer.pieces)
    if what == "numbers" and len(parts) > 1:
        parts = [np.concatenate(parts)]
    elif what == "readouts":
        parts = [parts[0], parts[1], np.concatenate(parts[2:])]
    return answer.value, parts


@contextmanager
def bare() -> Iterator[None]:
    def dataset(*arguments: Any) -> hdf5.Dataset:
        return replace(made(*arguments), offset=None)

    made = hdf5._dataset
    with (
        patch.object(hdf5.SANDBOX, "ask", ask),
        patch.object(hdf5, "_dataset", dataset),
        patch.object(hdf5_worker, "limited", lambda size=0: nullcontext()),
    ):
        yield


def freshly(action: Callable[[], Any]) -> Callable[[], Any]:
    """The action on a file that was not looked through before."""

    def run() -> Any:
        hdf5._survey.cache_clear()
        return action()

    return run


def packed(path: Path, scan: Scan) -> Path:
    """The same file with its k-space in compressed chunks, a coil each."""
    write_fastmri(path, scan)
    with h5py.File(path, "r+") as file:
        del file["kspace"]
        file.create_dataset("kspace", data=scan.kspace.numpy(), chunks=(1, 1, *MATRIX), compression="gzip")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    keep_freed_memory()
    draw = torch.Generator().manual_seed(0)
    kspace = torch.randn(SLICES, COILS, *MATRIX, dtype=torch.complex64, generator=draw)
    scan = cartesian(kspace, torch.ones(MATRIX, dtype=torch.bool), image_shape=(320, 320))
    small = cartesian(kspace[:2, :8, :320, :320].contiguous(), scan.mask[:320, :320])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_fastmri(folder / "plain.h5", scan)
        started = time.perf_counter()
        hdf5.survey(folder / "plain.h5")
        started = time.perf_counter() - started
        plain, gzip = (stream(path) for path in (folder / "plain.h5", packed(folder / "packed.h5", scan)))
        with bare():
            hdf5._survey.cache_clear()
            bare_plain, bare_gzip = (stream(folder / f"{each}.h5") for each in ("plain", "packed"))
        matlab = matlab_file(folder / "a.mat", small)[0]
        tasks: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "fastMRI, one slice": (lambda: plain.slice(1), lambda: bare_plain.slice(1)),
            "fastMRI in gzip, one slice": (lambda: gzip.slice(1), lambda: bare_gzip.slice(1)),
            "fastMRI, open": (lambda: stream(folder / "plain.h5"),) * 2,
            "MATLAB v7.3": (matlab,) * 2,
        }
        with patch("benchmarks.readers.SIZE", 320):
            tasks["ISMRMRD"] = (ismrmrd_file(folder / "a.mrd.h5", small)[0],) * 2
        assert read(folder / "a.mrd.h5").n_slices == 2
        results = {}
        for what, (safe, unsafe) in tasks.items():

            def without(unsafe: Callable[[], Any] = unsafe) -> None:
                with bare():
                    freshly(unsafe)()

            found = summary(take_turns({"safe": freshly(safe), "bare": without}, args.rounds), "bare")
            results[what] = {"cost_percent": [100 * (r - 1) for r in found["safe"]["seconds_ratio"]], "seconds": found}
            middle, low, high = results[what]["cost_percent"]
            print(f"{what:28} {middle:+6.1f} % ({low:+.1f} to {high:+.1f})")
    print(write_record("safety", {"start_seconds": started, "files": results}))


if __name__ == "__main__":
    main()
