"""What a command line asks for, as frozen values: parsed at the door, and handed on group by group."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")


def frozen(kind: type[T], args: argparse.Namespace) -> T:
    """The options that a dataclass names, as one; a field that is a dataclass itself is a group of options."""
    hints = get_type_hints(kind)
    values = {field.name: _value(hints[field.name], field.name, args) for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**values)


def _value(kind: Any, name: str, args: argparse.Namespace) -> Any:
    if is_dataclass(kind):
        return frozen(kind, args)  # type: ignore[arg-type]
    value = getattr(args, name)
    return tuple(value) if isinstance(value, list) else value


def paths_in(options: Any) -> Iterator[Path]:
    """What the options name to be read: every path but `out`, and models, which are named by text, for some ship."""
    for field in fields(options):
        value = getattr(options, field.name)
        if is_dataclass(value):
            yield from paths_in(value)
        elif isinstance(value, tuple):
            yield from (item for item in value if isinstance(item, Path))
        elif (isinstance(value, Path) and field.name != "out") or (field.name in ("model", "prior") and value):
            yield Path(value)
