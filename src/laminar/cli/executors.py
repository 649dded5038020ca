"""The options that name an executor, alike for every verb that has many things to do."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from laminar.executors import Place


@dataclass(frozen=True)
class ExecutorOptions:
    """`--executor` and what it is told."""

    executor: str | None
    workers: int
    address: str | None
    cluster: str | None
    minutes: int

    def place(self, logs: Path) -> Place:
        """Where the options put the work. Raises ConfigError."""
        from laminar.executors import Place

        return Place(self.executor or "local", self.workers, self.address, logs, self.cluster, self.minutes)


def add_executor_options(parser: argparse.ArgumentParser, default: str | None) -> None:
    """The options of `ExecutorOptions`."""
    group = parser.add_argument_group("where the work is done")
    group.add_argument("--executor", choices=("local", "submitit", "dask"), default=default, help=_EXECUTOR)
    group.add_argument("--workers", type=int, default=1, metavar="N", help="how many at a time (default: 1)")
    group.add_argument("--address", metavar="HOST:PORT", help="of a running dask scheduler; default: one is made here")
    group.add_argument("--cluster", metavar="NAME", help="of submitit: slurm | local (default: found out)")
    group.add_argument("--minutes", type=int, default=240, metavar="M", help="longest time of a job (default: 240)")


_EXECUTOR = "local processes | jobs of SLURM by submitit | a cluster of dask (extras submitit and dask)"
