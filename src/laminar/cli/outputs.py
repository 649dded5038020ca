"""What may be written: never an input of the same command, and what others wrote only if --overwrite says so."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def add_overwrite(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--overwrite", action="store_true", help="also replace files that laminar did not write")


def check_outputs(args: argparse.Namespace, *outputs: Path) -> None:
    """Raise ConfigError, before any work is done, if writing one of `outputs` would lose something."""
    from laminar.files import check_output

    inputs = [path for name, value in vars(args).items() if name != "out" for path in _paths(name, value)]
    for output in outputs:
        check_output(output, inputs, args.overwrite)


def _paths(name: str, value: Any) -> Iterator[Path]:
    """The paths among the options; models are named by text, for some ship."""
    if isinstance(value, list):
        yield from (path for item in value for path in _paths(name, item))
    elif isinstance(value, Path) or (name in ("model", "prior") and value is not None):
        yield Path(value)
