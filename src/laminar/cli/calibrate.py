"""`laminar calibrate`: how far to trust the intervals of a sampler, measured on slices whose image is known."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laminar.cli.methods import MethodOptions, add_method_options
from laminar.cli.outputs import add_overwrite, check_outputs
from laminar.cli.progress import progress
from laminar.cli.scans import add_device, check_device
from laminar.cli.scenario import Scenario, add_scenario
from laminar.words import counted

if TYPE_CHECKING:
    from rich.table import Table

    from laminar.audit import Case
    from laminar.calibration import SliceCoverage
    from laminar.methods import Method
    from laminar.uncertainty import Calibration

_EPILOG = """examples:
  laminar calibrate --model sampler
  laminar calibrate --model runs/mine/best --data scans/ --acceleration 4 8 --samples 16
  laminar reconstruct scan.h5 --model sampler --samples 16 --calibration uncertainty.json --out images

What the factor guarantees and what not, and the keys of the file: docs/uncertainty.md"""


@dataclass(frozen=True)
class Options:
    choice: MethodOptions
    out: Path
    overwrite: bool
    samples: int
    level: float
    kind: str
    device: str
    acceleration: tuple[float, ...]
    scenario: Scenario


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "calibrate",
        help="measure the coverage of a sampler's intervals, and mend it",
        description="Draw posterior samples of slices whose image is known, measure how often the intervals hold it, "
        "and write the factor that brings this to the level asked for.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_method_options(parser)
    parser.add_argument("--out", type=Path, default=Path("uncertainty.json"), metavar="FILE", help=_OUT)
    add_overwrite(parser)
    parser.add_argument("--samples", type=int, default=16, metavar="N", help="samples a slice (default: 16)")
    parser.add_argument("--level", type=float, default=0.9, metavar="P", help="coverage to reach (default: 0.9)")
    parser.add_argument("--kind", choices=("conformal", "scale"), default="conformal", help=_KIND)
    add_device(parser)
    group = add_scenario(parser, 40, "samples")
    group.add_argument("--acceleration", nargs="+", type=float, default=[4.0, 8.0], metavar="R", help=_ACCELERATION)
    parser.set_defaults(run=run, options=Options)


FEW = 30
_OUT = "file to write (default: uncertainty.json)"
_KIND = "guarantee for a new slice, or the plain fit to all pixels (default: conformal)"
_ACCELERATION = "nominal accelerations, shared out evenly among the slices (default: 4 8)"


def run(options: Options) -> int:
    from rich.console import Console

    from laminar.calibration import calibrate, check_enough
    from laminar.reconstruction import check_samples_of
    from laminar.runtime import keep_freed_memory
    from laminar.uncertainty import check_samples

    check_outputs(options, options.out)
    check_samples(options.samples)
    keep_freed_memory()
    method = options.choice.open().to(check_device(options.device))
    check_samples_of(method, options.samples)
    check_enough(options.scenario.slices, options.level, options.kind, spare=1)
    cases, accelerations, data = _cases(options, method)
    with progress(f"{options.samples} samples of each slice", len(cases)) as report:
        calibration, slices = calibrate(
            lambda problem, generator: method.draw(problem, generator).image,
            [(case.problem, case.image) for case in cases],
            method=method.kind,
            fingerprint=method.fingerprint,
            settings=method.settings,
            data=data,
            samples=options.samples,
            level=options.level,
            kind=options.kind,
            seed=options.scenario.seed,
            device=options.device,
            report=report,
        )
    calibration.write(options.out)
    Console().print(_table(calibration, slices, accelerations))
    if options.kind == "conformal" and len(cases) < FEW:
        print(f"{counted(len(cases), 'slice is', 'slices are')} few for a conformal factor: the intervals are too wide")
    used = f"{options.choice.named} --samples {options.samples} --calibration {options.out}"
    print(f"written to {options.out}: laminar reconstruct {used} ...")
    return 0


def _cases(options: Options, method: Method) -> tuple[list[Case], list[float], dict[str, Any]]:
    """The slices, the acceleration of each, and what they are for the record.

    The accelerations are dealt out by lot: in turn, they could keep step with the anatomies or the files.
    """
    import torch

    from laminar.audit import make_cases

    scenario, generator = options.scenario, torch.Generator().manual_seed(options.scenario.seed)
    lot = torch.randperm(scenario.slices, generator=generator).tolist()
    dealt = [options.acceleration[place % len(options.acceleration)] for place in lot]
    cases, data = make_cases(scenario.config(method), dealt)
    return cases, dealt[: len(cases)], data | {"acceleration": sorted(set(options.acceleration))}


def _table(calibration: Calibration, slices: Sequence[SliceCoverage], accelerations: Sequence[float]) -> Table:
    """One row an acceleration, and one for all."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = f"{100 * calibration.level:g} % intervals, {calibration.kind} factor {calibration.factor:.3f}"
    caption = (
        "coverage of object pixels, mean over slices; calibrated: each slice with the factor of all others, ± standard "
        "deviation over slices; half width: calibrated, relative to the mean signal"
    )
    table = Table(title=title, caption=caption, box=SIMPLE_HEAD, padding=(0, 1))
    for column in ("R", "slices", "coverage before", "calibrated", "half width"):
        table.add_column(column, justify="right", no_wrap=True)
    for acceleration in sorted(set(accelerations)):
        rows = [row for row, R in zip(slices, accelerations, strict=True) if acceleration == R]
        table.add_row(f"{acceleration:g}", *_cells(rows))
    table.add_row("all", *_cells(slices))
    return table


def _cells(rows: Sequence[SliceCoverage]) -> tuple[str, ...]:
    from statistics import fmean, stdev

    held_out = [row.held_out for row in rows]
    spread = stdev(held_out) if len(held_out) > 1 else 0.0
    return (
        str(len(rows)),
        f"{100 * fmean(row.before for row in rows):.1f} %",
        f"{100 * fmean(held_out):.1f} ± {100 * spread:.1f} %",
        f"{100 * fmean(row.half_width for row in rows):.1f} %",
    )
