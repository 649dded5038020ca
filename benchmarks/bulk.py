"""Many small scans by two workers against the plain loop, with broken ones among them.

    python -m benchmarks.bulk [--scans 200] [--broken 5] [--workers 2] [--matrix 128] [--out FILE]

`laminar reconstruct FILES --executor dask` and the same without an executor, the default model at R = 4 on one thread
each: seconds, how many were done, which failed, and whether both wrote the same images to the bit.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.record import write_record


def made(folder: Path, scans: int, broken: int, matrix: int) -> list[Path]:
    """Simulated scans of one slice, some of them cut in the middle."""
    words = ["simulate", "--out", folder, "--volumes", scans, "--slices", 1, "--matrix", f"{matrix},{matrix}"]
    laminar(*words, "--anatomy", "brain")
    files = sorted(folder.glob("*.h5"))
    for path in files[:: max(1, scans // broken)][:broken]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return files


def laminar(*words: Any) -> tuple[int, float]:
    """The exit code of a command, and its seconds."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    began = time.monotonic()
    command = [sys.executable, "-m", "laminar", *map(str, words), "--quiet"]
    code = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
    return code, time.monotonic() - began


def images(folder: Path) -> dict[str, Any]:
    found = {}
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            found[path.name] = file["reconstruction"][()]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"scans": 200, "broken": 5, "workers": 2, "matrix": 128}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = made(Path(folder) / "scans", args.scans, args.broken, args.matrix)
        options = (*files, "--acceleration", 4, "--no-figures")
        ways = {"loop": (), "dask": ("--executor", "dask", "--workers", args.workers)}
        found: dict[str, Any] = {"scans": len(files), "broken": args.broken}
        written = {}
        for name, more in ways.items():
            out = Path(folder) / name
            code, seconds = laminar("reconstruct", *options, *more, "--out", out)
            written[name] = images(out)
            found[name] = {"exit code": code, "seconds": seconds, "done": len(written[name])}
    loop, dask = written["loop"], written["dask"]
    found["same images"] = loop.keys() == dask.keys() and all(np.array_equal(loop[k], dask[k]) for k in loop)
    print(f"{found}: {write_record('bulk', found, args.out)}")
    return 0 if found["same images"] and len(dask) == len(files) - args.broken else 1


if __name__ == "__main__":
    sys.exit(main())
