"""Kill and starve every write at every file operation, and see that nothing is lost, torn or left behind.

    python -m benchmarks.attack --minutes 60 --seed 1

Each attack forks a writer that replaces an old result by a new one and hits one of its file operations: SIGKILL, or an
error as a full disk gives. Afterwards the old or the new result must be there, whole, and the next writer must leave
nothing but its own; the first reader, which mends what it finds, may be killed as well. First every operation of every
kind of write is hit, then random ones until the time is over, half of the time with a second writer in the same folder.
What broke is printed; results/attack.json counts.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import h5py

from benchmarks.record import RESULTS, header
from laminar import files
from laminar.errors import LaminarError
from laminar.files import replacing, write_json, writing_hdf5
from laminar.training.state import RunFolder

EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.listdir", "os.scandir", "ctypes.dlsym"}
HITS = {"kill": None, "disk": errno.ENOSPC, "permission": errno.EACCES, "files": errno.EMFILE, "device": errno.EIO}
LARGEST = 200_000


class Kind(NamedTuple):
    """A kind of result in a folder: how it is written with a text, and the texts found in it, one if it is whole."""

    write: Callable[[Path, str], None]
    read: Callable[[Path], set[str]]
    names: set[str]


def _write_hdf5(folder: Path, text: str) -> None:
    with writing_hdf5(folder / "a.h5") as file:
        file["text"] = text


def _read_hdf5(folder: Path) -> set[str]:
    with h5py.File(folder / "a.h5") as file:
        return {file["text"].asstr()[()]}


def _write_folder(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.mkdir()
        for name in ("a", "b"):
            (temporary / name).write_text(text)


def _write_run(folder: Path, text: str) -> None:
    run = RunFolder(folder / "run")
    with run.held(), run.renewing():
        run.log({"step": 1, "text": text})
        _write_folder(run.best, text)
        run.save_config(text)
        _write_folder(run.last, text)


def _read_run(folder: Path) -> set[str]:
    run = RunFolder(folder / "run")
    run.recover()
    logged = {json.loads(line)["text"] for line in run.metrics.read_text().splitlines()}
    return logged | _texts(run.best) | _texts(run.last) | {run.config.read_text().removeprefix("# laminar train\n")}


def _write_without_exchange(folder: Path, text: str) -> None:
    """As on file systems that cannot exchange two names."""
    with patch.object(files, "_EXCHANGE", 1 << 30):
        _write_folder(folder / "a", text)


def _read_recovered(folder: Path) -> set[str]:
    files.recover(folder / "a")
    return _texts(folder / "a")


def _texts(folder: Path) -> set[str]:
    return {(folder / name).read_text() for name in ("a", "b")}


KINDS = {
    "file": Kind(_write_hdf5, _read_hdf5, {"a.h5"}),
    "folder": Kind(lambda folder, text: _write_folder(folder / "a", text), lambda folder: _texts(folder / "a"), {"a"}),
    "folder in two steps": Kind(_write_without_exchange, _read_recovered, {"a"}),
    "run": Kind(_write_run, _read_run, {"run"}),
}


def forked(work: Callable[[], object]) -> Callable[[], int]:
    """Do `work` in a child; what is returned waits for it.

    It gives 0 if all went well, 1 if so but `work` returned something, 2 after a LaminarError of one line.
    """
    if child := os.fork():
        return lambda: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 4
    try:
        code = 1 if work() else 0
    except LaminarError as error:
        code = 2 if "\n" not in str(error) else 3
    finally:
        os._exit(code)


def hit(folder: Path, at: int, how: str) -> list[str]:
    """From now on, this process is hit at its operation number `at` inside `folder`; returned is what has been hit."""
    count, home, done = 0, str(folder), list[str]()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in EVENTS and (event == "ctypes.dlsym" or str(arguments[0]).startswith(home)):
            count += 1
            if count == at:
                done.append(event)
                code = HITS[how]
                if code is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError(code, os.strerror(code or 0))

    sys.addaudithook(hook)
    return done


def attack(
    where: Path | None, kind: Kind, at: int, how: str, size: int, rival: bool, again: int
) -> tuple[str, str | None]:
    """How one attack ended, `old`, `new`, or `unhit` if the writer had no so many operations, and what broke if any."""
    old, new, last = ("old" * size, "new" * size, "last" * size)
    folder = Path(tempfile.mkdtemp(prefix="attack-", dir=where))

    def writer() -> list[str]:
        done = hit(folder, at, how)
        kind.write(folder, new)
        return done

    try:
        kind.write(folder, old)
        files._sweep.cache_clear()  # the next writers are others
        others = [forked(lambda: kind.write(folder, old))] if rival else []
        code = forked(writer)()
        other = [wait() for wait in others]
        forked(lambda: (hit(folder, again, "kill"), kind.read(folder)))()
        texts = kind.read(folder)
        left = {path.name for path in folder.iterdir()} - kind.names
        broken = None
        if code not in (0, 1, 2, -signal.SIGKILL) or any(c not in (0, 2) for c in other):
            broken = f"exit codes {code}, {other}"
        elif texts not in ({old}, {new}) or (code in (0, 1) and not rival and texts != {new}):
            broken = f"after exit {code}, found {[text[:4] for text in texts]}"
        elif left and code == 2 and texts == {old}:
            broken = f"left {left}"
        kind.write(folder, last)
        hidden = {path.name for path in folder.rglob("*") if path.name.startswith(".")}
        if kind.read(folder) != {last} or {path.name for path in folder.iterdir()} != kind.names or hidden:
            broken = broken or f"the next writer left {hidden or [path.name for path in folder.iterdir()]}"
        return ("unhit" if code == 0 else "new" if texts == {new} else "old"), broken
    except (OSError, ValueError, KeyError) as error:
        return "torn", f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder)


def every() -> Iterator[tuple[str, int, str, int, bool, int]]:
    """Every operation of every kind of write; a kind is done where nothing was left to hit."""
    for name in KINDS:
        for how in ("kill", "disk"):
            at = 1
            while (yield name, at, how, 10, False, at % 10) != "unhit":
                at += 1


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--where", type=Path, help="folder on the disk to write to")
    parser.add_argument("--out", type=Path, default=RESULTS / "attack.json")
    args = parser.parse_args(arguments)
    chance, counts, broken = random.Random(args.seed), Counter[str](), list[str]()
    until = time.monotonic() + 60 * args.minutes

    def one(name: str, at: int, how: str, size: int, rival: bool, again: int) -> str:
        end, fault = attack(args.where, KINDS[name], at, how, size, rival, again)
        counts[f"{name}, {how}: {end}"] += 1
        if fault is not None:
            broken.append(f"{name}, {how} at operation {at}, size {size}, rival {rival}, again {again}: {fault}")
            print(broken[-1], file=sys.stderr)
        return end

    plan = every()
    step = next(plan)
    while True:
        try:
            step = plan.send(one(*step))
        except StopIteration:
            break
    while time.monotonic() < until:
        name, how, at = chance.choice(list(KINDS)), chance.choice(list(HITS)), chance.randint(1, 60)
        rival = chance.random() < 0.5 and "two steps" not in name  # there, a lock keeps others out
        one(name, at, how, chance.randint(1, LARGEST), rival, chance.randint(0, 20))
    write_json(
        args.out, header() | {"attacks": sum(counts.values()), "broken": broken, "counts": dict(sorted(counts.items()))}
    )
    print(f"{sum(counts.values())} attacks, {len(broken)} broke something: {args.out}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
