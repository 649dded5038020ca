"""One or two sets of sensitivities where the object is larger than its field of view, and where it is not.

    python -m benchmarks.folded_objects [--seeds 2] [--scan brain_smallfov_8coil.mat]

PSNR (dB) of simulated brains, knees and cardiac slices whose field of view along the undersampled axis is a part of
the grid, against the root-sum-of-squares without noise; and of a measured scan, if one is named, against that of all
its samples. The third number is the gain that is least of any scan.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.record import write_record
from laminar.data.formats import read
from laminar.data.masks import make_mask
from laminar.data.simulation import simulate_slice
from laminar.methods import open_method
from laminar.metrics import fastmri_metrics
from laminar.reconstruction import reconstruct, reference_image
from laminar.runtime import keep_freed_memory
from laminar.scan import Scan, cartesian

METHODS = ("cg-sense", "l1-wavelet", "total-variation", "grappa", "network")
ANATOMIES, MATRIX, COILS, NOISE, LINES = ("brain", "knee", "cardiac"), (128, 112), 8, 0.01, 16
PARTS = (1.0, 0.7)
ACCELERATIONS = (2, 3)
Case = tuple[Scan, Tensor]


def simulated(part: float, seeds: int) -> Iterator[Case]:
    """Scans whose field of view is a part of the grid, and their references."""
    for seed in range(seeds):
        for anatomy in ANATOMIES:
            whole = simulate_slice(anatomy, MATRIX, COILS, NOISE, torch.Generator().manual_seed(seed))
            one = whole.fold(-1, round(part * MATRIX[1]))
            yield one.scan, one.target


def measured(path: Path) -> Case:
    """The acquired columns of the ESPIRiT example, as a full scan of a coarser grid."""
    scan = read(path, variable="DATA", axes="ky,kx,coil")
    columns = scan.mask.any(0).nonzero()[:, 0]
    kspace = scan.kspace[..., int(columns[0]) : int(columns[-1]) + 1].contiguous()
    full = cartesian(kspace, torch.ones(kspace.shape[-2:], dtype=torch.bool))
    return full, reference_image(full)


def gains(cases: list[Case], acceleration: float) -> dict[str, tuple[float, float, float]]:
    """Mean PSNR with one and with as many sets as it takes, and the least gain of a scan, by method."""
    found = {}
    for name in METHODS:
        pairs = []
        for full, target in cases:
            mask = make_mask("equispaced-fraction", full.matrix, acceleration, LINES, 0)
            images = [reconstruct(full.undersample(mask), open_method(name), n_maps=n).magnitude for n in (1, None)]
            pairs.append([fastmri_metrics(image, target)["psnr"] for image in images])
        one, two = zip(*pairs, strict=True)
        found[name] = mean(one), mean(two), min(b - a for a, b in pairs)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--scan", type=Path)
    args = parser.parse_args()
    keep_freed_memory()
    sets = {f"simulated, field of view {part:.0%}": list(simulated(part, args.seeds)) for part in PARTS}
    if args.scan is not None:
        sets[args.scan.name] = [measured(args.scan)]
    rows = {f"{name}, R = {rate}": gains(cases, rate) for name, cases in sets.items() for rate in ACCELERATIONS}
    table = Table("scans", *METHODS, title="PSNR (dB) with one set / as many as it takes (least gain)")
    for name, row in rows.items():
        table.add_row(name, *(f"{one:.1f} / {two:.1f} ({least:+.1f})" for one, two, least in row.values()))
    Console(width=160).print(table)
    print(write_record("folded_objects", {"seeds": args.seeds, "rows": rows}))


if __name__ == "__main__":
    main()
