"""ESPIRiT against BART's `ecalib -m1` over coils and sizes, on the same calibration, alternating.

    python -m benchmarks.calibration [--repeats 5]

Of BART's time the time of `bart copy` of the same array is taken away: start, reading and writing. Seconds are the
least of the repeats by the clock, and beside them those of the processor, which other work on the machine disturbs
less. The error is that of the maps inside the object after the best phase in every pixel. The scan is simulated.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.record import write_record
from laminar.data.espirit import espirit
from laminar.data.simulation import simulate_slice
from laminar.errors import ConfigError

CASES = [(coils, 320) for coils in (2, 4, 8, 16, 32)] + [(8, size) for size in (128, 192, 256, 448, 640)]
LINES = 24
ECALIB = ("ecalib", "-m1", "-k6", f"-r{LINES}", "-t0.001", "-c0.8")


def write_cfl(stem: Path, kspace: Tensor) -> None:
    """K-space (coil, y, x) as BART's (x, y, 1, coil)."""
    coils, y, x = kspace.shape
    stem.with_suffix(".hdr").write_text(f"# Dimensions\n{x} {y} 1 {coils}\n")
    kspace.numpy().astype("<c8").tofile(stem.with_suffix(".cfl"))


def read_cfl(stem: Path, shape: torch.Size) -> Tensor:
    return torch.from_numpy(np.fromfile(stem.with_suffix(".cfl"), "<c8").reshape(shape))


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds by the clock and of the processor, children included."""
    before, started = os.times(), time.perf_counter()
    work()
    clock, after = time.perf_counter() - started, os.times()
    return clock, sum(after[:4]) - sum(before[:4])


def bart(*arguments: str | Path) -> None:
    subprocess.run(["bart", *map(str, arguments)], check=True, capture_output=True)


def least(times: list[tuple[float, float]]) -> tuple[float, float]:
    return min(t[0] for t in times), min(t[1] for t in times)


def measure(coils: int, size: int, repeats: int, folder: Path) -> dict[str, float]:
    scan = simulate_slice("brain", (size, size), coils, 0.01, torch.Generator().manual_seed(0))
    start = size // 2 - LINES // 2
    block = scan.kspace[None, :, start : start + LINES, start : start + LINES].contiguous()
    write_cfl(folder / "kspace", scan.kspace)
    works = {
        "laminar": lambda: espirit(block, (size, size)),
        "bart": lambda: bart(*ECALIB, folder / "kspace", folder / "maps"),
        "copy": lambda: bart("copy", folder / "kspace", folder / "same"),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            times[name].append(timed(work))
    (ours, ours_cpu), (theirs, theirs_cpu), (copy, copy_cpu) = (least(times[name]) for name in works)
    row = {"coils": coils, "size": size, "laminar_s": ours, "bart_s": theirs - copy, "bart_copy_s": copy}
    row |= {"laminar_cpu_s": ours_cpu, "bart_cpu_s": theirs_cpu - copy_cpu}
    row |= {"ratio": ours / row["bart_s"], "ratio_cpu": ours_cpu / row["bart_cpu_s"]}
    maps = espirit(block, (size, size))[0]
    return row | {"error": difference(maps, read_cfl(folder / "maps", maps.shape), scan.coil_images)}


def difference(maps: Tensor, expected: Tensor, images: Tensor) -> float:
    """Relative error after the best phase, where the object is bright and not at the edge that cuts it off."""
    magnitude = images.abs().square().sum(0).sqrt()
    inside = magnitude > 0.1 * magnitude.max()
    border = round(0.15 * len(inside))
    inside[:border] = inside[-border:] = False
    phase = torch.sgn((maps.conj() * expected).sum(0))
    return float((maps * phase - expected)[:, inside].norm() / expected[:, inside].norm())


def exponent(rows: list[dict[str, float]], axis: str, key: str) -> float:
    """Slope of log time over log of the axis, by least squares."""
    x, y = (np.log([row[name] for row in rows]) for name in (axis, key))
    return float(np.polyfit(x, y, 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    if shutil.which("bart") is None:
        raise ConfigError("this benchmark runs BART: no program 'bart' was found")
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(*case, args.repeats, Path(folder)) for case in CASES]
    table = Table(title="ESPIRiT against BART's ecalib -m1")
    for column in rows[0]:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*(f"{value:.3g}" for value in row.values()))
    Console(width=160).print(table)
    over_coils = [row for row in rows if row["size"] == 320]
    growth = {key: exponent(over_coils, "coils", key) for key in ("laminar_cpu_s", "bart_cpu_s")}
    over_pixels = [row for row in rows if row["coils"] == 8]
    growth |= {f"{key} in size": exponent(over_pixels, "size", key) for key in ("laminar_cpu_s", "bart_cpu_s")}
    worst = max(row["ratio_cpu"] for row in rows)
    mean = math.exp(sum(math.log(row["ratio_cpu"]) for row in rows) / len(rows))
    print(write_record("calibration", {"rows": rows, "exponents": growth, "worst": worst, "mean": mean}))


if __name__ == "__main__":
    main()
