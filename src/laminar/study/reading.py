"""A study in a YAML file, and in the file that it extends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from laminar.errors import ConfigError, MissingExtraError, explaining
from laminar.study.grid import dotted, study_of

EXTENDS = "extends"
MERGED = ("base", "tests")
"""Entries that a study has beside those of the one that it extends, by name; any other replaces theirs."""


def load_study(path: Path) -> Any:
    """The plain values of a study in a YAML file, checked. Raises ConfigError, and MissingExtraError."""
    values = _read(path, ())
    with _said_of(path):
        study_of(values)
    return values


def _read(path: Path, extending: tuple[Path, ...]) -> Any:
    """The values of a file on top of those of the file that it extends, whose path is from its own folder."""
    if path.resolve() in extending:
        raise ConfigError(f"{path}: a study that extends itself")
    with explaining(f"cannot read {path}", OSError):
        text = path.read_text(encoding="utf-8")
    with _said_of(path):
        values = load_yaml(text)
        _check_mappings(values)
        name = values.pop(EXTENDS, None)
        if not isinstance(name, str | None):
            raise ConfigError(f"{EXTENDS} must be the path of a study; got {name!r}")
    return values if name is None else _on_top(_read(path.parent / name, (*extending, path.resolve())), values)


def _check_mappings(values: Any) -> None:
    parts = [(name, values.get(name, {})) for name in MERGED] if isinstance(values, dict) else [("a study", values)]
    for name, part in parts:
        if not isinstance(part, dict):
            raise ConfigError(f"{name} must be a mapping; got {part!r}")


def _on_top(below: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = below | own
    base = dotted(below.get("base", {})) | dotted(own.get("base", {}))
    return merged | {"base": base, "tests": below.get("tests", {}) | own.get("tests", {})}


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    """A ConfigError inside names the file."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def load_yaml(text: str) -> Any:
    """The plain values of a YAML 1.2 text. Raises ConfigError."""
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError
    except ImportError as error:
        raise MissingExtraError("ruamel.yaml", "train") from error
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ConfigError(f"not YAML: {' '.join(str(error).split())[:200]}") from error
