"""Images as text in a page: 16-bit integers between their smallest and largest value, in base64."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laminar.errors import ConfigError

STEPS = 65535
MOST_CHARACTERS = 400_000_000
"""Browsers hold no string of more than about 500 million characters."""


@dataclass
class Arrays:
    """The arrays of a page by their names; `texts` is what the page holds of each."""

    texts: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, values: NDArray[Any]) -> dict[str, Any]:
        """Keep real values; returns where they are and how to read them: `low + integer * (high - low) / 65535`.

        No value is off by more than half a step. Raises ConfigError if the page becomes too large for a browser.
        """
        low, high = float(values.min()), float(values.max())
        shares = (values - low) / ((high - low) or 1.0)
        integers = np.round(shares * STEPS).astype("<u2")
        self.texts[name] = base64.b64encode(integers.tobytes()).decode("ascii")
        if sum(map(len, self.texts.values())) > MOST_CHARACTERS:
            raise ConfigError("a page cannot hold so much: expected fewer slices (--slices FIRST:LAST) or fewer files")
        return {"id": name, "low": low, "high": high}
