"""Damage small files of every format at random, and read them: a scan or one line, never a crash, a hang or a flood.

    python -m benchmarks.mutants --first 0 --count 100000 [--minutes 15]

Mutant number n is the same on every machine with the same libraries (benchmarks/numbered.py). Readers run in a child
that is killed after `LONGEST` seconds; it counts as broken if it dies, takes more than `MOST_MEMORY` (so does the
sandbox that opens HDF5), or raises anything but a DataFormatError of one line. `contained`: mutants that ended the
sandbox, as they would have ended the program.
"""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np

from benchmarks.numbered import End, run
from laminar.data.formats import containers, describe, hdf5, read, read_target
from laminar.errors import DataFormatError
from laminar.evaluation import read_volume

sys.path.append(str(Path(__file__).parents[1] / "tests" / "data" / "formats"))
import scan_files

SANDBOXES = (hdf5.SANDBOX, containers.SANDBOX)
LONGEST, MOST_MEMORY, BATCH = 25, 2**30, 1000
INTERESTING = (0, 1, 2, 4, 8, 0x7F, 0x80, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)


def _latest(path: Path) -> None:
    """HDF5 as its newest version writes it: other structures, some of them checked by sums."""
    kspace = scan_files.random_kspace(3, 4, 5)
    with h5py.File(path, "w", libver="latest") as file:
        file["deep/kspace"] = kspace
        file.create_dataset("packed", data=kspace, chunks=(1, 2, 5), compression="gzip", shuffle=True, fletcher32=True)
        file.create_dataset("growing", data=kspace, chunks=(1, 4, 5), maxshape=(None, None, 5))
        file["alias"] = h5py.SoftLink("/deep/kspace")
        file["text"], file.attrs["name"] = "words", "a name"
        file.create_dataset("ragged", (4,), h5py.vlen_dtype(np.float32))[:] = [
            np.arange(n, dtype="f4") for n in range(4)
        ]
        for name in range(12):
            file.attrs[f"attribute {name}"] = name


def _bart_header(path: Path) -> None:
    scan_files.write_cfl(path.with_suffix(".cfl"), scan_files.random_kspace(3, 4, 5))


def _struct(path: Path) -> None:
    import scipy.io

    inner = {"maps": np.ones((2, 3)), "cell": np.array([1, "a"], object)}
    scipy.io.savemat(path, {"scan": {"kspace": scan_files.random_kspace(3, 4, 5), "inner": inner}})


WRITERS: dict[str, Callable[[Path], None]] = {
    suffix: (lambda path, write=write: write(path, scan_files.random_kspace(3, 4, 5)))  # type: ignore[misc]
    for suffix, write in scan_files.ARRAY_WRITERS.items()
}
WRITERS |= scan_files.SCAN_WRITERS
WRITERS |= {".latest.h5": _latest, ".hdr": _bart_header, ".struct.mat": _struct}


def originals() -> dict[str, dict[str, bytes]]:
    """The files of every format by suffix, the one to damage first."""
    found = {}
    for kind, write in WRITERS.items():
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder) / f"a{kind}")
            files = {path.name.removeprefix("a"): path.read_bytes() for path in Path(folder).iterdir()}
        found[kind] = {kind: files.pop(kind)} | files
    return found


