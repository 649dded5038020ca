"""The process that opens HDF5 files of strangers: the library can crash, hang or take all memory on a corrupt one.

A script that `sandbox.py` runs, so it imports nothing of this package. It reads requests and writes answers, each a
line of JSON; the arrays of an answer follow as bytes. An alarm ends what hangs inside the library, a limit of address
space what takes too much.
"""

from __future__ import annotations

import json
import posixpath
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

try:
    import resource
except ImportError:  # not Unix: nothing is limited
    resource = None  # type: ignore[assignment]

PAIRS = (("real", "imag"), ("r", "i"), ("re", "im"))
DEEPEST, MOST_OBJECTS, LONGEST_TEXT = 32, 20_000, 2**24
# Measured k-space hardly compresses; that of a strongly undersampled scan, mostly zeros, a hundredfold.
SMALL, MOST_COMPRESSION = 2**26, 200
PIECE = 2**25  # bytes of a dataset that are in memory at a time
SECONDS, BYTES_PER_SECOND, MEMORY = 15, 5_000_000, 2**29
MOST_LEFT = 2**27  # bytes that may be left of a request that failed
READOUTS = 4096  # readouts of ISMRMRD that are in memory at a time
# What h5py says: what it was about to do, and in parentheses what the library found.
SAID = re.compile(r"""['"]?(?:Unable to|Can't|Link iteration failed)[^()]*\((.*)\)['"]?""")
CUT = re.compile(r"truncated file: eof = (\d+), sblock->base_addr = (\d+), stored_eof = (\d+)")

Array = NDArray[Any]


class Refusal(Exception):
    """What a file must not ask for, in a line."""


class Answer(NamedTuple):
    """What a request is told, and its arrays: of what type and shape, and their pieces one after the other."""

    value: Any
    arrays: list[tuple[np.dtype[Any], tuple[int, ...]]]
    pieces: Iterator[Array]


def memory(column: int) -> int:
    """Bytes that this process holds: 0 all that it asked for, 1 what is resident. 0 where that is not known."""
    with suppress(OSError, ValueError):
        return int(Path("/proc/self/statm").read_text().split()[column]) * resource.getpagesize()
    return 0


