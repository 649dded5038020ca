"""One progress bar for every verb: rate and time left on a terminal, nothing where output is redirected."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Report(Protocol):
    """How far the work is, and what it says of itself."""

    def __call__(self, done: int, said: str = "") -> None: ...


@contextmanager
def progress(what: str, total: int, *, quiet: bool = False) -> Iterator[Report]:
    """A function that moves the bar, which is gone when the block ends."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(file=getattr(sys.stderr, "stream", sys.stderr))  # the bar is not for a log
    logged = console.file is not sys.stderr
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[said]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    quiet = quiet or getattr(sys.stdout, "muted", False) or not console.is_terminal
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=quiet,
        redirect_stdout=not logged,
        redirect_stderr=not logged,
    ) as bar:
        task = bar.add_task(what, total=total, said="")
        yield lambda done, said="": bar.update(task, completed=done, said=said)
