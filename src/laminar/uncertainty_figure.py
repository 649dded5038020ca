"""A figure of what the samples of a reconstruction say, and of how right they are."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from laminar.errors import DataFormatError
from laminar.report import (
    ArrayLike,
    Magnitude,
    _check_same_shape,
    _middle_slice,
    _Sheet,
    _white_level,
)
from laminar.uncertainty import object_pixels

ABOVE, BELOW = (1.0, 0.62, 0.10), (0.25, 0.75, 1.0)
"""Colors of a truth above and below its interval: orange and blue, which color-blind readers can tell apart."""
DIMMED = 0.55

Mask = NDArray[np.bool_]


def uncertainty_figure(
    mean: ArrayLike,
    std: ArrayLike,
    path: str | Path,
    reference: ArrayLike | None = None,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    title: str | None = None,
) -> None:
    """Write a PNG in one row: mean and standard deviation of the samples, and beside them how right they are.

    With a `reference` the error ||mean| - |reference|| follows, on the scale of the standard deviation, and with
    `lower` and `upper` the pixels whose reference lies above or below its interval. All are (y, x) or (slice, y, x), of
    which the middle slice is drawn, in one unit; white is 99.5 % of the reference, or else of the mean. Stated are
    Spearman's rank correlation of standard deviation and error, and the part of the pixels inside their intervals,
    both over `laminar.uncertainty.object_pixels` of the mean.

    Raises what `laminar.report.comparison_figure` raises, and DataFormatError for an interval with one end or without
    a reference.
    """
    if (lower is None) != (upper is None) or (lower is not None and reference is None):
        raise DataFormatError("intervals are shown by both ends, lower and upper, and against a reference")
    # A figure shows magnitudes: an end below zero must not be mirrored into one above.
    ends = {} if lower is None or upper is None else {"lower": lower.clip(0), "upper": upper.clip(0)}
    given = {"mean": mean, "std": std} | ({} if reference is None else {"reference": reference}) | ends
    images = {name: _middle_slice(name, image) for name, image in given.items()}
    _check_same_shape(images)
    error = np.abs(images["mean"] - images["reference"]) if "reference" in images else None
    white = _white_level(images.get("reference", images["mean"]))
    percent = _percent_of_white(images["std"], error, white)
    columns = 2 + (error is not None) + bool(ends)
    sheet = _Sheet(images["mean"].shape, headers=(True,), columns=columns, title=title, footer=True)
    sheet.image(0, 0, images["mean"], white, "mean of samples")
    sheet.image(0, 1, images["std"], percent / 100 * white, "standard deviation", color_map="inferno")
    sheet.scale_below(1, f"≥ {percent} % of white")
    if error is not None:
        where = object_pixels(torch.from_numpy(images["mean"])).numpy()
        alike = f"Spearman ρ {rank_correlation(images['std'][where], error[where]):.2f}"
        sheet.image(0, 2, error, percent / 100 * white, "|error|", corner=alike, color_map="inferno")
        if ends:
            _draw_misses(sheet, images, white, where)
    sheet.save(path)


def _percent_of_white(std: Magnitude, error: Magnitude | None, white: float) -> int:
    """The end of the common scale: errors have longer tails, and fitted to them would leave the deviation black."""
    peaks = [np.percentile(std, 99.5), *([] if error is None else [np.percentile(error, 97)])]
    return max(1, math.ceil(100 * max(peaks) / white))


def _draw_misses(sheet: _Sheet, images: dict[str, Magnitude], white: float, where: Mask) -> None:
    """The dimmed mean with the pixels in color whose truth lies outside the interval, and what the colors say."""
    above, below = images["reference"] > images["upper"], images["reference"] < images["lower"]
    inside = 1 - (above | below)[where].mean() if where.any() else np.nan
    picture = np.repeat(DIMMED * np.clip(images["mean"] / white, 0, 1)[..., None], 3, axis=-1)
    picture[above & where], picture[below & where] = ABOVE, BELOW
    sheet.image(0, 3, picture, 1.0, "outside interval", corner=f"{100 * inside:.1f} % covered")
    sheet.legend_below(3, {"truth above": ABOVE, "truth below": BELOW})


def rank_correlation(a: Magnitude, b: Magnitude) -> float:
    """Spearman's rank correlation: Pearson's of the ranks, equal values sharing their mean rank; NaN for a constant."""
    ranks = np.stack([_ranks(a), _ranks(b)])
    ranks -= ranks.mean(1, keepdims=True)
    sizes = np.linalg.norm(ranks, axis=1)
    return float(ranks[0] @ ranks[1] / sizes.prod()) if sizes.all() else float("nan")


def _ranks(values: Magnitude) -> Magnitude:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Magnitude = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks
