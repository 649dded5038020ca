"""Many scans by an executor: a part of them a worker, so that its model is loaded once; what is finished is skipped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from laminar.cli.methods import MethodOptions
from laminar.cli.progress import progress
from laminar.cli.summary import Batch, Done

if TYPE_CHECKING:
    from laminar.executors import Ended, Place
    from laminar.methods import Method

Scan = tuple[Path, str]
"""A file and the name of what it becomes."""
Told = tuple[str, Done | str | None]
"""The name of a scan and what became of it: if it failed, why; None if its worker died after it was written."""
Worker = Callable[[tuple[Scan, ...]], list[Told]]
"""Reconstructs scans."""


def in_bulk(place: Place, worker: Worker, scans: Sequence[Scan], is_finished: Callable[[Scan], bool]) -> Batch:
    """Run `worker` over the scans that are not finished. A scan whose process died gets another one to itself."""
    open_scans = [scan for scan in scans if not is_finished(scan)]
    is_open = set(open_scans)
    batch = Batch(skipped=[scan[1] for scan in scans if scan not in is_open])
    with progress("scans", len(open_scans)) as report:
        for count, (name, became) in enumerate(_ended(place, worker, open_scans, is_finished), 1):
            if isinstance(became, str):
                batch.failed[name] = became
                print(f"laminar: error: {became}", file=sys.stderr)
            elif became is None:
                batch.skipped.append(name)
            else:
                batch.done.append(became)
            report(count)
    return batch


def _ended(place: Place, worker: Worker, scans: Sequence[Scan], is_finished: Callable[[Scan], bool]) -> Iterator[Told]:
    from laminar.executors import run_all

    size = 1 if place.kind == "dask" else -(-len(scans) // place.workers)  # a worker of dask keeps its model
    left: list[Scan] = []
    for ended in run_all(place, worker, [tuple(scans[i : i + size]) for i in range(0, len(scans), size or 1)]):
        if ended.died and len(ended.task) > 1:
            over = [scan for scan in ended.task if is_finished(scan)]
            yield from ((name, None) for _, name in over)
            left += [scan for scan in ended.task if scan not in over]
        else:
            yield from _told(ended)
    singly: list[tuple[Scan, ...]] = [(scan,) for scan in left]
    for ended in run_all(place, worker, singly):
        yield from _told(ended)


def _told(ended: Ended[tuple[Scan, ...], list[Told]]) -> list[Told]:
    if ended.value is not None:
        return ended.value
    return [(name, f"{path}: {ended.error}") for path, name in ended.task]


@lru_cache(1)
def kept_method(choice: MethodOptions) -> Method:
    """The method of the options, loaded once a process."""
    from laminar.runtime import keep_freed_memory

    keep_freed_memory()
    return choice.open()


def is_finished(path: Path, outputs: Sequence[Path], request: str) -> bool:
    """Whether all results of a scan are there, none older than it, and of this request."""
    import h5py

    try:
        if any(output.stat().st_mtime < path.stat().st_mtime for output in outputs):
            return False
        with h5py.File(outputs[0], "r") as file:
            return bool(file.attrs.get("request") == request)
    except OSError:
        return False
