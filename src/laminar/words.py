"""Numbers and names in sentences."""

from __future__ import annotations

import os
from pathlib import Path


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 slice`, `2 slices`; `many` is what is said of none and of several, by default `one` with an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def naming(what: str, message: str) -> str:
    """The message, and before it what file it is of, unless it says so itself: by its path, by that of what becomes of
    it, or by its name in front."""
    stem = Path(what).stem
    named = what in message or f"{os.sep}{stem}." in message or message.startswith(f"{stem}: ")
    return message if named else f"{what}: {message}"
