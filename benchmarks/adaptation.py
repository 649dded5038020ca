"""What `laminar adapt` gains on each measured scan, how long it takes, and whether it stops itself.

    python -m benchmarks.adaptation [--data DIR] [--model default] [--minutes 10] [--quick] [--out FILE]

R = 4, equispaced-fraction, 14 calibration lines, mask seed 0. The error at samples that no step saw, which is all that
a user sees of the gain, and PSNR inside the object and SSIM against the root-sum-of-squares of all samples.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measured_scans import CALIBRATION_LINES, SCANS
from benchmarks.record import write_record
from benchmarks.rivals import images, options, scored
from laminar.data.formats import LazyScan, read
from laminar.data.masks import make_mask
from laminar.methods import NetworkMethod
from laminar.models import Network, load
from laminar.reconstruction import reference_image
from laminar.runtime import keep_freed_memory
from laminar.scan import Scan
from laminar.training.adaptation import AdaptationConfig, adapt, slices_of


def row(full: Scan, network: Network, config: AdaptationConfig) -> dict[str, Any]:
    mask = make_mask("equispaced-fraction", full.matrix, 4.0, CALIBRATION_LINES, 0, full.grid.phase_axis)
    scan = full.undersample(mask)
    found = adapt(network, *slices_of(LazyScan.of(scan)), config)
    methods = {"before": NetworkMethod(network), "after": NetworkMethod(found.network)}
    scores = scored(images(scan, methods), reference_image(full))
    said = {"held out (dB)": {"before": found.before, "after": found.after}, "step": found.step, "steps": found.steps}
    return {**said, "minutes": found.seconds / 60, "stopped": found.stopped, "scores": scores}


def main() -> None:
    parser = options(__doc__, "adaptation", corpus=False)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/raw"))
    parser.add_argument("--minutes", type=float, default=10.0)
    args = parser.parse_args()
    keep_freed_memory()
    network, config = load(args.model), AdaptationConfig(minutes=args.minutes)
    scans = list(SCANS.items())[-1:] if args.quick else list(SCANS.items())
    config = replace(config, steps=5, look_every=5) if args.quick else config
    rows = {}
    table = Table("scan", "held out (dB)", "object (dB)", "SSIM", "steps, minutes", "stopped")
    for file, how in scans:
        full = read(args.data / file, variable=how.get("variable"), axes=how.get("axes"))
        rows[full.name] = entry = row(full, network, config)
        before, after = entry["scores"]["before"], entry["scores"]["after"]
        held, cost = entry["held out (dB)"], f"{entry['steps']}, {entry['minutes']:.1f}"
        cells = [f"{held['before']:.2f} to {held['after']:.2f}"]
        cells += [f"{before[m]:{form}} to {after[m]:{form}}" for m, form in (("object_psnr", ".2f"), ("ssim", ".4f"))]
        table.add_row(full.name, *cells, cost, entry["stopped"])
    Console(width=120).print(table)
    print(write_record("adaptation", {"results": rows}, args.out))


if __name__ == "__main__":
    main()
