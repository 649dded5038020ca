"""`laminar study`: a grid of trainings and tests, each computed once, and the report that compares them."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from laminar.cli.executors import ExecutorOptions, add_executor_options
from laminar.cli.outputs import add_overwrite, check_output
from laminar.errors import SOME_FAILED, ConfigError
from laminar.words import counted

if TYPE_CHECKING:
    from laminar.study.folder import Plan, StudyFolder
    from laminar.study.run import Progress

_EPILOG = """examples:
  laminar study run studies/presets.yaml --out runs/presets      go on at any time with the same command
  laminar study run studies/presets.yaml --out a --shard 1/2     and 2/2 elsewhere
  laminar study status runs/presets
  laminar study report runs/presets                              or: report a b, the shards of one study"""


@dataclass(frozen=True)
class RunOptions:
    config: Path
    out: Path
    shard: str | None
    retry_failed: bool
    dry_run: bool
    where: ExecutorOptions


@dataclass(frozen=True)
class StatusOptions:
    folders: tuple[Path, ...]


@dataclass(frozen=True)
class ReportOptions:
    folders: tuple[Path, ...]
    out: Path | None
    overwrite: bool


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "study",
        help="compare methods over data, settings and seeds: run, status, report",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    run_parser = actions.add_parser("run", help="compute what has no result yet")
    run_parser.add_argument("config", type=Path, metavar="CONFIG", help="the study, a YAML file (docs/study.md)")
    run_parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder of the study")
    run_parser.add_argument("--shard", metavar="I/N", help="only part I of N of the trainings")
    run_parser.add_argument("--retry-failed", action="store_true", help="also compute again what failed before")
    run_parser.add_argument("--dry-run", action="store_true", help="say what would be computed, and stop")
    add_executor_options(run_parser, default="local")
    run_parser.set_defaults(run=_run, options=RunOptions)
    for name, said in (("status", "what is done, running, failed, and the time left"), ("report", "write the report")):
        action = actions.add_parser(name, help=said)
        action.add_argument(
            "folders",
            nargs="+",
            type=Path,
            metavar="DIR",
            help="the folder of a study, or its shards: merged by key into the first",
        )
        action.set_defaults(run=_status, options=StatusOptions)
        if name == "report":
            action.set_defaults(run=_report, options=ReportOptions)
            action.add_argument("--out", type=Path, metavar="DIR", help="where to write it (default: the first DIR)")
            add_overwrite(action)


def _run(options: RunOptions) -> int:
    from laminar.study.folder import StudyFolder, make_plan, sharded
    from laminar.study.reading import load_study
    from laminar.study.run import run_study, waiting

    folder, plan = StudyFolder(options.out), make_plan(load_study(options.config))
    part = plan if options.shard is None else sharded(plan, *_shard(options.shard))
    place = options.where.place(options.out / "logs")
    _say_changes(folder, plan)
    tasks = waiting(folder, part, options.retry_failed)
    work = counted(len(tasks), "training or method", "trainings or methods")
    print(f"{counted(len(part.cells), 'cell')}; {sum(map(len, tasks))} to compute in {work}")
    if options.dry_run:
        for keys in tasks:
            print("  " + "; ".join(map(plan.name_of, keys)))
        return 0
    folder.save_plan(plan)
    unrecorded = run_study(folder, part, place, retry_failed=options.retry_failed, report=_say)
    for line in unrecorded:
        print(f"laminar: error: {line}", file=sys.stderr)
    return _ended(folder, part, bool(unrecorded))


def _say(progress: Progress) -> None:
    ended = f"failed: {progress.error}" if progress.error else "done"
    print(f"[{progress.done}/{progress.of}] {'; '.join(progress.names)}: {ended}", flush=True)


def _say_changes(folder: StudyFolder, plan: Plan) -> None:
    """Say which results will not be used, and why they may not be."""
    if not folder.plan_file.exists():
        return
    before, others = folder.plan(), folder.others(plan)
    if before.code != plan.code:
        print(f"the code has changed, {before.code} to {plan.code}: its cells have other keys")
    if others:
        print(f"not used: {counted(len(others), 'result')} of other code, data or settings in {folder.path}")


def _ended(folder: StudyFolder, plan: Plan, broken: bool) -> int:
    failed = [key for key in plan.cells if folder.result(key) is None and folder.failure(key) is not None]
    impossible = [place for place in plan.places if place.error is not None]
    for each in impossible:
        print(f"laminar: {each.name} cannot be: {each.error}", file=sys.stderr)
    if failed:
        of = counted(len(plan.cells), "cell")
        print(f"laminar: {len(failed)} of {of} failed: laminar study status", file=sys.stderr)
    print(f"report: laminar study report {folder.path}")
    return SOME_FAILED if failed or impossible or broken else 0


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise ConfigError(f"--shard wants I/N with I from 1 to N, such as 1/4; got {text!r}")
    return int(index), int(count)


def _status(options: StatusOptions) -> int:
    from laminar.study.run import open_folder
    from laminar.study.status import status_of

    status = status_of(open_folder(options.folders[0], options.folders[1:]))
    of = counted(status.total, "cell")
    print(f"done {status.done}, running {len(status.running)}, waiting {status.waiting}, of {of}")
    for name in status.running:
        print(f"running: {name}")
    for name, message in status.failed.items():
        print(f"failed: {name}: {message}")
    for name, message in status.impossible.items():
        print(f"cannot be: {name}: {message}")
    if status.others:
        print(f"{counted(status.others, 'result')} of other code, data or settings beside them")
    if status.code_changed:
        print("the code has changed since: laminar study run computes its cells anew, under other keys")
    if status.seconds_left is not None:
        print(f"time left: {_duration(status.seconds_left)} of one worker")
    return 0


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _report(options: ReportOptions) -> int:
    from laminar.study.page import FILES, write_report
    from laminar.study.run import open_folder

    folder = open_folder(options.folders[0], options.folders[1:])
    out = options.out or folder.path
    for name in FILES:
        check_output(out / name, (), options.overwrite)
    for path in write_report(folder, out):
        print(path)
    return 0
