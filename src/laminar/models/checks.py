"""Checks that the settings of every model share: one ConfigError line for the first that is wrong."""

from __future__ import annotations

from operator import index
from typing import SupportsIndex

from laminar.errors import ConfigError

MOST_CHANNELS = 4096


def check_whole(config: object, group: str = "", /, **ranges: tuple[int, int]) -> None:
    """Each setting is a whole number, which a bool is not, within its range."""
    for name, (least, most) in ranges.items():
        value = getattr(config, name)
        if not _whole(value, least, most):
            raise ConfigError(f"{group}{name} must be a whole number from {least} to {most}; got {value!r}")


def check_channels(name: str, channels: object) -> None:
    """A list of numbers of features, at least one."""
    if not isinstance(channels, list | tuple) or not channels or not all(_whole(c, 1, MOST_CHANNELS) for c in channels):
        raise ConfigError(f"{name} must be a list of whole numbers from 1 to {MOST_CHANNELS}; got {channels!r}")


def check_positive(config: object, *names: str, zero: bool = False) -> None:
    """Each setting is a finite number above zero, or `zero` itself."""
    for name in names:
        value = getattr(config, name)
        number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
        if not number or value < 0 or (value == 0 and not zero):
            raise ConfigError(f"{name} must be {'zero or ' if zero else ''}positive; got {value!r}")


def depth_of(wanted: int | None, trained: int) -> int:
    """The number of cascades to run: that of the training unless another is wanted. Raises ConfigError below 1."""
    if wanted is None:
        return trained
    if not isinstance(wanted, SupportsIndex) or isinstance(wanted, bool) or index(wanted) < 1:
        raise ConfigError(f"n_cascades must be a whole number of at least 1; got {wanted!r}")
    return index(wanted)


def _whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
