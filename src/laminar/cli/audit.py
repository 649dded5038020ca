"""`laminar audit`: any unrolled network, cascade by cascade, as a table, as JSON and as a page."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laminar.cli.methods import SolverOptions, add_regularizer, add_settings
from laminar.cli.outputs import add_overwrite, check_outputs
from laminar.cli.progress import progress
from laminar.cli.scenario import Scenario, add_scenario
from laminar.errors import ConfigError
from laminar.registry import METHODS
from laminar.words import counted

if TYPE_CHECKING:
    from rich.table import Table

    from laminar.methods import Method

_EPILOG = """examples:
  laminar audit default
  laminar audit runs/mine/best --data scans/ --acceleration 6 --out audit-mine
  laminar audit mypackage.networks:make_subject
  laminar audit varnet.safetensors
  laminar audit dds --prior runs/prior/best --nfe 19

The protocol of a callable, the keys of audit.json and what each number means: docs/audit.md"""


@dataclass(frozen=True)
class Options:
    model: str
    regularizer: str | None
    out: Path | None
    json_only: bool
    overwrite: bool
    acceleration: float
    told: SolverOptions
    scenario: Scenario


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "audit",
        help="look into an unrolled network cascade by cascade",
        description="Measure what an unrolled network does from cascade to cascade: quality, distance from the "
        "straight path, data residual, gain of perturbations, other noise levels and depths. Writes audit.json and "
        "audit.html.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help=_MODEL)
    add_regularizer(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: audit-NAME")
    parser.add_argument("--json-only", action="store_true", help="write no page")
    add_overwrite(parser)
    add_settings(parser.add_argument_group("if MODEL is a classical method or a sampler"))
    group = add_scenario(parser, 12, "perturbations")
    group.add_argument("--acceleration", type=float, default=4.0, metavar="R", help="nominal acceleration (default: 4)")
    parser.set_defaults(run=run, options=Options)


_MODEL = (
    "a checkpoint folder, a model that ships, a method of `laminar reconstruct --method`, package.module:name of a "
    "callable, or the weights of a fastmri VarNet in a .safetensors file"
)


def run(options: Options) -> int:
    import statistics
    import time

    from rich.console import Console

    from laminar.audit import audit, make_cases
    from laminar.audit_page import write_page
    from laminar.figures import check_drawable
    from laminar.files import write_json
    from laminar.runtime import keep_freed_memory

    if not options.json_only:
        check_drawable("--json-only")
    keep_freed_memory()
    started = time.perf_counter()
    subject = _subject(options)
    out = options.out or Path(f"audit-{subject.name}")
    check_outputs(options, *(out / f"audit.{kind}" for kind in (("json",) if options.json_only else ("json", "html"))))
    cases, data = make_cases(options.scenario.config(subject, options.acceleration))
    with progress(f"auditing {subject.name}", len(cases)) as report:
        result = audit(subject, cases, data, seed=options.scenario.seed, report=report)
    if not options.json_only:
        write_page(out / "audit.html", result)
    write_json(out / "audit.json", result.record)
    console = Console()
    for part in _summary(result.record):
        console.print(part)
    written = "audit.json" if options.json_only else "audit.json and audit.html"
    once = statistics.median(slice_.seconds for slice_ in result.slices)
    print(f"a reconstruction: {result.record['nfe']} network evaluations, {once:.2f} s a slice (median)")
    print(f"{counted(len(cases), 'slice')} in {time.perf_counter() - started:.0f} s; written to {out}/: {written}")
    return 0


def _subject(options: Options) -> Method:
    from laminar.methods import open_model

    if options.model in METHODS[1:] and not (Path(options.model) / "model.json").exists():
        return options.told.open(options.model)
    if not options.told.idle:
        raise ConfigError(
            f"--prior, --nfe and --set are for classical methods and samplers, such as dds; {options.model} is neither"
        )
    return open_model(options.model, options.regularizer)


def _summary(record: dict[str, Any]) -> Iterator[Table]:
    from rich.markup import escape
    from rich.table import Table

    yield _table(record)
    marks = {True: "[green]yes[/green]", False: "[red]no[/red]", None: "[dim]-[/dim]"}
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(max_width=94)
    for finding in record["findings"]:
        text = f"[bold]{escape(finding['question'])}[/bold] {escape(finding['text'])}"
        grid.add_row(marks[finding["holds"]], text)
    yield grid


def _table(record: dict[str, Any]) -> Table:
    """One row a state, the source first, in 80 columns."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    data = record["data"]
    of = f"{'simulated ' * bool(data['simulated'])}slice{'s' * (data['n_slices'] > 1)}"
    caption = (
        f"mean over {data['n_slices']} {of}, R = {data['measured_acceleration']:.1f}; implied endpoint; line "
        "deviation; data residual over expected noise; gain of white noise before the cascade; measured t and h"
    )
    title = f"Audit of {escape(record['subject']['name'])}, cascade by cascade"
    table = Table(title=title, caption=caption, box=SIMPLE_HEAD, padding=(0, 1), collapse_padding=True)
    for column in ("", "PSNR", "95 % CI", "SSIM", "endpoint", "line", "resid.", "gain", "t", "h"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    first = record["source"] | {"line_deviation": 0.0, "implied_time": 1.0}
    for label, row in [("source", first), *((str(c["cascade"]), c) for c in record["cascades"])]:
        interval = row["intervals"]["psnr"]
        table.add_row(
            label,
            _cell(row["psnr"], 2),
            "-" if interval is None else f"{interval[0]:.1f}-{interval[1]:.1f}",
            _cell(row["ssim"], 3),
            _cell(row.get("endpoint_psnr"), 2),
            _cell(row["line_deviation"], 2),
            _cell(row["data_residual_noise"], 2),
            _cell(row.get("perturbation_gain"), 2),
            _cell(row["implied_time"], 2),
            _cell(row.get("implied_step"), 2),
        )
    return table


def _cell(value: float | None, places: int) -> str:
    return "-" if value is None else f"{value:.{places}f}"
