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
METHODS = {"cg-sense": GRIDS["radial"][1], "total-variation": WEIGHTS}


def unweighted(measured: Measured) -> Case:
    geometry = measured.scan.geometry
    assert isinstance(geometry, NonCartesian)
    alike = replace(geometry, compensation=torch.ones(len(geometry.trajectory)))
    return replace(measured, scan=replace(measured.scan, geometry=alike)).case()


def row(tuning: Case, *cases: Case) -> dict[str, Any]:
    found = {name: best(name, grid, [tuning], list(cases))[1] for name, grid in METHODS.items()}
    return found | {SHIPPED: measure(shipped(), list(cases))}


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
        made = list(phantoms("radial", {"spokes": spokes}, args.matrix, args.images + 1))
        weighted, alike = [case for _, case in made], [unweighted(measured) for measured, _ in made]
        for kind, cases in {"density": weighted, "one": alike}.items():
            found = rows.setdefault(str(spokes), {})[kind] = row(*cases)
            table.add_row(str(spokes), kind, *(f"{v['psnr']:.2f} / {v['ssim']:.3f}" for v in found.values()))
    Console(width=120).print(table)
    print(write_record("density", {"matrix": args.matrix, "images": args.images, "rows": rows}, args.out))


if __name__ == "__main__":
    main()