def damage(content: bytes, chance: random.Random) -> bytes:
    """A few random changes: of bits, bytes, numbers that are often a limit; pieces moved, cut out, repeated."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 3, 5, 8))):
        if not data:
            break
        at = chance.randrange(min(len(data), chance.choice((600, 3000, len(data)))))
        match chance.randrange(8):
            case 0 | 1:
                data[at] ^= 1 << chance.randrange(8)
            case 2 | 3:
                data[at] = chance.randrange(256)
            case 4 | 5:
                kind = chance.choice("BHIQ")
                number = chance.choice(INTERESTING) + chance.choice((0, 0, -1, 1, chance.randrange(len(data))))
                data[at : at + struct.calcsize(kind)] = struct.pack(f"<{kind}", number % 256 ** struct.calcsize(kind))
            case 6:
                other, length = chance.randrange(len(data)), chance.choice((1, 4, 8, 64, 512))
                piece = data[other : other + length]
                data[at : at + chance.choice((0, len(piece)))] = piece
            case _:
                del data[at : at + chance.choice((1, 4, 8, 64, len(data)))]
    return bytes(data)


def visit(path: Path) -> str:
    """Read a file in every way: whether the first was "read", "refused", or any was "contained".

    Raises ValueError for a refusal that is not one line.
    """
    axes = None if path.name[1:] in scan_files.SCAN_WRITERS else "coil,ky,kx"
    names = ("deep/kspace", "packed", "growing") if path.name == "a.latest.h5" else (None,)
    actions: list[Callable[[], object]] = [lambda name=name: read(path, variable=name, axes=axes) for name in names]  # type: ignore[misc]
    actions += [lambda: describe(path), lambda: read_target(path), lambda: read_volume(path, "reconstruction_rss")]
    ends = []
    for action in actions:
        try:
            action()
            ends.append("read")
        except DataFormatError as error:
            if "\n" in str(error) or not str(error).startswith(str(path)):
                raise ValueError(f"no line that begins with the path: {error!r}") from error
            ends.append("contained" if "crashed or hung" in str(error) else "refused")
    return "contained" if "contained" in ends else ends[0]


def peak(process: int) -> int:
    """The most memory in bytes that a process held since it was asked last."""
    folder = Path("/proc") / str(process)
    try:
        status = (folder / "status").read_text()
        (folder / "clear_refs").write_text("5")
    except OSError:
        return 0
    return 1024 * next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)


def _attack(numbers: range, files: dict[str, dict[str, bytes]], folder: Path) -> Iterator[End]:
    """The end of each mutant, in this process."""
    kinds = list(files)
    for number in numbers:
        chance, kind = random.Random(number), kinds[number % len(kinds)]
        main, *others = files[kind]
        paths = [folder / f"a{suffix}" for suffix in (main, *others)]
        paths[0].write_bytes(damage(files[kind][main], chance))
        for path, other in zip(paths[1:], others, strict=True):
            path.write_bytes(files[kind][other])
        signal.alarm(LONGEST)
        try:
            end = visit(paths[0].with_suffix(".cfl") if kind == ".hdr" else paths[0])
        except Exception as error:
            end = f"broken: {type(error).__name__}: {str(error)[:200]}"
        signal.alarm(0)
        held = max(peak(process) for process in (os.getpid(), *(box.process_id for box in SANDBOXES)))
        yield End(number, kind, f"broken: {held} bytes" if held > MOST_MEMORY else end)


def in_child(numbers: range, files: dict[str, dict[str, bytes]], folder: Path) -> list[End]:
    """The ends of the mutants in a child, up to the one at which it ended itself: that is `broken`."""
    told = folder / "told"
    told.unlink(missing_ok=True)
    # A fork would inherit the locks of torch's threads, and may wait for them for ever.
    child = get_context("spawn").Process(target=_tell, args=(numbers, files, folder, told))
    child.start()
    child.join()
    lines = told.read_text().splitlines() if told.exists() else []
    found = [End(*json.loads(line)) for line in lines]
    if len(found) < len(numbers):
        number = numbers[len(found)]
        found.append(End(number, list(files)[number % len(files)], f"broken: exit code {child.exitcode}"))
    return found


def _tell(numbers: range, files: dict[str, dict[str, bytes]], folder: Path, told: Path) -> None:
    with told.open("w") as out:
        for found in _attack(numbers, files, folder):
            print(json.dumps(found), file=out, flush=True)
    for box in SANDBOXES:
        box.stop()


def attack(numbers: range) -> Iterator[End]:
    """The ends of the mutants of a range, each batch in a child of its own, and a new one after each that ended it."""
    files, number = originals(), numbers.start
    with tempfile.TemporaryDirectory() as folder:
        while number < numbers.stop:
            yield from (ends := in_child(range(number, min(number + BATCH, numbers.stop)), files, Path(folder)))
            number = ends[-1].number + 1


if __name__ == "__main__":
    sys.exit(run("mutants", __doc__, attack, {"hdf5": h5py.version.hdf5_version}))
