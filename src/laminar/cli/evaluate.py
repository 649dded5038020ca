"""`laminar evaluate`: predictions against references, as a table and as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from laminar.cli.outputs import add_overwrite, check_outputs
from laminar.errors import ALL_FAILED, SOME_FAILED, ConfigError
from laminar.words import counted, naming

if TYPE_CHECKING:
    from rich.table import Table

    from laminar.evaluation import Evaluation

FEW = 5


@dataclass(frozen=True)
class Options:
    predictions: Path | None
    references: Path | None
    out: Path | None
    json: bool
    reference: str | None
    center_crop: bool
    protocol: str | None
    overwrite: bool


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        "evaluate",
        help="compare reconstructions with references: PSNR, SSIM, NMSE",
        description="Compare predicted volumes with their references, by a protocol, or with the metrics of fastMRI.",
    )
    parser.add_argument(
        "predictions",
        type=Path,
        nargs="?",
        help="HDF5 file with the dataset 'reconstruction', or a folder of such files",
    )
    parser.add_argument(
        "references", type=Path, nargs="?", help="HDF5 file in fastMRI layout, or a folder of such files"
    )
    parser.add_argument(
        "--protocol", metavar="NAME", help="volumes, slices, crop and metrics of a protocol; list shows them"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="also write all values, slice by slice")
    parser.add_argument("--json", action="store_true", help="print all values as JSON instead of the table")
    parser.add_argument(
        "--reference",
        metavar="NAME",
        help="reference dataset (default: reconstruction_rss, reconstruction_esc or reconstruction)",
    )
    parser.add_argument(
        "--center-crop",
        action="store_true",
        help="crop both to the centered square of the reference's width first",
    )
    add_overwrite(parser)
    parser.set_defaults(run=run, options=Options)


def run(options: Options) -> int:
    """Print the table, write the JSON; 0 if all volumes were scored, 1 if some, 2 if none."""
    from rich.console import Console

    from laminar.evaluation import evaluate_files, load_protocol
    from laminar.files import write_json

    if options.protocol == "list":
        return _list_protocols()
    if options.predictions is None or options.references is None:
        raise ConfigError("evaluate needs predictions and references; got one of them or none")
    protocol = None if options.protocol is None else load_protocol(options.protocol)
    if options.out is not None:
        check_outputs(options, options.out)
    evaluation = evaluate_files(
        options.predictions,
        options.references,
        reference=options.reference,
        center_crop=options.center_crop,
        protocol=protocol,
    )
    if options.json:
        print(json.dumps(evaluation.as_dict(), indent=1, allow_nan=False))
    elif evaluation.scores:
        Console().print(_table(evaluation))
    if options.out is not None:
        write_json(options.out, evaluation.as_dict())
    for note in evaluation.notes:
        print(f"laminar: note: {note}", file=sys.stderr)
    for name, reason in evaluation.failures.items():
        print(f"laminar: error: {naming(name, reason)}", file=sys.stderr)
    if evaluation.failures:
        total = len(evaluation.scores) + len(evaluation.failures)
        print(f"laminar: {len(evaluation.failures)} of {counted(total, 'volume')} failed", file=sys.stderr)
    if not evaluation.failures:
        return 0
    return SOME_FAILED if evaluation.scores else ALL_FAILED


def _list_protocols() -> int:
    from laminar.evaluation import load_protocol, protocol_names

    for name in protocol_names():
        print(f"{name:24} {load_protocol(name).title}")
    return 0


_COLUMNS = {"psnr": ("PSNR (dB)", 2), "ssim": ("SSIM", 4), "nmse": ("NMSE", 4), "object_psnr": ("object (dB)", 2)}


def _table(evaluation: Evaluation) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = f"Protocol {evaluation.protocol}" if evaluation.protocol else None
    several = len(evaluation.scores) > 1
    few = 1 < len(evaluation.scores) < FEW
    caption = evaluation.statement + f"; an interval from {len(evaluation.scores)} volumes says little" * few
    table = Table(title=title, caption=caption, show_footer=several, box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    summary = evaluation.summary()
    table.add_column("volume", footer="mean\n± std\n95 % CI from\nto", overflow="fold", min_width=12)
    table.add_column("slices", justify="right", no_wrap=True)
    shown = {name: column for name, column in _COLUMNS.items() if name in summary}
    for name, (heading, places) in shown.items():
        mean, std, low, high = (f"{value:.{places}f}" for value in summary[name].values())
        table.add_column(heading, footer=f"{mean}\n± {std}\n{low}\n{high}", justify="right", no_wrap=True)
    for volume, score in evaluation.scores.items():
        cells = (f"{score.volume[name]:.{places}f}" for name, (_, places) in shown.items())
        table.add_row(volume.removesuffix(".h5"), str(len(score.slices["psnr"])), *cells)
    return table
