"""Running one function on many tasks: in processes of this machine, as jobs of SLURM, or on a cluster of dask.

An executor takes a function of the top level of a module and tasks, all of which can be pickled, and yields an `Ended`
for each task when it ends; what one task does, even dying, does not stop the others.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any, Generic, TypeVar

from laminar.errors import ConfigError, LaminarError, MissingExtraError, failure
from laminar.runtime import follow_parent

EXECUTORS = ("local", "submitit", "dask")
RETRIES = 2
"""How often dask tries a task again whose worker died or that failed for a reason that is none of ours."""
Task = TypeVar("Task")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Ended(Generic[Task, Value]):
    """A task with its value, or with one line that says why it has none; `died` if the process did not say itself."""

    task: Task
    value: Value | None
    error: str | None = None
    died: bool = False


@dataclass(frozen=True)
class Place:
    """Where tasks run.

    Args:
        kind: local | submitit | dask.
        workers: how many at a time.
        address: of a running dask scheduler; without one a cluster of processes is made on this machine.
        logs: folder for what jobs of submitit print.
        cluster: of submitit: slurm | local; found out if None.
        minutes: longest time of a job of submitit; one that needs longer is requeued and goes on.
    """

    kind: str = "local"
    workers: int = 1
    address: str | None = None
    logs: Path = Path("logs")
    cluster: str | None = None
    minutes: int = 240

    def __post_init__(self) -> None:
        if self.kind not in EXECUTORS:
            raise ConfigError(f"executor must be one of {', '.join(EXECUTORS)}; got {self.kind!r}")
        if not 1 <= self.workers <= 10_000:
            raise ConfigError(f"workers must be a number from 1 to 10000; got {self.workers}")
        if self.address is not None and self.kind != "dask":
            raise ConfigError(f"an address is that of a dask scheduler: executor {self.kind} has no use for it")


def run_all(place: Place, function: Callable[[Task], Value], tasks: Sequence[Task]) -> Iterator[Ended[Task, Value]]:
    """`function(task)` for every task, each when it ends. Raises MissingExtraError if its package is not installed."""
    run = {"local": _locally, "submitit": _by_submitit, "dask": _by_dask}[place.kind]
    return run(place, function, tasks)


def attempt(function: Callable[[Task], Value], task: Task) -> Ended[Task, Value]:
    """The value, or the one line of an error of ours or of the machine; faults of the program are raised."""
    try:
        return Ended(task, function(task))
    except LaminarError as error:
        return Ended(task, None, str(error))
    except Exception as error:
        if (line := failure(error)) is None:
            raise
        return Ended(task, None, line)


def _locally(place: Place, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Ended[Any, Any]]:
    """A fresh process a task: its memory is its own, and if it is killed, no other is."""
    context, waiting = get_context("spawn"), list(reversed(tasks))
    running: dict[connection.Connection, tuple[Any, Any]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < place.workers:
                task = waiting.pop()
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=_child, args=(os.getpid(), sender, function, task))
                process.start()
                sender.close()
                running[receiver] = process, task
            for ready in connection.wait(list(running)):
                assert isinstance(ready, connection.Connection)
                yield _heard(ready, *running.pop(ready))
    finally:
        for receiver, (process, _) in running.items():
            process.kill()
            process.join()
            receiver.close()


def _heard(receiver: connection.Connection, process: Any, task: Any) -> Ended[Any, Any]:
    """What a process says, before it ends: it waits until a long message is taken. One that died says nothing."""
    with closing(receiver):
        try:
            found: Ended[Any, Any] = receiver.recv()
        except (EOFError, OSError):
            process.join()
            return Ended(task, None, f"its process {_end_of(process.exitcode)}", died=True)
    process.join()
    return found


def _end_of(code: int) -> str:
    if code == -signal.SIGKILL:
        return "was killed: out of memory, or by hand"
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _child(parent: int, sender: connection.Connection, function: Callable[[Any], Any], task: Any) -> None:
    follow_parent()
    if os.getppid() == parent:  # else it died before it could be followed
        sender.send(attempt(function, task))


@dataclass(frozen=True)
class _Requeued:
    """A job for submitit that goes on where it was when its time is up: what it does must be resumable."""

    function: Callable[[Any], Any]

    def __call__(self, task: Any) -> Ended[Any, Any]:
        return attempt(self.function, task)

    def checkpoint(self, task: Any) -> Any:
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, task)


def _by_submitit(place: Place, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Ended[Any, Any]]:
    try:
        import submitit
    except ImportError as error:
        raise MissingExtraError("submitit", "submitit") from error
    executor = submitit.AutoExecutor(folder=place.logs, cluster=place.cluster)
    executor.update_parameters(timeout_min=place.minutes, slurm_array_parallelism=place.workers)
    at_once = len(tasks) if executor.cluster == "slurm" else place.workers  # an array of SLURM minds its own width
    for start in range(0, len(tasks), at_once):
        jobs = executor.map_array(_Requeued(function), tasks[start : start + at_once])
        by_id = {job.job_id: task for job, task in zip(jobs, tasks[start : start + at_once], strict=True)}
        try:
            for job in submitit.helpers.as_completed(jobs):
                yield _finished(job, by_id[job.job_id])
        except BaseException:
            for job in jobs:
                job.cancel(check=False)
            raise


def _finished(job: Any, task: Any) -> Ended[Any, Any]:
    import submitit

    try:
        found: Ended[Any, Any] = job.result()
        return found
    except (submitit.core.utils.FailedJobError, submitit.core.utils.UncompletedJobError) as error:
        return Ended(task, None, _last_line(error), died=True)


def _by_dask(place: Place, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Ended[Any, Any]]:
    try:
        from distributed import Client, LocalCluster, as_completed
    except ImportError as error:
        raise MissingExtraError("distributed", "dask") from error
    made = place.address is None
    target: Any = place.address
    if made:
        target = LocalCluster(n_workers=place.workers, threads_per_worker=1, dashboard_address=None)
    try:
        client = Client(target)
    except (OSError, ValueError) as error:
        raise ConfigError(f"no dask scheduler at {place.address}: {_last_line(error)}") from error
    try:
        futures = {client.submit(attempt, function, task, pure=False, retries=RETRIES): task for task in tasks}
        for future in as_completed(futures, raise_errors=False):
            fault = future.exception()
            yield future.result() if fault is None else Ended(futures[future], None, _last_line(fault), died=True)
            future.release()
    finally:
        client.close()
        if made:
            target.close()


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[-1].split())[:300]
