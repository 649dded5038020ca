"""`laminar dataset check`: what is in a folder of scans, and what is wrong with it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from laminar.cli.progress import progress
from laminar.cli.scans import ArrayOptions, add_array_options
from laminar.errors import SOME_FAILED
from laminar.words import counted

if TYPE_CHECKING:
    from laminar.data.check import Finding, Read, Report

_SHOWN = 5


@dataclass(frozen=True)
class Options:
    action: str
    folder: Path
    json: bool
    index: Path | None
    source: ArrayOptions


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        "dataset",
        help="check a folder of scans: shapes, corrupt files, leakage, duplicates, suspicious k-space",
        description="Check all scans in a folder and below. Folders named train, val or test, or else the first level, "
        "are the splits: a subject in two of them is leakage. Facts are kept in DIR/.laminar-index.json, so that only "
        "what is new or changed is read.",
    )
    parser.add_argument("action", choices=("check",))
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print everything as JSON, file by file")
    parser.add_argument("--index", type=Path, metavar="FILE", help="keep the facts there instead")
    add_array_options(parser)
    parser.set_defaults(run=run, options=Options)


def run(options: Options) -> int:
    """Print the report; 1 if there is any finding, else 0."""
    from laminar.data.check import INDEX, check_folder

    report = check_folder(options.folder, options.index, _tracked, options.source.request)
    if options.json:
        print(json.dumps(report.as_dict(), indent=1))
    else:
        _show(report)
        index = options.index or options.folder / INDEX
        if index.exists():
            print(f"kept for the next check: {index}")
    return SOME_FAILED if report.findings else 0


def _tracked(reads: Iterable[Read], total: int) -> Iterator[Read]:
    with progress("checking", total) as report:
        for done, read in enumerate(reads, 1):
            yield read
            report(done)


def _show(report: Report) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for heading in ("split", "format", "coils", "y, x", "files", "slices", "subjects", "R", "noise std"):
        table.add_column(heading, justify="left" if heading in ("split", "format") else "right", overflow="fold")
    for row in report.table():
        low, high = (f"{value:.2f}" for value in row["acceleration"])
        numbers = [row["files"], row["slices"], row["subjects"]]
        rate = low if low == high else f"{low} to {high}"
        cells = [row["split"], row["format"], row["coils"], ", ".join(map(str, row["matrix"])), *numbers, rate]
        table.add_row(*map(str, cells), f"{row['noise_std']:.3g}")
    Console().print(table)
    if report.others:
        print(counted(report.others, "other file is no scan", "other files are no scans"))
    kinds = list(dict.fromkeys(finding.kind for finding in report.findings))
    for kind in kinds:
        _show_kind(kind, [finding for finding in report.findings if finding.kind == kind])
    if not kinds:
        print("nothing found")


def _show_kind(kind: str, findings: list[Finding]) -> None:
    print(f"{kind}: {len(findings)}")
    for finding in findings[:_SHOWN]:
        print(f"  {', '.join(finding.files)}: {finding.said}")
    if len(findings) > _SHOWN:
        print(f"  and {len(findings) - _SHOWN} more: --json lists them")
