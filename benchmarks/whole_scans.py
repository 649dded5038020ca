"""Whole scans with a third axis, in seconds and memory; and the transform off the grid beside BART's.

    python -m benchmarks.whole_scans [--frames 24] [--slices 96] [--side 192] [--coils 8] [--out FILE]

Simulated. Each scan in a process of its own, whose peak memory is all that it ever had in memory: PyTorch, the
simulation and the problem. `calibrated` is `prepare` with ESPIRiT; `cg-sense` ten iterations at most; `network` four
cascades of a U-Net that sees the neighbors, untrained. BART's time is that of its command, with its start.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.record import write_record
from laminar.classical import cg_sense
from laminar.data.masks import make_mask
from laminar.data.noncartesian import radial
from laminar.data.preparation import Problem, prepare
from laminar.data.simulation.phantoms import phantom
from laminar.data.simulation.receive import sensitivities
from laminar.geometry import Series
from laminar.models import RegularizerConfig, UnrolledConfig, UnrolledNetwork
from laminar.operators import NonUniform, fft2c
from laminar.runtime import keep_freed_memory
from laminar.scan import Scan

NOISE_STD = 0.01


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def series(axis: str, count: int, side: int, coils: int) -> Scan:
    """So many images of one phantom, brighter and darker: lines at R = 8 for frames, points at R = 6 for slices."""
    generator = torch.Generator().manual_seed(0)
    matrix = (side, side)
    thing, maps = phantom("cardiac", matrix, generator), sensitivities(coils, matrix, generator)
    data = torch.empty(1, count, coils, *matrix, dtype=torch.complex64)
    masks = torch.stack(
        [
            make_mask("random", matrix, 8, 12, frame) if axis == "frame" else make_mask("poisson", matrix, 6, 20, 0)
            for frame in range(count)
        ]
    )
    for index in range(count):
        kspace = fft2c(maps * thing * (1 + 0.2 * index / count))
        noise = NOISE_STD * torch.randn(kspace.shape, dtype=torch.complex64, generator=generator)
        data[0, index] = (kspace + noise) * masks[index]
    return Scan(data, Series(masks, "frame" if axis == "frame" else "slice"), noise_std=NOISE_STD)


@torch.no_grad()
def whole(axis: str, count: int, side: int, coils: int) -> dict[str, Any]:
    """Seconds of each step of a scan, and the peak memory of this process in GB."""
    keep_freed_memory()
    scan = series(axis, count, side, coils)
    found: tuple[Problem, float] = timed(lambda: prepare(scan))
    problem, seconds = found
    config = UnrolledConfig(n_cascades=4, regularizer=RegularizerConfig(neighbors=1), geometry=scan.geometry.kind)
    network = UnrolledNetwork(config=config).eval()
    solves: dict[str, Callable[[], Tensor]] = {
        "cg-sense": lambda: cg_sense(problem.y, problem.operator, iterations=10),
        "network": lambda: network(problem.y, problem.operator, problem.noise_level),
    }
    return {
        "size": [count, coils, side, side],
        "calibrated_seconds": seconds,
        **{f"{name}_seconds": timed(solve)[1] for name, solve in solves.items()},
        "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def off_grid(side: int, coils: int) -> dict[str, float]:
    """Seconds of the transform of all coils along 64 spokes, its adjoint, its Gram matrix, and of BART's."""
    matrix, points = (side, side), radial(64, 2 * side, (side, side))
    generator = torch.Generator().manual_seed(0)
    operator = NonUniform(points, sensitivities(coils, matrix, generator)[None])
    x = torch.randn(1, *matrix, dtype=torch.complex64, generator=generator)
    y, forward = timed(lambda: operator.forward(x))
    steps = {
        "forward": forward,
        "adjoint": timed(lambda: operator.adjoint(y))[1],
        "gram": timed(lambda: operator.gram(x))[1],
    }
    if shutil.which("bart") is None:
        return steps
    images = (operator.sensitivities * x.unsqueeze(1))[0]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "x", images.permute(2, 1, 0).unsqueeze(2))  # x, y, z, coil
        places = torch.cat([points.flip(1), torch.zeros(len(points), 1)], 1).T.unsqueeze(-1)
        write(Path(folder) / "t", places.to(torch.complex64))
        run = lambda: subprocess.run(["bart", "nufft", "t", "x", "y"], cwd=folder, check=True)  # noqa: E731
        return steps | {"bart_forward": timed(run)[1]}


def write(path: Path, array: Tensor) -> None:
    path.with_suffix(".cfl").write_bytes(array.contiguous().numpy().tobytes(order="F"))
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{' '.join(map(str, array.shape))}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--slices", type=int, default=96)
    parser.add_argument("--side", type=int, default=192)
    parser.add_argument("--coils", type=int, default=8)
    parser.add_argument(
        "--one", choices=("frame", "slice"), help="one scan, in this process: what the others are run by"
    )
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    counts = {"frame": args.frames, "slice": args.slices}
    if args.one is not None:
        print(json.dumps(whole(args.one, counts[args.one], args.side, args.coils)))
        return
    rows = {}
    for axis, name in (("frame", "cine, R = 8"), ("slice", "3-D, R = 6")):
        command = [sys.executable, "-m", "benchmarks.whole_scans", "--one", axis]
        command += [f"--{key}={getattr(args, key)}" for key in ("frames", "slices", "side", "coils")]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows[name] = json.loads(done.stdout.splitlines()[-1])
        print(name, rows[name], flush=True)
    transform = off_grid(args.side, args.coils)
    print("off the grid", transform)
    write_record("whole_scans", {"scans": rows, "off_grid_seconds": transform}, args.out)


if __name__ == "__main__":
    main()
