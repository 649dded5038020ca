"""What the other end may ask for, as JSON in a TEXT or CONFIG_TEXT message. No name of it is imported or opened."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any

from laminar.errors import ConfigError
from laminar.registry import CLASSICAL, nearest

METHODS = ("network", *CLASSICAL)
PIXELS = ("float32", "uint16")
MOST_SAMPLES = 64
MOST_ACCELERATION = 32.0
NOT_USED = "parameter not used"
"""How a line begins that says so to whoever asked."""
_PASSED_OVER = frozenset({"config", "version"})  # names that scanners send always; nothing is looked up by them


def content_of(text: str) -> dict[str, Any]:
    """What a text of parameters asks for, by name. Raises ConfigError if it is no JSON object."""
    try:
        content = json.loads(text)
        content = content.get("parameters", content)
        return dict(content.items())
    except (ValueError, RecursionError, AttributeError) as error:
        example = '{"method": "cg-sense"}'
        raise ConfigError(f"parameters are a JSON object such as {example}; got {text[:100]!r}") from error


@dataclass(frozen=True)
class Request:
    """How images are made: `method`, a `model` among those that were loaded, and `samples` for an uncertainty image.

    `acceleration` undersamples a full scan, 0 does not; `pixels` is what is sent.
    """

    model: str
    method: str = "network"
    samples: int = 0
    acceleration: float = 0.0
    pixels: str = "float32"

    def told(self, text: str, models: Collection[str]) -> tuple[Request, list[str]]:
        """The request that a message of JSON makes of this one, and a line for each thing that is not understood.

        Values may be numbers or text, at the top or under `parameters`; text that does not begin as parameters do asks
        for nothing.
        """
        try:
            asked = content_of(text)
        except ConfigError as error:
            return self, [str(error)] if _MEANT.match(text) else []
        request, lines = self, []
        for name, value in asked.items():
            try:
                request = request._with(str(name), value, models)
            except ConfigError as error:
                lines.append(str(error))
        return request, lines

    def _with(self, name: str, value: Any, models: Collection[str]) -> Request:
        if name in _PASSED_OVER:
            return self
        if name == "samples":
            return replace(self, samples=_count(value))
        if name == "acceleration":
            return replace(self, acceleration=_acceleration(value))
        known = {"method": METHODS, "model": tuple(models), "pixels": PIXELS}
        if name not in known:
            numbers = ("samples", "acceleration")
            raise ConfigError(f"unknown parameter {name[:100]!r}{nearest(name[:100], (*numbers, *known))}")
        if value not in known[name]:
            said = str(value)[:100]
            raise ConfigError(f"{name} {said!r} is not offered{nearest(said, known[name])}")
        return replace(self, **{name: value})


# Scanners send names of configurations, XML and remarks as well, which ask for nothing.
_MEANT = re.compile(
    rf"""\s*(?:[{{\[]|['"]?(?:\w+\s*=|(?:{"|".join(field.name for field in fields(Request))})['"]?\s*:))"""
)


def _count(value: Any) -> int:
    try:
        count = -1 if isinstance(value, bool) or float(value) % 1 else int(value)
    except (TypeError, ValueError, OverflowError):
        count = -1
    if count == 1 or not 0 <= count <= MOST_SAMPLES:
        raise ConfigError(f"samples must be 0 or from 2 to {MOST_SAMPLES}; got {str(value)[:100]!r}")
    return count


def _acceleration(value: Any) -> float:
    try:
        rate = -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        rate = -1.0
    if rate != 0 and not 1 <= rate <= MOST_ACCELERATION:
        raise ConfigError(f"acceleration must be 0 or from 1 to {MOST_ACCELERATION:g}; got {str(value)[:100]!r}")
    return rate
