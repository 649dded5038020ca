"""Driving a study: which trainings are still to be computed, by whom, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from laminar.executors import Ended, Place, run_all
from laminar.study.compute import compute
from laminar.study.folder import Plan, StudyFolder


@dataclass(frozen=True)
class Progress:
    """What is said after each training: the names of its cells, why some have no result, and how many are done."""

    names: list[str]
    error: str | None
    done: int
    of: int


Report = Callable[[Progress], None]


def waiting(folder: StudyFolder, plan: Plan, retry_failed: bool = False) -> list[tuple[str, ...]]:
    """The keys of cells without a result, those of one training together; failed ones only if asked for."""

    def is_open(key: str) -> bool:
        return folder.result(key) is None and (retry_failed or folder.failure(key) is None)

    groups = (tuple(filter(is_open, keys)) for keys in plan.groups.values())
    return [keys for keys in groups if keys]


def run_study(
    folder: StudyFolder, plan: Plan, place: Place, *, retry_failed: bool = False, report: Report = lambda _: None
) -> list[str]:
    """Compute what is waiting; the reasons that were not recorded as a cell's, such as a full disk, one line each.

    `folder` has its plan already; `plan` is that, or the part of a shard. A process that dies takes no other along: its
    cells have failed, unless they have a result.
    """
    tasks = waiting(folder, plan, retry_failed)
    unrecorded: list[str] = []
    for done, ended in enumerate(run_all(place, partial(compute, str(folder.path)), tasks), start=1):
        names = [plan.name_of(key) for key in ended.task]
        error = _recorded(folder, ended)
        if error is None and ended.error is not None:
            unrecorded.append(f"{names[0]}: {ended.error}")
        report(Progress(names, error or ended.error, done, len(tasks)))
    return unrecorded


def _recorded(folder: StudyFolder, ended: Ended[tuple[str, ...], dict[str, dict[str, str]]]) -> str | None:
    """What is kept of a training that failed in whole or in part; None if nothing is."""
    if ended.died and ended.error is not None:
        for key in ended.task:
            if folder.result(key) is None:
                folder.fail(key, {"kind": "Died", "message": ended.error})
        return ended.error
    return "; ".join(dict.fromkeys(failure["message"] for failure in (ended.value or {}).values())) or None


def open_folder(path: Path, others: Sequence[Path] = ()) -> StudyFolder:
    """The folder of a study, with the results of its other shards."""
    from laminar.study.folder import merged

    return merged([StudyFolder(path), *map(StudyFolder, others)])
