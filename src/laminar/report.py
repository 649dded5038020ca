"""Figures and tables that show a reconstruction: honest pixels, one window, errors on one shared scale.

Every matrix point becomes a block of whole screen pixels, so nothing is interpolated away, and all images of
a figure share the window 0 to the 99.5 percentile of the reference. Equal input gives equal files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from laminar.errors import DataFormatError, MissingExtraError
from laminar.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

ArrayLike = Tensor | NDArray[Any]
Magnitude = NDArray[np.float64]

PERCENTILE = 99.5
WIDTH_PIXELS = 1600
MONTAGE_SLICES = 12
ERROR_FACTORS = (1, 2, 5, 10, 20, 50, 100)
BACKGROUND, INK, QUIET = "#0d1117", "#f0f6fc", "#8b949e"
METRIC_LABELS = {"psnr": "{:.2f} dB", "ssim": "SSIM {:.3f}", "nmse": "NMSE {:.4f}"}


def comparison_figure(
    panels: Mapping[str, ArrayLike],
    reference: ArrayLike,
    metrics: Mapping[str, Mapping[str, float]],
    path: str | Path,
    title: str | None = None,
) -> None:
    """Write a PNG: the reference and each method in a row, below each method its error on one shared scale.

    `panels` maps a method's name to its image and `metrics` the same name to any of `psnr` (dB), `ssim` and
    `nmse`. Images are (y, x), real or complex (their magnitude is shown); of (slice, y, x) the middle slice.
    The error is ||x| - |reference||, enlarged by a factor that the figure states.

    Raises DataFormatError for images that do not fit each other or hold NaN or Inf, LaminarError for a path
    that cannot be written, MissingExtraError without matplotlib.
    """
    truth = _middle_slice("reference", reference)
    images = {name: _middle_slice(name, image) for name, image in panels.items()}
    _check_same_shape({"reference": truth} | images)
    white = _white_level(truth)
    errors = {name: np.abs(image - truth) for name, image in images.items()}
    factor = _error_factor(errors.values(), white)
    sheet = _Sheet(truth.shape, headers=(True, False), columns=1 + len(images), title=title)
    sheet.image(0, 0, truth, white, "reference")
    sheet.color_bar(1, 0, f"|error| × {factor}", ("0", f"≥ {100 / factor:g} % of white"))
    for column, (name, image) in enumerate(images.items(), start=1):
        sheet.image(0, column, image, white, name, corner=_corner(metrics.get(name, {})))
        sheet.image(1, column, errors[name], white / factor, color_map="inferno")
    sheet.save(path)


def trajectory_strip(
    states: ArrayLike | Sequence[ArrayLike],
    psnrs: Sequence[float] | None,
    path: str | Path,
    times: Sequence[float] | None = None,
) -> None:
    """Write a PNG of the image after each cascade, from the source to the reconstruction, in reading order.

    `states` is (state, y, x), real or complex; the first is the source x1, before any cascade. `psnrs` (dB)
    and `times` (flow time, from 1 to 0) have one value a state. The window is that of the last state.

    Raises what `comparison_figure` raises, and DataFormatError if the lengths differ.
    """
    images = [_middle_slice(f"state {index}", state) for index, state in enumerate(states)]
    _check_same_shape({f"state {index}": image for index, image in enumerate(images)})
    for name, values in (("PSNR", psnrs), ("time", times)):
        if values is not None and len(values) != len(images):
            raise DataFormatError(f"a {name} for each of {len(images)} states is needed; got {len(values)}")
    white = _white_level(images[-1])
    rows, columns = _grid(len(images), most_columns=6)
    sheet = _Sheet(images[0].shape, headers=(True,) * rows, columns=columns)
    for index, image in enumerate(images):
        label = f"cascade {index}" if index else "source"
        note = "" if times is None else f"t = {times[index]:.2f}"
        corner = "" if psnrs is None else METRIC_LABELS["psnr"].format(psnrs[index])
        sheet.image(*divmod(index, columns), image, white, label, note, corner)
    sheet.save(path)


def reconstruction_png(image: ArrayLike, path: str | Path) -> None:
    """Write a PNG of a reconstruction (y, x) or (slice, y, x): at most 12 slices, evenly spaced.

    Raises what `comparison_figure` raises.
    """
    volume = _magnitude("image", image)
    volume = volume[None] if volume.ndim == 2 else volume
    if volume.ndim != 3 or volume.size == 0:
        raise DataFormatError(f"the image must be (y, x) or (slice, y, x); got {volume.shape}")
    shown = np.linspace(0, len(volume) - 1, min(len(volume), MONTAGE_SLICES)).round().astype(int)
    white = _white_level(volume)
    rows, columns = _grid(len(shown), most_columns=4)
    sheet = _Sheet(volume.shape[1:], headers=(False,) * rows, columns=columns)
    for place, index in enumerate(shown):
        corner = f"slice {index + 1} of {len(volume)}" if len(volume) > 1 else ""
        sheet.image(*divmod(place, columns), volume[index], white, corner=corner)
    sheet.save(path)


def metrics_table(rows: Iterable[Mapping[str, Any]], title: str | None = None, caption: str | None = None) -> Table:
    """A terminal table of methods: keys `method` and any of `psnr` (dB), `ssim`, `nmse`, `seconds`, `nfe`."""
    from rich.table import Table

    formats = {"psnr": "{:.2f}", "ssim": "{:.4f}", "nmse": "{:.5f}", "seconds": "{:.2f}", "nfe": "{}"}
    table = Table(title=title, caption=caption)
    table.add_column("method")
    for heading in ("PSNR (dB)", "SSIM", "NMSE", "seconds", "NFE"):
        table.add_column(heading, justify="right")
    for row in rows:
        cells = (text.format(row[key]) if row.get(key) is not None else "-" for key, text in formats.items())
        table.add_row(str(row["method"]), *cells)
    return table


class _Sheet:
    """A dark page with a grid of image cells, laid out in whole screen pixels from the top left."""

    def __init__(
        self,
        shape: Sequence[int],
        headers: Sequence[bool],
        columns: int,
        title: str | None = None,
        footer: bool = False,
    ) -> None:
        self.zoom = min(4, max(1, round(WIDTH_PIXELS / (columns * shape[1]))))
        self.cell = (self.zoom * shape[0], self.zoom * shape[1])
        self.gap = max(8, self.cell[1] // 45)
        self.width = columns * (self.cell[1] + self.gap) + self.gap
        # Text is sized by the page, for that is what gets scaled to the width of a screen.
        self.font = max(9.0, min(self.width / 62, self.cell[1] / 11))
        header = round(1.8 * self.font)
        top = self.gap + (round(2.4 * self.font) if title else 0)
        heights = [self.cell[0] + self.gap + header * has for has in headers]
        *starts, bottom = accumulate(heights, initial=top)
        self.height = bottom + round(2.2 * self.font) * footer
        self.tops = [start + header * has for start, has in zip(starts, headers, strict=True)]
        self.figure = _new_figure(self.width, self.height)
        if title:
            self.text(self.gap, 1.3 * self.font + self.gap, title, size=1.2, weight="bold")

    def image(
        self,
        row: int,
        column: int,
        image: Magnitude,
        white: float,
        label: str = "",
        note: str = "",
        corner: str = "",
        color_map: str = "gray",
    ) -> None:
        """Draw one image from 0 to `white`: `label` and `note` above it left and right, `corner` inside."""
        top, left = self.tops[row], self._left(column)
        right, bottom, inset = left + self.cell[1], top + self.cell[0], 0.4 * self.font
        self._pixels(image.repeat(self.zoom, 0).repeat(self.zoom, 1), left, bottom, white, color_map)
        self.text(left, top - inset, label)
        self.text(right, top - inset, note, size=0.85, color=QUIET, horizontalalignment="right")
        self.text(left + inset, bottom - inset, corner, size=0.85, outline=True)

    def color_bar(self, row: int, column: int, label: str, ends: tuple[str, str]) -> None:
        """Draw the scale of the error maps into an empty cell."""
        width = round(0.8 * self.cell[1])
        left = self._left(column) + (self.cell[1] - width) // 2
        middle = self.tops[row] + self.cell[0] // 2
        ramp = np.tile(np.linspace(0, 1, width), (max(4, round(0.8 * self.font)), 1))
        self._pixels(ramp, left, middle, 1.0, "inferno")
        self.text(left, middle - 1.5 * self.font, label)
        below = middle + 1.3 * self.font
        self.text(left, below, ends[0], size=0.85, color=QUIET)
        self.text(left + width, below, ends[1], size=0.85, color=QUIET, horizontalalignment="right")

    def scale_below(self, column: int, end: str) -> None:
        """Draw the scale of the error maps below a column, from 0 to `end`."""
        left, base = self._left(column), self.height - 0.9 * self.font
        width = round(0.4 * self.cell[1])
        ramp = np.tile(np.linspace(0, 1, width), (max(4, round(0.7 * self.font)), 1))
        self.text(left, base, "0", size=0.85, color=QUIET)
        self._pixels(ramp, left + round(1.1 * self.font), round(base), 1.0, "inferno")
        self.text(left + width + 1.6 * self.font, base, end, size=0.85, color=QUIET)

    def legend_below(self, column: int, colors: Mapping[str, tuple[float, float, float]]) -> None:
        """Name colors below a column, each in itself."""
        left, base = self._left(column), self.height - 0.9 * self.font
        for place, (label, color) in enumerate(colors.items()):
            self.text(left + place * self.cell[1] / len(colors), base, label, size=0.85, color=color)

    def text(self, x: float, y: float, text: str, size: float = 1.0, outline: bool = False, **style: Any) -> None:
        """Write `text` with its baseline at y pixels below the top, `size` times the font of the page."""
        from matplotlib.patheffects import withStroke
        from matplotlib.transforms import IdentityTransform

        effects = [withStroke(linewidth=0.15 * self.font, foreground="black")] if outline else []
        options: dict[str, Any] = {"color": INK, "linespacing": 1.15, "path_effects": effects} | style
        points = 0.72 * size * self.font
        self.figure.text(x, self.height - y, text, transform=IdentityTransform(), fontsize=points, **options)

    def save(self, path: str | Path) -> None:
        with replacing(Path(path)) as unfinished:
            # Neither version nor date in the file: equal pictures are equal files. The name says whose it is.
            self.figure.savefig(unfinished, format="png", dpi=100, metadata={"Software": "Laminar"})

    def _left(self, column: int) -> int:
        return self.gap + column * (self.cell[1] + self.gap)

    def _pixels(self, values: Magnitude, left: int, bottom: int, white: float, color_map: str) -> None:
        self.figure.figimage(values, left, self.height - bottom, cmap=color_map, vmin=0, vmax=white, origin="upper")


def _new_figure(width: int, height: int) -> Figure:
    """An empty page of the given size in pixels, drawn without a display and without pyplot's state."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "figures") from error
    # The hundredth keeps a size such as 1.15 inch from being rounded down to 114 pixels.
    figure = Figure(((width + 0.01) / 100, (height + 0.01) / 100), dpi=100, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    return figure


def _magnitude(name: str, image: ArrayLike) -> Magnitude:
    array = image.detach().cpu().resolve_conj().numpy() if isinstance(image, Tensor) else np.asarray(image)
    magnitude: Magnitude = np.abs(array).astype(np.float64)
    if not np.isfinite(magnitude).all():
        raise DataFormatError(f"{name} holds NaN or Inf")
    return magnitude


def _middle_slice(name: str, image: ArrayLike) -> Magnitude:
    magnitude = _magnitude(name, image)
    if magnitude.ndim not in (2, 3) or magnitude.size == 0:
        raise DataFormatError(f"{name} must be (y, x) or (slice, y, x); got {magnitude.shape}")
    return magnitude if magnitude.ndim == 2 else magnitude[len(magnitude) // 2]


def _check_same_shape(images: Mapping[str, Magnitude]) -> None:
    shapes = {name: image.shape for name, image in images.items()}
    if len(set(shapes.values())) != 1:
        raise DataFormatError(f"the images of a figure must have one shape; got {shapes or 'no image'}")


def _white_level(reference: Magnitude) -> float:
    """The brightness drawn as white: robust against a few bright pixels, and never zero."""
    return float(np.percentile(reference, PERCENTILE)) or float(reference.max()) or 1.0


def _error_factor(errors: Iterable[Magnitude], white: float) -> int:
    """The greatest round factor at which the error map of the middle method still fits the scale.

    Fitted to the worst method, the scale would leave the good ones black.
    """
    peaks = sorted(float(np.percentile(error, PERCENTILE)) for error in errors)
    middle = peaks[len(peaks) // 2] if peaks else white
    return max((factor for factor in ERROR_FACTORS if factor * middle <= white), default=1)


def _corner(metrics: Mapping[str, float]) -> str:
    return "\n".join(text.format(metrics[key]) for key, text in METRIC_LABELS.items() if key in metrics)


def _grid(count: int, most_columns: int) -> tuple[int, int]:
    """Rows and columns that hold `count` cells with as even rows as possible."""
    rows = -(-count // most_columns)
    return rows, -(-count // rows)
