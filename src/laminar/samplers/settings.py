"""The settings of a sampler: numbers with a default, a kind and a range, checked in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from laminar.errors import ConfigError

Number = bool | int | float
KINDS: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class Setting:
    """A number of the kind of its default, from `least` to `most`."""

    default: Number
    least: float = 0.0
    most: float = math.inf

    def check(self, name: str, value: Number) -> None:
        """ConfigError that calls the setting `name` unless the value is of its kind and within its range."""
        kind = type(self.default)
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ConfigError(f"{name} must be {KINDS[kind]}; got {value!r}")
        if not math.isfinite(value) or not self.least <= value <= self.most:
            raise ConfigError(f"{name} must be {self._range}; got {value!r}")

    @property
    def _range(self) -> str:
        if math.isfinite(self.most):
            return f"between {self.least:g} and {self.most:g}"
        return "finite and not negative" if self.least == 0 else f"finite and at least {self.least:g}"


def within(default: Number, least: float = 0.0, most: float = math.inf) -> Any:
    """The field of a sampler that is a `Setting`."""
    return field(default=default, metadata={"setting": Setting(default, least, most)})
