"""`laminar runs`: training runs beside each other, as a table and as curves."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laminar.cli.outputs import add_overwrite, check_outputs
from laminar.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Options:
    folders: tuple[Path, ...]
    json: bool
    out: Path | None
    overwrite: bool


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "runs",
        help="compare training runs",
        description="List the runs in folders and below: how far they are, and how good the best of them is.",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="run folders, or folders of them")
    parser.add_argument("--json", action="store_true", help="print everything as JSON, validation by validation")
    parser.add_argument("--png", dest="out", type=Path, metavar="FILE", help="also draw the validation over the steps")
    add_overwrite(parser)
    parser.set_defaults(run=run, options=Options)


def run(options: Options) -> int:
    from rich.console import Console

    from laminar.figures import curves_figure
    from laminar.training.state import find_runs

    found = {str(folder.path): folder.validations() for place in options.folders for folder in find_runs(place)}
    if not found:
        raise ConfigError(f"no training run in {', '.join(map(str, options.folders))}: expected metrics.jsonl")
    if options.out is not None:
        check_outputs(options, options.out)
        curves_figure({name: _curve(rows) for name, rows in found.items()}, "validation PSNR (dB)", options.out)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        Console().print(_table(found))
        if options.out is not None:
            print(f"curves drawn to {options.out}")
    return 0


def _curve(rows: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:
    return [(row["step"], row["validation"]["psnr"]) for row in rows if "psnr" in row["validation"]]


def _table(found: dict[str, list[dict[str, Any]]]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, caption="best: PSNR (dB) and SSIM of the best checkpoint"
    )
    table.add_column("run", overflow="fold", min_width=12)
    for column in ("step", "hours", "loss", "PSNR", "best", "at step", "SSIM"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, rows in found.items():
        last = rows[-1]
        cells = [str(last["step"]), f"{last['seconds'] / 3600:.2f}", f"{last['loss']:.4g}"]
        scored = [row for row in rows if "psnr" in row["validation"]]
        if scored:
            best = max(scored, key=lambda row: row["validation"]["psnr"])
            cells += [f"{scored[-1]['validation']['psnr']:.2f}", f"{best['validation']['psnr']:.2f}"]
            cells += [str(best["step"]), f"{best['validation']['ssim']:.4f}"]
        table.add_row(name, *cells)
    return table
