"""Numbers and names in sentences."""

from __future__ import annotations

import re
from pathlib import Path


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 slice`, `2 slices`; `many` is what is said of none and of several, by default `one` with an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def naming(what: str, message: str) -> str:
    """The message, and before it what file it is of, unless it names that itself."""
    return message if re.search(rf"(?<!\w){re.escape(Path(what).stem)}(?!\w)", message) else f"{what}: {message}"
