"""What a cell's key must change with: the code that computes, and the content of the files that it reads."""

from __future__ import annotations

import hashlib
import json
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import laminar
from laminar.errors import explaining

# What only shows, stores or drives changes no number of a cell.
BESIDE = (
    *("cli", "figures", "audit", "audit_page", "theory", "weights", "server", "viewer", "export", "evaluation"),
    *("image_files", "store.py", "executors.py", "reconstruction.py"),
    *(f"study/{name}.py" for name in ("page", "tables", "summary", "status", "grid", "reading", "folder", "run")),
)


def hashed(values: Any) -> str:
    """SHA-256 of canonical JSON: sorted keys, no spaces."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def code_version() -> str:
    """The version of the package and a hash of every source file that a cell is computed with."""
    root, digest = Path(laminar.__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if not {name.parts[0], name.as_posix()} & set(BESIDE):
            digest.update(f"{name.as_posix()}\0".encode() + path.read_bytes())
    return f"{laminar.__version__}+{digest.hexdigest()[:12]}"


def data_version(names: list[str]) -> list[str]:
    """SHA-256 of the content of each file or folder; a name of nothing is itself."""
    return [_content(Path(name)) if Path(name).exists() else name for name in names]


def _content(path: Path) -> str:
    if not path.is_dir():
        return _of_file(path, path.stat().st_size, path.stat().st_mtime_ns)
    parts = sorted(part for part in path.rglob("*") if part.is_file() and not part.name.startswith("."))
    return hashed([[part.relative_to(path).as_posix(), _content(part)] for part in parts])


@cache
def _of_file(path: Path, size: int, changed: int) -> str:
    with explaining(f"cannot read {path}", OSError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def machine() -> dict[str, str]:
    """What computed a cell."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {"system": f"{platform.system()} {platform.machine()}", "host": platform.node(), "device": device}


def versions() -> dict[str, str]:
    """The packages that the numbers of a cell depend on."""
    return {"python": platform.python_version(), "torch": version("torch"), "numpy": np.__version__}
