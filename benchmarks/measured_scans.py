"""The shipped model on measured scans: zero-filled, CG-SENSE with the best weight of a grid, L1-wavelet, FLAT.

    python -m benchmarks.measured_scans [--data DIR] [--model default] [--figures DIR]

Each scan is undersampled retrospectively (equispaced-fraction, 14 calibration lines) along its phase axis, for every
seed. The reference is the root-sum-of-squares of all samples, with its noise (fastMRI protocol); `combined` scores the
same images against the coil-combined image with ESPIRiT maps of all samples, whose background is free of noise.
CG-SENSE gets the weight that is best for it on the mean over the seeds, for each scan, R and reference: an oracle's
choice. L1-wavelet has its default weight, chosen on simulation.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.record import mean_interval, write_record
from laminar.classical import cg_sense_method, l1_wavelet_method, zero_filled_method
from laminar.data.formats import read
from laminar.data.masks import make_mask
from laminar.data.preparation import prepare
from laminar.errors import ConfigError
from laminar.figures import comparison_figure, trajectory_strip
from laminar.metrics import fastmri_metrics
from laminar.models import load
from laminar.operators import ifft2c
from laminar.reconstruction import reconstruct, reference_image
from laminar.runtime import keep_freed_memory
from laminar.scan import Scan

SCANS: dict[str, dict[str, str]] = {
    "brain_t1_8coil.cfl": {},
    "brain_mprage_4coil.mat": {"variable": "kData", "axes": "ky,kx,coil"},
    "brain_gre_16coil.mat": {"axes": "ky,kx,_,coil"},
}
ACCELERATIONS = (4.0, 6.0, 8.0)
SEEDS = range(5)
CALIBRATION_LINES = 14
WEIGHTS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
SCORES = ("psnr", "object_psnr", "ssim", "nmse")

GAINS = ("FLAT - CG-SENSE (dB)", "FLAT - L1-wavelet (dB)")

Scores = dict[str, dict[str, list[float]]]


def combined_image(full: Scan) -> Tensor:
    """`|S^H F^(-1) y|` with maps S of all samples."""
    problem = prepare(full)
    image = (problem.encoding.sensitivities.conj() * ifft2c(problem.y)).sum(1)
    return (image * problem.scale[:, None, None]).abs()


def score(
    full: Scan, acceleration: float, methods: dict[str, Callable[..., Any]], figures: Path | None
) -> dict[str, Scores]:
    """`{reference: {method: {metric: value for each seed}}}`."""
    references = {"rss": reference_image(full), "combined": combined_image(full)}
    scores: dict[str, Scores] = {name: defaultdict(lambda: defaultdict(list)) for name in references}
    for seed in SEEDS:
        mask = make_mask(
            "equispaced-fraction", full.matrix, acceleration, CALIBRATION_LINES, seed, full.grid.phase_axis
        )
        results = {name: reconstruct(full.undersample(mask), method) for name, method in methods.items()}
        for kind, reference in references.items():
            for name, result in results.items():
                metrics = fastmri_metrics(result.magnitude, reference)
                for key in SCORES:
                    scores[kind][name][key].append(metrics[key])
        if figures is not None and seed == 0:
            draw(figures / f"{full.name}_R{acceleration:g}", references["rss"], results, scores["rss"])
    return scores


def draw(stem: Path, reference: Tensor, results: dict[str, Any], scores: Scores) -> None:
    best = max((name for name in results if name.startswith("CG")), key=lambda name: scores[name]["psnr"][0])
    shown = ("zero-filled", best, "L1-wavelet", "FLAT")
    metrics = {name: {key: values[0] for key, values in scores[name].items()} for name in shown}
    images = {name: results[name].image[0] for name in shown}
    comparison_figure(images, reference[0], metrics, stem.with_name(f"{stem.name}.png"), title=stem.name)
    states = results["FLAT"].trajectory
    psnrs = [fastmri_metrics(state.abs(), reference)["psnr"] for state in states]
    trajectory_strip(list(states[:, 0]), psnrs, stem.with_name(f"{stem.name}_trajectory.png"))


def summarize(scores: Scores) -> dict[str, Any]:
    """Means of every method, CG-SENSE at its best weight, and the paired difference with its interval."""
    mean = {name: {key: sum(v) / len(v) for key, v in metrics.items()} for name, metrics in scores.items()}
    best = max((name for name in mean if name.startswith("CG")), key=lambda name: mean[name]["psnr"])
    kept = {"zero-filled": "zero-filled", "CG-SENSE": best, "L1-wavelet": "L1-wavelet", "FLAT": "FLAT"}

    def gain(other: str) -> dict[str, float]:
        pairs = zip(scores["FLAT"]["psnr"], scores[kept[other]]["psnr"], strict=True)
        return dict(zip(("mean", "low", "high"), mean_interval([a - b for a, b in pairs]), strict=True))

    return {
        **{title: mean[name] for title, name in kept.items()},
        "CG-SENSE weight": float(best.split()[-1]),
        "FLAT - CG-SENSE (dB)": gain("CG-SENSE"),
        "FLAT - L1-wavelet (dB)": gain("L1-wavelet"),
        "psnr by seed": {title: scores[name]["psnr"] for title, name in kept.items()},
    }


def table(results: dict[str, Any], reference: str) -> Table:
    view = Table(
        title=f"Measured scans against {reference}: PSNR / in the object (dB) / SSIM, mean over {len(SEEDS)} masks"
    )
    for column in ("scan", "R", "zero-filled", "CG-SENSE", "weight", "L1-wavelet", "FLAT", *GAINS):
        view.add_column(column)
    for scan, rows in results.items():
        for acceleration, row in rows.items():
            if "failed" in row:
                view.add_row(scan, acceleration, row["failed"])
                continue
            entry = row[reference]
            methods = ("zero-filled", "CG-SENSE", "L1-wavelet", "FLAT")
            cells = [
                f"{entry[m]['psnr']:.2f} / {entry[m]['object_psnr']:.2f} / {entry[m]['ssim']:.3f}" for m in methods
            ]
            gains = [f"{entry[g]['mean']:+.2f} [{entry[g]['low']:+.2f}, {entry[g]['high']:+.2f}]" for g in GAINS]
            view.add_row(scan, acceleration, *cells[:2], f"{entry['CG-SENSE weight']:g}", *cells[2:], *gains)
    return view


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/raw"))
    parser.add_argument("--model", default="default")
    parser.add_argument("--figures", type=Path)
    parser.add_argument("--name", default="measured_scans", help="name of the JSON file")
    args = parser.parse_args()
    keep_freed_memory()
    grid = {f"CG-SENSE {weight:g}": partial(cg_sense_method, weight=weight) for weight in WEIGHTS}
    sparse = {"L1-wavelet": l1_wavelet_method}
    methods: dict[str, Any] = {"zero-filled": zero_filled_method, **grid, **sparse, "FLAT": load(args.model)}
    results: dict[str, Any] = {}
    for file, options in SCANS.items():
        full = read(args.data / file, variable=options.get("variable"), axes=options.get("axes"))
        rows = results.setdefault(full.name, {})
        for acceleration in ACCELERATIONS:
            try:
                scores = score(full, acceleration, methods, args.figures)
                rows[f"{acceleration:g}"] = {kind: summarize(value) for kind, value in scores.items()}
            except ConfigError as error:
                rows[f"{acceleration:g}"] = {"failed": str(error)}
    for reference in ("rss", "combined"):
        Console(width=140).print(table(results, reference))
    print(write_record(args.name, {"results": results}))


if __name__ == "__main__":
    main()
