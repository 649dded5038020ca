"""Radial scans whose samples weigh as the k-space that they stand for, and scans whose samples weigh the same.

    python -m benchmarks.density [--matrix 128] [--images 6] [--out FILE]

Simulated brains that no training saw, four coils, noise of 0.01. Classical methods have the best weight of a grid on
one more brain; `default` is the model that ships, which saw nothing but grids.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.geometries import GRIDS, SHIPPED, WEIGHTS, best, measure, phantoms, shipped
from benchmarks.record import write_record
from laminar.data.acquisition import Measured
from laminar.data.cases import Case
from laminar.geometry import NonCartesian
from laminar.runtime import keep_freed_memory

SPOKES = (24, 32, 64)
WEIGHING = "density", "one"


def weighing(measured: Measured, kind: str) -> Case:
    geometry = measured.scan.geometry
    assert isinstance(geometry, NonCartesian)
    if kind == "one":
        geometry = replace(geometry, compensation=torch.ones(len(geometry.trajectory)))
    return replace(measured, scan=replace(measured.scan, geometry=geometry)).case()


def row(measured: list[Measured], kind: str) -> dict[str, Any]:
    tuning, *cases = (weighing(one, kind) for one in measured)
    found = {name: best(name, grid, [tuning], cases)[1] for name, grid in METHODS.items()}
    return found | {SHIPPED: measure(shipped(), cases)}


METHODS = {"cg-sense": GRIDS["radial"][1], "total-variation": WEIGHTS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matrix", type=int, default=128)
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    keep_freed_memory()
    rows: dict[str, Any] = {}
    table = Table("spokes", "a sample weighs", *METHODS, SHIPPED, title="PSNR (dB) / SSIM")
    for spokes in SPOKES:
        measured = [one for one, _ in phantoms("radial", {"spokes": spokes}, args.matrix, args.images + 1)]
        for kind in WEIGHING:
            found = rows.setdefault(str(spokes), {})[kind] = row(measured, kind)
            table.add_row(str(spokes), kind, *(f"{v['psnr']:.2f} / {v['ssim']:.3f}" for v in found.values()))
    Console(width=120).print(table)
    print(write_record("density", {"matrix": args.matrix, "images": args.images, "rows": rows}, args.out))


if __name__ == "__main__":
    main()
