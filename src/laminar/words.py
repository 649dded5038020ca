"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 slice`, `2 slices`; `many` is what is said of none and of several, by default `one` with an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"
