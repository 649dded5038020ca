"""Make a model that ships from a training run: `python -m benchmarks.ship NAME RUN --commands "laminar train ..."`.

Copies the weights of RUN/best to `src/laminar/weights/NAME` with a card that says how they were trained and, for
`default`, from `results/measured_scans.json` if it is there, how they do.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import RESULTS
from laminar.models import UnrolledNetwork, load_any, save
from laminar.models.checkpoint import read_settings

SHIPPED = Path(__file__).resolve().parent.parent / "src" / "laminar" / "weights"
DATA = (
    "simulated scans only, of two kinds: {} of openly licensed magnitude images (40 persons and ten photographs; "
    "sources, licences and citations in docs/model-card.md), the rest procedural phantoms; simulated coils, phase, "
    "noise and masks; no measured k-space"
)
IMAGES = {"default": "three quarters", "sampler": "two thirds", "prior": "two thirds"}
SCANS = "2-D Cartesian multi-coil scans of any size, R = {}, with at least 8 calibration lines"
DESCRIPTIONS = {
    "default": (
        "FLAT without alignment: coefficients of a learned schedule, proximal data step (arXiv 2512.03020), phase "
        "frame, decibel loss",
        SCANS.format("1.5 to 12"),
    ),
    "sampler": (
        "FLAT from a noisy source, by flow matching: draws posterior samples, --samples",
        SCANS.format("2 to 10"),
    ),
    "prior": ("denoiser of complex images in the form of EDM (arXiv 2206.00364)", "the prior of posterior samplers"),
}


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


def _without_places(card: dict[str, Any]) -> dict[str, Any]:
    """The card without the folders that data and runs lay in."""
    return {
        key: re.sub(r"/(?:[\w.-]+/)+", "", value) if isinstance(value, str) else value for key, value in card.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=DESCRIPTIONS)
    parser.add_argument("run", type=Path)
    parser.add_argument("--commands", default="laminar train --out RUN", help="what was run, for the card")
    args = parser.parse_args()
    card = _without_places(read_settings(args.run / "best")["card"])
    method, use = DESCRIPTIONS[args.name]
    described = {
        "name": args.name,
        "method": method,
        "data": DATA.format(IMAGES[args.name]),
        "use": use,
        "not for": "diagnostic use",
        "licence": "Apache-2.0",
        "commands": args.commands,
        "trained": card,
    }
    if args.name == "default":
        described["measured scans, PSNR (dB), see docs/model-card.md"] = measured()
    model = load_any(args.run / "best")
    if isinstance(model, UnrolledNetwork):
        # More exact data steps than in training, where they cost most: see docs/model-card.md.
        model.config = model.config.changed(cg_iterations=12, source_iterations=30, scan_noise=args.name == "default")
    folder = SHIPPED / args.name
    save(model, folder, described, torch.float16)
    print(f"{folder}: {sum(path.stat().st_size for path in folder.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
