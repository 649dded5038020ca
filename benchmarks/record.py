"""What every result carries: the command, the versions, the machine."""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from laminar import __version__, statistics
from laminar.files import write_json

RESULTS = Path(__file__).resolve().parent.parent / "results"


def header() -> dict[str, str]:
    """The command, without the folders that files lie in, the versions and the machine."""
    words = [re.sub(r"(?:[^\s=/]*/)+(?=[^/])", "", word.rstrip("/")) for word in sys.argv[1:]]
    return {
        "command": " ".join(["python -m", f"benchmarks.{Path(sys.argv[0]).stem}", *words]),
        "laminar": __version__,
        "torch": torch.__version__,
        "machine": f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads",
    }


def write_record(name: str, values: dict[str, Any], path: Path | None = None) -> Path:
    """Write `results/NAME.json`, or another file, with the values behind a header, and return its path."""
    path = path or RESULTS / f"{name}.json"
    write_json(path, header() | values)
    return path


def mean_interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and the 95 % percentile-bootstrap interval of the mean, of as many draws as the results were made with."""
    return tuple(statistics.mean_interval(values, draws=4000))


def result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def markdown(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def gain(value: dict[str, float]) -> str:
    """A difference with its interval, as in all tables."""
    return f"{value['mean']:+.2f} [{value['low']:+.2f}, {value['high']:+.2f}]"
