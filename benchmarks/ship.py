"""Make the model that ships from a training run: `python -m benchmarks.ship RUN`.

Copies the weights of RUN/best to `src/laminar/weights/default` with a card that says how they were trained and,
from `results/measured_scans.json` if it is there, how they do.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS
from laminar.models import load, save
from laminar.models.checkpoint import read_settings

SHIPPED = Path(__file__).resolve().parent.parent / "src" / "laminar" / "weights" / "default"


def measured() -> dict[str, Any]:
    """PSNR in dB on measured scans, by scan and acceleration."""
    path = RESULTS / "measured_scans.json"
    if not path.exists():
        return {}
    results = json.loads(path.read_text(encoding="utf-8"))["results"]
    return {
        f"{scan}, R = {acceleration}": {
            method: round(row["rss"][method]["psnr"], 2) for method in ("zero-filled", "CG-SENSE", "FLAT")
        }
        for scan, rows in results.items()
        for acceleration, row in rows.items()
        if "failed" not in row
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--commands", default="laminar train --out RUN", help="what was run, for the card")
    args = parser.parse_args()
    card = read_settings(args.run / "best")["card"]
    described = {
        "name": "default",
        "method": "FLAT preset: flow coefficients, proximal data step, alignment of the states (arXiv 2512.03020)",
        "data": "simulated scans only (laminar simulate: brain, knee, cardiac and abstract phantoms); no measured data",
        "use": "2-D Cartesian multi-coil scans of any size, R = 2 to 10, with at least 8 calibration lines",
        "not for": "diagnostic use",
        "licence": "Apache-2.0",
        "commands": args.commands,
        "trained": card,
        "measured scans, PSNR (dB), see docs/model-card.md": measured(),
    }
    network = load(args.run / "best")
    # More exact data steps than in training, where they cost most: see docs/model-card.md.
    network.config = network.config.changed(cg_iterations=12, source_iterations=30)
    save(network, SHIPPED, described)
    size = sum(path.stat().st_size for path in SHIPPED.iterdir()) / 1e6
    print(f"{SHIPPED}: {size:.1f} MB")


if __name__ == "__main__":
    main()
