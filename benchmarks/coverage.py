"""Do the 90 % intervals of samplers hold the image in 90 % of the pixels? Before and after calibration.

    python -m benchmarks.coverage --world simulated [--data DIR] [--samples 8]      after benchmarks.comparison
    python -m benchmarks.coverage --collect
    python -m benchmarks.coverage --picture SLICE                                    -> docs/images/uncertainty.png

The samplers are those of `benchmarks.comparison`: FLAT from a noisy source, and DDS with the prior. The factor of each
comes from the 40 slices of the validation part (R = 4 and 8 in turn), the coverage from the 20 of the test
part at each R: the mean over slices of the fraction of their object pixels inside the interval. The picture is of a
**simulated** slice.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.comparison import ACCELERATIONS, part, run_folder, settled
from benchmarks.record import RESULTS, mean_interval, write_record
from benchmarks.worlds import WORLDS, fixed_batches
from laminar.calibration import Ratios, ratios_of
from laminar.data.cases import Case
from laminar.figures import uncertainty_figure
from laminar.files import write_json
from laminar.methods import Method, NetworkMethod
from laminar.models import load
from laminar.runtime import keep_freed_memory
from laminar.uncertainty import Spread, rank_correlation

LEVEL = 0.9
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "uncertainty.png"
PARTS = RESULTS / "coverage"


def samplers(args: argparse.Namespace) -> dict[str, Method]:
    """The setting of DDS is the one that was best at R = 4."""
    flat = NetworkMethod(load(run_folder(args, "FLAT, sampler") / "best"), "FLAT")
    return {"FLAT": flat, "DDS, 19 NFE": settled(args, "dds", 4, nfe=19)}


def measure(args: argparse.Namespace) -> None:
    held_out, unseen = part(args, "validation"), part(args, "test")
    at = {R: fixed_batches(held_out, R, 1, seed=2) for R in ACCELERATIONS}
    cases = [at[ACCELERATIONS[i % len(ACCELERATIONS)]][i] for i in range(len(held_out))]
    path = PARTS / f"{args.world}-{args.seed}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for name, method in samplers(args).items():
        if name in found:
            continue
        seen = [ratios(spread_of(method, case, args.samples, i), case) for i, case in enumerate(cases)]
        factors = {kind: Ratios(seen).factor(LEVEL, kind) for kind in ("conformal", "scale")}
        found[name] = {"samples": args.samples, "factor": factors}
        for acceleration in ACCELERATIONS:
            batches = fixed_batches(unseen, acceleration, 1)
            rows = [judged(method, batch, args.samples, factors, i) for i, batch in enumerate(batches)]
            found[name][str(acceleration)] = {key: [round(row[key], 5) for row in rows] for key in rows[0]}
            summary = {key: round(sum(row[key] for row in rows) / len(rows), 3) for key in rows[0]}
            print(args.world, name, acceleration, factors, summary, flush=True)
        write_json(path, found)


def spread_of(method: Method, batch: Case, samples: int, seed: int) -> Spread:
    """The spread of the magnitudes of samples (y, x)."""
    assert method.draws
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return Spread.of(torch.cat([method.draw(batch.problem, generator).image.abs() for _ in range(samples)]))


def ratios(spread: Spread, batch: Case) -> Tensor:
    """|error| over the half width of the interval, of the object pixels."""
    return ratios_of(spread, batch.image[0].abs(), spread.object_pixels, LEVEL)


def judged(method: Method, batch: Case, samples: int, factors: dict[str, float], seed: int) -> dict[str, float]:
    """Coverage before and after, and how the standard deviation goes with the error, of one slice."""
    spread = spread_of(method, batch, samples, seed)
    found, where = ratios(spread, batch), spread.object_pixels
    row = {kind: float((found <= factor).double().mean()) for kind, factor in ({"before": 1.0} | factors).items()}
    std, error = spread.std[where], (spread.mean - batch.image[0].abs()).abs()[where]
    row["rank correlation"] = rank_correlation(std, error)
    row["std / error"] = float(std.square().mean().sqrt() / error.square().mean().sqrt())
    return row


def draw_picture(args: argparse.Namespace) -> None:
    """A test slice at R = 8 with the calibrated intervals of FLAT."""
    found = json.loads((PARTS / f"simulated-{args.seed}.json").read_text())["FLAT"]
    method, batch = samplers(args)["FLAT"], fixed_batches(part(args, "test"), 8, 1)[args.picture]
    spread, factor = spread_of(method, batch, found["samples"], args.picture), found["factor"]["conformal"]
    half = factor * spread.half_width(LEVEL)
    title = f"Simulated brain, R = 8, {spread.n} samples of FLAT"
    uncertainty_figure(spread, PICTURE, batch.image[0].abs(), (spread.mean - half, spread.mean + half), title)


def collect() -> None:
    results: dict[str, Any] = {}
    view = Table(title="Coverage of 90 % intervals on the test part: mean over slices [95 %]")
    for column in ("world", "sampler", "R", "before", "conformal", "scale", "factor", "rank correlation"):
        view.add_column(column)
    for world in WORLDS:
        for path in sorted(PARTS.glob(f"{world}-*.json")):
            for name, found in json.loads(path.read_text()).items():
                for acceleration in ACCELERATIONS:
                    rows = found[str(acceleration)]
                    summary = {key: mean_interval(values) for key, values in rows.items()}
                    results.setdefault(world, []).append(
                        {"sampler": name, "R": acceleration, "samples": found["samples"], "factor": found["factor"]}
                        | summary
                    )
                    cells = [f"{m:.3f} [{low:.3f}, {high:.3f}]" for m, low, high in list(summary.values())[:3]]
                    factor, correlation = found["factor"]["conformal"], summary["rank correlation"][0]
                    view.add_row(world, name, str(acceleration), *cells, f"{factor:.2f}", f"{correlation:.2f}")
    Console(width=150).print(view)
    print(write_record("coverage", {"level": LEVEL, "worlds": results}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", choices=WORLDS, default="simulated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--picture", type=int, metavar="SLICE", help="draw this test slice of the simulated world")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--runs", type=Path, default=Path("runs/comparison"))
    parser.add_argument("--collect", action="store_true")
    args = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    if args.collect:
        collect()
    elif args.picture is not None:
        draw_picture(args)
    else:
        measure(args)


if __name__ == "__main__":
    main()
