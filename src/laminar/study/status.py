"""How far a study is."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from laminar.errors import LaminarError
from laminar.files import LOCK, holding
from laminar.study.folder import Plan, StudyFolder
from laminar.study.versions import code_version


@dataclass(frozen=True)
class Status:
    """Counts of cells, the failures by name, cells that cannot be, and what a look at the clock says.

    `seconds_left` is of one worker, from the mean time of what is done; None before anything is.
    """

    total: int
    done: int
    running: list[str]
    failed: dict[str, str]
    impossible: dict[str, str]
    waiting: int
    seconds_left: float | None
    others: int
    code_changed: bool


def status_of(folder: StudyFolder) -> Status:
    """The state of the plan of the last run."""
    plan = folder.plan()
    running, failed, left = list[str](), dict[str, str](), list[str]()
    results = {key: result for key in plan.cells if (result := folder.result(key)) is not None}
    busy = {run for run in plan.groups if is_held(folder.run(run))}
    for key, cell in plan.cells.items():
        if key in results:
            continue
        if cell.run in busy:
            running.append(f"{plan.name_of(key)}{_step(folder.run(cell.run))}")
            left.append(key)
        elif (failure := folder.failure(key)) is not None:
            failed[plan.name_of(key)] = failure["message"]
        else:
            left.append(key)
    for key, result in results.items():
        for test, scores in result["tests"].items():
            if "failed" in scores:
                failed.setdefault(f"{plan.name_of(key)}, test {test}", scores["failed"])
    return Status(
        total=len(plan.cells),
        done=len(results),
        running=running,
        failed=failed,
        impossible={place.name: place.error for place in plan.places if place.error is not None},
        waiting=len(left) - len(running),
        seconds_left=_left(plan, results, left),
        others=len(folder.others(plan)),
        code_changed=plan.code != code_version(),
    )


def is_held(folder: Path) -> bool:
    """Whether a process works in a run folder now."""
    if not (folder / LOCK).exists():
        return False
    try:
        with holding(folder):
            return False
    except LaminarError:
        return True


def _step(run: Path) -> str:
    """`, at step N`, of the last validation of a training."""
    try:
        last = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1]
        return f", at step {json.loads(last)['step']}"
    except (OSError, IndexError, ValueError, KeyError):
        return ""


def _left(plan: Plan, results: dict[str, Any], left: list[str]) -> float | None:
    """Seconds of one worker for what is open: of every cell, the mean time of the done ones with its first level."""
    kinds = {place.key: next(iter(place.labels.values()), "") for place in plan.places if place.key is not None}
    took: dict[str, list[float]] = {}
    for key, result in results.items():
        costs = result["costs"]
        seconds = (costs["training_seconds"] or 0) + sum(map(sum, costs["test_seconds"].values()))
        took.setdefault(kinds[key], []).append(seconds)
    if not took:
        return None if left else 0.0
    everyone = statistics.fmean(value for values in took.values() for value in values)
    return sum(statistics.fmean(took.get(kinds[key], [everyone])) for key in left)
