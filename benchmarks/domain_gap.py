"""How much of what is lost on a measured scan does its simulation lose too?

    python -m benchmarks.domain_gap [--data DIR] [--model default] [--quick] [--out FILE]

From all samples of a measured scan come its image, maps and noise level; from these a simulated scan of the same image,
`y = F S x + n`, which differs from the measured one in coils, noise and model alone. Both are undersampled by the same
masks and reconstructed in the same way, by L1-wavelet at its default weight and by the network; PSNR inside the object
against that image. Where they are as hard as each other, coils, noise and maps of a simulation are not what is missing.
`quiet` has a hundredth of the noise: what is lost there is lost by undersampling alone.
"""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.measured_scans import CALIBRATION_LINES, SCANS
from benchmarks.record import write_record
from benchmarks.rivals import OURS, Solve, images, options
from laminar.classical import l1_wavelet_method
from laminar.data.formats import read
from laminar.data.masks import make_mask
from laminar.data.preparation import prepare
from laminar.methods import open_method
from laminar.metrics import object_psnr
from laminar.operators import fft2c, ifft2c
from laminar.scan import Scan, cartesian

ACCELERATIONS = (4.0, 6.0)
SEEDS = range(2)
KINDS = {"measured": None, "simulated": 1.0, "quiet": 0.01}


def twins(full: Scan) -> tuple[Tensor, dict[str, Scan]]:
    """The image of all samples (slice, y, x) and, in the same units, the scan itself and its simulations."""
    problem = prepare(full)
    maps = problem.encoding.sensitivities
    image = (maps.conj() * ifft2c(problem.y)).sum(1)
    noise = torch.randn(problem.y.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    made = {
        kind: problem.y if share is None else fft2c(maps * image[:, None]) + share * problem.noise_level * noise
        for kind, share in KINDS.items()
    }
    everything = torch.ones(full.matrix, dtype=torch.bool)
    return image.abs(), {kind: cartesian(y, everything, name=f"{full.name}, {kind}") for kind, y in made.items()}


def main() -> None:
    parser = options(__doc__, "domain_gap", corpus=False)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/raw"))
    args = parser.parse_args()
    methods: dict[str, Solve] = {"L1-wavelet": l1_wavelet_method, OURS: open_method(model=args.model)}
    rows = []
    for file, how in list(SCANS.items())[-1:] if args.quick else SCANS.items():
        full = read(args.data / file, variable=how.get("variable"), axes=how.get("axes"))
        image, scans = twins(full)
        for acceleration in ACCELERATIONS[:1] if args.quick else ACCELERATIONS:
            for kind, scan in scans.items():
                scores: dict[str, list[float]] = {name: [] for name in methods}
                for seed in SEEDS:
                    lines = CALIBRATION_LINES
                    axis = full.grid.phase_axis
                    mask = make_mask("equispaced-fraction", full.matrix, acceleration, lines, seed, axis)
                    for name, found in images(scan.undersample(mask), methods).items():
                        scores[name].append(float(object_psnr(found, image, float(image.max()))))
                means = {name: sum(values) / len(values) for name, values in scores.items()}
                rows.append({"scan": full.name, "R": acceleration, "kind": kind, **means})
    table = Table("scan", "R", "kind", *methods, title="PSNR in the object (dB)")
    for row in rows:
        table.add_row(row["scan"], f"{row['R']:g}", row["kind"], *(f"{row[name]:.2f}" for name in methods))
    Console(width=100).print(table)
    print(write_record("domain_gap", {"masks": len(SEEDS), "rows": rows}, args.out))


if __name__ == "__main__":
    main()
