"""`laminar convert`: a scan in another format."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from laminar.cli.outputs import add_overwrite, check_outputs
from laminar.cli.scans import ScanOptions, add_scan_options
from laminar.errors import printable


@dataclass(frozen=True)
class Options:
    input: Path
    to: str
    out: Path
    overwrite: bool
    source: ScanOptions


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "convert",
        help="write a scan in another format",
        description="Write the k-space of a scan of any format that can be read as another one.",
    )
    parser.add_argument("input", type=Path, metavar="SCAN", help="a scan file")
    parser.add_argument("--to", choices=("fastmri", "bart", "numpy", "ismrmrd"), required=True)
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="the file; its suffix is that of the format if it has none"
    )
    add_overwrite(parser)
    add_scan_options(parser)
    parser.set_defaults(run=run, options=Options)


def run(options: Options) -> int:
    from laminar.data.formats.write import WRITERS, named

    suffix, write = WRITERS[options.to]
    path = options.out if options.out.suffix else options.out.with_suffix(suffix)
    outputs = [path.with_suffix(kind) for kind in (".cfl", ".hdr")] if options.to == "bart" else [path]
    check_outputs(options, *outputs)
    scan = options.source.stream(options.input).whole()
    write(path, scan)
    for note in scan.header.get("notes", ()):
        print(printable(f"{scan.name}: {note}"))
    axes = f", --axes {named(scan)}" if options.to == "numpy" else ""
    print(printable(f"written to {path}{axes}"))
    return 0
