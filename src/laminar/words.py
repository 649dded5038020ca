"""Numbers and names in sentences."""

from __future__ import annotations

from pathlib import Path


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 slice`, `2 slices`; `many` is what is said of none and of several, by default `one` with an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def naming(what: str, message: str) -> str:
    """The message, and before it what file it is of, unless it says so itself: by its path, or its name in front."""
    named = what in message or message.startswith(f"{Path(what).stem}: ")
    return message if named else f"{what}: {message}"
