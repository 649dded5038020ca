"""The files of a data set, and an index of them that is kept: what has not changed is not read again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from laminar.data.check.facts import Facts, facts_of
from laminar.data.check.report import Report, report_on
from laminar.data.formats import UNSAID, Request
from laminar.errors import ConfigError, DataFormatError, LaminarError
from laminar.files import write_json
from laminar.version import __version__

INDEX = ".laminar-index.json"
_FORMAT = f"laminar-index-1 {__version__}"
MOST_THREADS = 8
Read = tuple[Path, Facts | None]
Track = Callable[[Iterable[Read], int], Iterable[Read]]


def check_folder(
    root: Path,
    index: Path | None = None,
    track: Track = lambda reads, total: reads,
    request: Request = UNSAID,
) -> Report:
    """The report on all scans in a folder and those below; `track` may show progress over the files, of this number.

    Facts are kept in `index`, by default `.laminar-index.json` in the folder, by size and time of change of each file;
    where it cannot be written the next check reads all again. `request` says how files are read that do not say it
    themselves, as `laminar.data.formats.read` takes it. Raises DataFormatError for a folder without any scan,
    ConfigError for an `index` that is another file.
    """
    if not root.is_dir():
        raise DataFormatError(f"{root}: no such folder")
    if index is not None and index.exists() and not _is_index(index):
        raise ConfigError(f"{index} is there already and no index of laminar: choose another --index")
    index = index or root / INDEX
    known = _read(index)
    stamps = {path: _stamp(path) for path in _candidates(root)}
    keys = {path: _key(path, root, stamp, request) for path, stamp in stamps.items()}
    facts = {path: known.get(keys[path]) for path in stamps}
    try:
        new = [path for path, found in facts.items() if found is None]
        with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as threads:
            reads = zip(new, threads.map(partial(facts_of, root=root, request=request), new), strict=True)
            for path, fact in track(reads, len(new)):
                facts[path] = [fact]
    finally:
        with suppress(LaminarError):
            kept = {keys[path]: found for path, found in facts.items() if found is not None and not _passing(found)}
            _write(index, kept)
    found = [entry[0] for entry in facts.values() if entry is not None]
    scans = [entry for entry in found if entry is not None]
    if not scans:
        raise DataFormatError(f"{root}: no scan in this folder or below")
    return report_on(scans, len(found) - len(scans))


def _passing(found: list[Facts | None]) -> bool:
    return found[0] is not None and found[0].passing


def _candidates(root: Path) -> list[Path]:
    """Files that may be scans: not hidden, not in hidden folders, and of a BART pair the samples."""
    return sorted(
        path
        for path in root.rglob("*")
        if path.suffix != ".hdr"
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and path.is_file()
    )


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _key(path: Path, root: Path, stamp: tuple[int, int], request: Request) -> str:
    told = "" if request == UNSAID else f"|{request}"
    return f"{path.relative_to(root).as_posix()}|{stamp[0]}|{stamp[1]}{told}"


def _is_index(path: Path) -> bool:
    with path.open("rb") as file:
        return b'"format": "laminar-index-' in file.read(64)


def _read(index: Path) -> Mapping[str, list[Facts | None]]:
    """What is known, as lists of one; nothing if the index is not there, of another version or broken."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        values = json.loads(index.read_text(encoding="utf-8"))
        if values["format"] == _FORMAT:
            return {key: [None if entry is None else _facts(entry)] for key, entry in values["files"].items()}
    return {}


def _facts(entry: dict[str, Any]) -> Facts:
    y, x = entry["matrix"]
    return Facts(**entry | {"matrix": (y, x), "fingerprint": tuple(entry["fingerprint"])})


def _write(index: Path, facts: Mapping[str, list[Facts | None]]) -> None:
    files = {key: None if found is None else asdict(found) for key, (found,) in facts.items()}
    write_json(index, {"format": _FORMAT, "files": files})