@contextmanager
def limited(size: int = 0) -> Iterator[None]:
    """End this process if the block takes far longer, and let allocations fail if it takes far more memory, than
    `size` bytes of data explain.
    """
    if resource is not None:
        with suppress(OSError, ValueError):
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            resource.setrlimit(resource.RLIMIT_AS, (memory(0) + MEMORY + 3 * size, hard))
        signal.alarm(SECONDS + size // BYTES_PER_SECOND)
    yield
    if resource is not None:
        signal.alarm(0)


def is_pair(dtype: np.dtype[Any]) -> bool:
    """Whether a compound type is a complex number as MATLAB, ISMRMRD or h5py write it."""
    names = tuple(name.lower() for name in dtype.names or ())
    return names in PAIRS and dtype[0] == dtype[1] and dtype[0].kind in "iuf" and is_sound(dtype)


def is_sound(dtype: np.dtype[Any]) -> bool:
    """Whether no two fields of a compound type overlap. HDF5 does not check, and reading such a one can crash it."""
    end = 0
    for field, offset, *_ in sorted((dtype.fields or {}).values(), key=lambda item: item[1]):
        if offset < end or not is_sound(field):
            return False
        end = offset + field.itemsize
    return end <= dtype.itemsize


def numeric(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """The type of a dataset's numbers, pairs joined to complex ones; None if it holds no numbers."""
    if is_pair(dtype):
        return np.dtype(f"{dtype[0].str[0]}c{max(8, 2 * dtype[0].itemsize)}")
    return dtype if dtype.kind in "biufc" else None


def walk(root: h5py.Group) -> Iterator[tuple[str, Any]]:
    """Every object that hard links reach, soft links to one of them, and external links unopened."""
    groups, found, soft = {_address(root)}, dict[str, Any](), dict[str, str]()
    waiting: list[tuple[str, h5py.Group]] = [("", root)]
    while waiting:
        place, group = waiting.pop()
        for name in group:
            path, link = f"{place}{name}", group.get(name, getlink=True)
            if isinstance(link, h5py.SoftLink):
                soft[path] = posixpath.normpath(posixpath.join("/", place, link.path)).strip("/")
            elif isinstance(link, h5py.ExternalLink):
                found[path] = link
            elif place or not name.startswith("#"):  # '#refs#': what MATLAB's cells and objects point to
                found[path] = item = group[name]
                if isinstance(item, h5py.Group) and (address := _address(item)) not in groups:
                    groups.add(address)
                    waiting.append((f"{path}/", item))
            if len(found) > MOST_OBJECTS or path.count("/") > DEEPEST:
                raise Refusal(f"it holds more than {MOST_OBJECTS} objects, or groups more than {DEEPEST} deep")
    yield from found.items()
    yield from ((path, found[target]) for path, target in soft.items() if target in found)


def _address(item: Any) -> int:
    return int(h5py.h5o.get_info(item.id).addr)


@contextmanager
def content(path: str) -> Iterator[h5py.File]:
    if not h5py.is_hdf5(path):
        raise Refusal("no HDF5 file")
    with h5py.File(path, "r") as file:
        yield file


def survey(path: str) -> Answer:
    """All datasets of a file, the names of its groups, and the plain attributes of its root."""
    datasets, groups, is_matlab = dict[str, Any](), list[str](), False
    with limited(), content(path) as file:
        for name, item in walk(file):
            if isinstance(item, h5py.ExternalLink):
                datasets[name] = _unreadable(f"is a link to another file, {item.filename!r}, which was not named")
            elif isinstance(item, h5py.Dataset) and item.shape is not None:
                datasets[name] = _described(item)
            elif isinstance(item, h5py.Group):
                groups.append(name)
            is_matlab |= "/" not in name and hasattr(item, "attrs") and "MATLAB_class" in item.attrs
        attributes = _attributes(file)
    return Answer({"datasets": datasets, "groups": groups, "attributes": attributes, "matlab": is_matlab}, [], iter(()))


def _unreadable(reason: str, shape: tuple[int, ...] = (), label: str = "unknown") -> dict[str, Any]:
    return {"shape": shape, "label": label, "type": None, "offset": None, "refusal": reason, "rows": 1}


def _described(dataset: h5py.Dataset) -> dict[str, Any]:
    """Shape and type of a dataset, and where its numbers begin in the file if they lie there one after the other."""
    try:
        dtype = dataset.dtype
    except TypeError as error:  # a type that NumPy has not
        return _unreadable(f"cannot be read ({error})", dataset.shape)
    numbers = numeric(dtype)
    reason = refusal(dataset)
    offset = None
    is_float = dtype.names is None or dtype[0].kind == "f"
    as_stored = numbers is not None and is_float and numbers.itemsize == dtype.itemsize
    if numbers is not None and as_stored and reason is None and numbers.kind in "iufc":
        as_described = h5py.h5t.py_create(dtype).equal(dataset.id.get_type())
        offset = dataset.id.get_offset() if as_described and dataset.chunks is None else None
    return {
        "shape": dataset.shape,
        "label": str(dtype if numbers is None else numbers),
        "type": None if numbers is None else numbers.str,
        "offset": offset,
        "refusal": reason,
        "rows": dataset.chunks[0] if dataset.chunks and dataset.shape else 1,
    }


def refusal(dataset: h5py.Dataset) -> str | None:
    """Why a dataset must not be read, if it must not."""
    if dataset.external:
        return f"keeps its values in another file, {dataset.external[0][0]!r}, which was not named"
    if dataset.is_virtual:
        sources = sorted({(source.file_name, source.dset_name) for source in dataset.virtual_sources()})
        others = [file for file, _ in sources if file != "."]
        if others or not sources:
            return f"is virtual: its values are in other files, {others[:1]}, which were not named"
        return f"is virtual: a view, which is not followed; its values are in {', '.join(n for _, n in sources[:3])}"
    claimed, stored, size = nbytes(dataset), dataset.id.get_storage_size(), Path(dataset.file.filename).stat().st_size
    there = SMALL + MOST_COMPRESSION * min(stored, size) if dataset.chunks or not stored else size
    if claimed > there and dataset.chunks and stored < claimed:
        return f"claims {claimed} bytes, more than the file can hold: it is sparse or a trap, with {stored} stored"
    return f"claims {claimed} bytes, more than the file can hold" if claimed > there else None


def nbytes(dataset: h5py.Dataset) -> int:
    return int(np.prod(dataset.shape, dtype=object)) * int(dataset.dtype.itemsize)


def _attributes(file: h5py.File) -> dict[str, Any]:
    """The attributes that are one number or one text. The type is looked at first: reading a corrupt one can crash."""
    plain: dict[str, Any] = {}
    for name in file.attrs:
        attribute = file.attrs.get_id(name)
        is_text = h5py.check_string_dtype(attribute.dtype) is not None
        if attribute.shape == () and (is_text or attribute.dtype.kind in "biuf"):
            value = file.attrs[name]
            value = value.item() if isinstance(value, np.generic) else value
            plain[name] = value.decode(errors="replace") if isinstance(value, bytes) else value
    return plain


@contextmanager
def opened(path: str, name: str) -> Iterator[h5py.Dataset]:
    """A dataset that may be read. What the survey found is looked at again: the file may be another by now."""
    with limited(), content(path) as file:
        dataset = dict(walk(file)).get(name)
        if not isinstance(dataset, h5py.Dataset):
            raise Refusal(f"no dataset '{name}'")
        if reason := refusal(dataset):
            raise Refusal(f"'{name}' {reason}")
        yield dataset


def numbers(path: str, name: str, first: int | None, last: int | None) -> Answer:
    """The values of a dataset, or of some of it along its first axis."""
    with opened(path, name) as dataset:
        dtype, shape = numeric(dataset.dtype), dataset.shape
        if dtype is None:
            raise Refusal(f"'{name}' is not a numeric array but {dataset.dtype} {shape}")
        rows = range(shape[0])[first:last] if shape else range(1)
        chunk = max(dataset.chunks[0], 1) if dataset.chunks else 1
        row = max(1, nbytes(dataset) // max(1, shape[0])) if shape else 1
    step = chunk * max(1, PIECE // (row * chunk))

    def pieces() -> Iterator[Array]:
        for start in rows[::step] if row else ():
            with limited(min(step, len(rows)) * row), content(path) as file:
                part = file[name][start : min(start + step, rows.stop)] if shape else file[name][()]
                joined = (
                    part if part.dtype.names is None else part[part.dtype.names[0]] + 1j * part[part.dtype.names[1]]
                )
            yield np.asarray(joined, dtype)

    return Answer(None, [(dtype, (len(rows), *shape[1:]) if shape else ())], pieces())


def text(path: str, name: str) -> Answer:
    """The text of a dataset that holds one string, or an array of one, as bytes."""
    with opened(path, name) as dataset:
        if h5py.check_string_dtype(dataset.dtype) is None or dataset.size != 1 or nbytes(dataset) > LONGEST_TEXT:
            raise Refusal(f"'{name}' is not a text but {dataset.dtype} {dataset.shape}")
        found = np.asarray(dataset[()]).reshape(-1)[0]
    content = np.frombuffer(found if isinstance(found, bytes) else str(found).encode(), np.uint8)
    return Answer(None, [(content.dtype, content.shape)], iter([content]))


def readouts(path: str, name: str) -> Answer:
    """The records of ISMRMRD: their heads, the numbers of floats of their data and of their trajectories, and these."""
    with opened(path, name) as dataset:
        layout, size = dataset.dtype, Path(path).stat().st_size
        fields = layout.names or ()
        if "head" not in fields or "data" not in fields or len(dataset.shape) != 1 or not is_sound(layout):
            raise Refusal(f"'{name}' does not hold ISMRMRD readouts but {layout}")
        if h5py.check_vlen_dtype(layout["data"]) != np.float32 or layout["head"].hasobject:
            raise Refusal(f"'{name}' does not hold ISMRMRD readouts but {layout}")
        has_points = "traj" in fields and h5py.check_vlen_dtype(layout["traj"]) == np.float32
        heads, floats, points, total = [], [], [], 0
        for start in range(0, len(dataset), READOUTS):
            with limited(size):
                some = dataset[start : start + READOUTS]
            heads.append(some["head"])
            floats += [np.asarray(one, np.float32) for one in some["data"]]
            points += [np.asarray(one, np.float32) for one in (some["traj"] if has_points else [()] * len(some))]
            total += sum(one.nbytes for one in (*floats[-len(some) :], *points[-len(some) :]))
            if total > size:
                raise Refusal(f"the readouts claim more than the {size} bytes of the file")
    counts = np.array([[len(one) for one in part] for part in (floats, points)], np.int64)
    head = np.concatenate(heads) if heads else np.empty(0, layout["head"])
    arrays = [(head.dtype, head.shape), (counts.dtype, counts.shape), (np.dtype(np.float32), (total // 4,))]
    return Answer(None, arrays, iter([head, counts, *floats, *points]))


REQUESTS: dict[str, Callable[..., Answer]] = {"survey": survey, "numbers": numbers, "text": text, "readouts": readouts}


def said(error: Exception) -> str:
    """What a library failed at: in plain words where HDF5 has some, else after the type of the error."""
    if not (found := SAID.fullmatch(str(error))):
        return f"{type(error).__name__}: {error}"
    if not (cut := CUT.fullmatch(found[1])):
        return found[1]
    there, before, whole = map(int, cut.groups())
    return f"it has {there + before} of its {whole} bytes"


def serve(requests: dict[str, Callable[..., Answer]]) -> None:
    """Answer until the input ends, as it does with the process that asks.

    An answer is "found", "refused", "failed", or "spent": failed, and the library, which frees not all that it took
    for a broken file, holds on to so much that this process should not go on.
    """
    before = memory(1)
    with suppress(AttributeError):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    out, sys.stdout = sys.stdout.buffer, sys.stderr  # what a library prints is no answer
    for line in sys.stdin.buffer:
        what, *arguments = json.loads(line)
        try:
            answer = requests[what](*arguments)
            started = next(answer.pieces, None)  # most that fails fails with the first piece
        except Refusal as error:
            out.write(json.dumps(["refused", str(error)]).encode() + b"\n")
        except Exception as error:
            kind = "spent" if memory(1) > before + MOST_LEFT else "failed"
            out.write(json.dumps([kind, said(error)]).encode() + b"\n")
        else:
            arrays = [[repr(np.lib.format.dtype_to_descr(dtype)), shape] for dtype, shape in answer.arrays]
            out.write(json.dumps(["found", answer.value, arrays]).encode() + b"\n")
            if started is not None:
                for piece in chain([started], answer.pieces):
                    out.write(np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data)
        out.flush()
        if resource is not None:
            signal.alarm(0)


if __name__ == "__main__":
    serve(REQUESTS)
