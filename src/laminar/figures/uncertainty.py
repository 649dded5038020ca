"""A figure of what the samples of a reconstruction say, and of how right they are."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laminar.errors import DataFormatError
from laminar.figures.pixels import ArrayLike, Magnitude, gray, heat, middle_slices, white_level
from laminar.figures.sheet import Sheet
from laminar.statistics import rank_correlation
from laminar.uncertainty import Spread, coverage

ABOVE, BELOW = "#ff9e1a", "#40bfff"
"""Colors of a truth above and below its interval: orange and blue, which color-blind readers can tell apart."""
DIMMED = 0.55


def uncertainty_figure(
    spread: Spread,
    path: str | Path,
    reference: ArrayLike | None = None,
    interval: tuple[Tensor, Tensor] | None = None,
    title: str | None = None,
) -> None:
    """Write a PNG in one row: mean and standard deviation of the samples, and beside them how right they are.

    With a `reference` the error |mean - |reference|| follows, on the scale of the standard deviation, and with an
    `interval` (lower and upper end, as of `spread.interval`) the pixels whose reference lies above or below it. All are
    (y, x) or (slice, y, x), of which the middle slice is drawn, in one unit; white is 99.5 % of the reference, or else
    of the mean. Stated are Spearman's rank correlation of standard deviation and error, and the part of the pixels
    inside their intervals, both over `spread.object_pixels`.

    Raises what `comparison_figure` raises, and DataFormatError for an interval without a reference.
    """
    if interval is not None and reference is None:
        raise DataFormatError("intervals are shown against a reference")
    given: dict[str, ArrayLike] = {"mean": spread.mean, "std": spread.std}
    if reference is not None:
        given["reference"] = reference
    if interval is not None:  # a figure shows magnitudes: an end below zero must not be mirrored into one above
        given |= {"lower": interval[0].clip(0), "upper": interval[1].clip(0)}
    images = dict(zip(given, middle_slices(given.items()), strict=True))
    mean, std = images["mean"], images["std"]
    error = np.abs(mean - images["reference"]) if "reference" in images else None
    white = white_level(images.get("reference", mean))
    percent = _percent_of_white(std, error, white)
    columns = 2 + (error is not None) + (interval is not None)
    sheet = Sheet(mean.shape, headers=(True,), columns=columns, title=title, footer=True)
    sheet.image(0, 0, gray(mean, white), "mean of samples")
    sheet.image(0, 1, heat(std, percent / 100 * white), "standard deviation")
    sheet.color_bar_below(1, f"≥ {percent} % of white")
    if error is not None:
        where = middle_slices([("object pixels", spread.object_pixels)])[0] > 0
        alike = rank_correlation(torch.from_numpy(std[where]), torch.from_numpy(error[where]))
        sheet.image(0, 2, heat(error, percent / 100 * white), "|error|", corner=f"Spearman ρ {alike:.2f}")
        if interval is not None:
            _draw_misses(sheet, images, white, where)
    sheet.save(path)


def _percent_of_white(std: Magnitude, error: Magnitude | None, white: float) -> int:
    """The end of the common scale: errors have longer tails, and fitted to them would leave the deviation black."""
    peaks = [np.percentile(std, 99.5), *([] if error is None else [np.percentile(error, 97)])]
    return max(1, math.ceil(100 * max(peaks) / white))


def _draw_misses(sheet: Sheet, images: dict[str, Magnitude], white: float, where: NDArray[np.bool_]) -> None:
    """The dimmed mean with the pixels in color whose truth lies outside the interval, and what the colors say."""
    lower, upper, truth = images["lower"], images["upper"], images["reference"]
    inside = coverage(*(torch.from_numpy(part) for part in (lower, upper, truth, where)))
    picture = (DIMMED * gray(images["mean"], white)).astype(np.uint8)
    for color, outside in ((ABOVE, truth > upper), (BELOW, truth < lower)):
        picture[outside & where] = list(bytes.fromhex(color[1:]))
    sheet.image(0, 3, picture, "outside interval", corner=f"{100 * inside:.1f} % covered")
    sheet.legend_below(3, {"truth above": ABOVE, "truth below": BELOW})
