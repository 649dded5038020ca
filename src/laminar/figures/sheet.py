"""A dark page of image cells in whole screen pixels: every matrix point is a block of them, nothing is interpolated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from laminar.figures.pixels import PLAIN, Pixels, check_drawable, heat
from laminar.files import replacing

WIDTH_PIXELS = 1600
BACKGROUND, INK, QUIET = "#0d1117", "#f0f6fc", "#8b949e"
METRIC_LABELS = {"psnr": "{:.2f} dB", "ssim": "SSIM {:.3f}", "nmse": "NMSE {:.4f}"}


def caption(metrics: Mapping[str, float]) -> str:
    """Any of `psnr` (dB), `ssim` and `nmse` as text, one a line."""
    return "\n".join(text.format(metrics[key]) for key, text in METRIC_LABELS.items() if key in metrics)


def state_label(index: int) -> str:
    """The name of a state of a trajectory: the source is that before any cascade."""
    return f"cascade {index}" if index else "source"


def grid(count: int, most_columns: int) -> tuple[int, int]:
    """Rows and columns that hold `count` cells with as even rows as possible."""
    rows = -(-count // most_columns)
    return rows, -(-count // rows)


class Sheet:
    """A grid of cells for images of `shape` (y, x), laid out from the top left; drawn without a display.

    `headers` says for each row whether there is a line of text above it, `footer` whether there is one below all.
    Equal pages give equal files. Raises MissingExtraError without matplotlib.
    """

    def __init__(
        self,
        shape: Sequence[int],
        headers: Sequence[bool],
        columns: int,
        title: str | None = None,
        footer: bool = False,
    ) -> None:
        check_drawable()
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.zoom = min(4, max(1, round(WIDTH_PIXELS / (columns * shape[1]))))
        self.cell = (self.zoom * shape[0], self.zoom * shape[1])
        self.gap = max(8, self.cell[1] // 45)
        width = columns * (self.cell[1] + self.gap) + self.gap
        # Text is sized by the page, for that is what gets scaled to the width of a screen.
        self.font = max(9.0, min(width / 62, self.cell[1] / 11))
        header = round(1.8 * self.font)
        top = self.gap + (round(2.4 * self.font) if title else 0)
        heights = [self.cell[0] + self.gap + header * has for has in headers]
        *starts, bottom = accumulate(heights, initial=top)
        self.height = bottom + round(2.2 * self.font) * footer
        self.tops = [start + header * has for start, has in zip(starts, headers, strict=True)]
        # The hundredth keeps a size such as 1.15 inch from being rounded down to 114 pixels.
        self.figure = Figure(((width + 0.01) / 100, (self.height + 0.01) / 100), dpi=100, facecolor=BACKGROUND)
        FigureCanvasAgg(self.figure)
        if title:
            self._text(self.gap, 1.3 * self.font + self.gap, title, size=1.2, weight="bold")

    def image(self, row: int, column: int, pixels: Pixels, label: str = "", note: str = "", corner: str = "") -> None:
        """Draw an image into a cell: `label` and `note` above it left and right, `corner` inside."""
        top, left = self.tops[row], self._left(column)
        right, bottom, inset = left + self.cell[1], top + self.cell[0], 0.4 * self.font
        self._pixels(pixels.repeat(self.zoom, 0).repeat(self.zoom, 1), left, bottom)
        self._text(left, top - inset, label)
        self._text(right, top - inset, note, size=0.85, color=QUIET, horizontalalignment="right")
        self._text(left + inset, bottom - inset, corner, size=0.85, outline=True)

    def color_bar(self, row: int, column: int, label: str, end: str) -> None:
        """Draw the scale of `heat`, from 0 to `end`, into an empty cell."""
        width = round(0.8 * self.cell[1])
        left = self._left(column) + (self.cell[1] - width) // 2
        middle = self.tops[row] + self.cell[0] // 2
        self._ramp(left, middle, width)
        self._text(left, middle - 1.5 * self.font, label)
        below = middle + 1.3 * self.font
        self._text(left, below, "0", size=0.85, color=QUIET)
        self._text(left + width, below, end, size=0.85, color=QUIET, horizontalalignment="right")

    def color_bar_below(self, column: int, end: str) -> None:
        """Draw the scale of `heat`, from 0 to `end`, into the footer below a column."""
        left, base = self._left(column), self.height - 0.9 * self.font
        width = round(0.4 * self.cell[1])
        self._text(left, base, "0", size=0.85, color=QUIET)
        self._ramp(left + round(1.1 * self.font), round(base), width)
        self._text(left + width + 1.6 * self.font, base, end, size=0.85, color=QUIET)

    def legend_below(self, column: int, colors: Mapping[str, str]) -> None:
        """Name colors in the footer below a column, each in itself."""
        left, base = self._left(column), self.height - 0.9 * self.font
        for place, (label, color) in enumerate(colors.items()):
            self._text(left + place * self.cell[1] / len(colors), base, label, size=0.85, color=color)

    def save(self, path: str | Path) -> None:
        """Write the page as PNG, whole or not at all. Raises LaminarError for a path that cannot be written."""
        with replacing(Path(path)) as unfinished:
            self.figure.savefig(unfinished, format="png", dpi=100, metadata=PLAIN)

    def _left(self, column: int) -> int:
        return self.gap + column * (self.cell[1] + self.gap)

    def _ramp(self, left: int, bottom: int, width: int) -> None:
        ramp = np.tile(np.linspace(0, 1, width), (max(4, round(0.8 * self.font)), 1))
        self._pixels(heat(ramp, 1.0), left, bottom)

    def _pixels(self, pixels: Pixels, left: int, bottom: int) -> None:
        self.figure.figimage(pixels, left, self.height - bottom, origin="upper")

    def _text(self, x: float, y: float, text: str, size: float = 1.0, outline: bool = False, **style: Any) -> None:
        """Write `text` with its baseline at y pixels below the top, `size` times the font of the page."""
        from matplotlib.patheffects import withStroke
        from matplotlib.transforms import IdentityTransform

        effects = [withStroke(linewidth=0.15 * self.font, foreground="black")] if outline else []
        options: dict[str, Any] = {"color": INK, "linespacing": 1.15, "path_effects": effects} | style
        options["parse_math"] = False  # a name may have a $
        points = 0.72 * size * self.font
        self.figure.text(x, self.height - y, text, transform=IdentityTransform(), fontsize=points, **options)
