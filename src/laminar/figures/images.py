"""Figures of images: against a reference, from cascade to cascade, and of a volume by itself.

All images of a figure share one window, from 0 to the 99.5 percentile of the reference. Equal input gives equal files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from laminar.errors import DataFormatError
from laminar.figures.pixels import PERCENTILE, ArrayLike, Magnitude, gray, heat, magnitude, middle_slices, white_level
from laminar.figures.sheet import Sheet, caption, grid, state_label

MONTAGE_SLICES = 12
ERROR_FACTORS = (1, 2, 5, 10, 20, 50, 100)


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
    truth, *images = middle_slices([("reference", reference), *panels.items()])
    white = white_level(truth)
    errors = [np.abs(image - truth) for image in images]
    factor = _error_factor(errors, white)
    sheet = Sheet(truth.shape, headers=(True, False), columns=1 + len(images), title=title)
    sheet.image(0, 0, gray(truth, white), "reference")
    sheet.color_bar(1, 0, f"|error| × {factor}", f"≥ {100 / factor:g} % of white")
    for column, (name, image, error) in enumerate(zip(panels, images, errors, strict=True), start=1):
        sheet.image(0, column, gray(image, white), name, corner=caption(metrics.get(name, {})))
        sheet.image(1, column, heat(error, white / factor))
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
    images = middle_slices((f"state {index}", state) for index, state in enumerate(states))
    for name, values in (("PSNR", psnrs), ("time", times)):
        if values is not None and len(values) != len(images):
            raise DataFormatError(f"a {name} for each of {len(images)} states is needed; got {len(values)}")
    white = white_level(images[-1])
    rows, columns = grid(len(images), most_columns=6)
    sheet = Sheet(images[0].shape, headers=(True,) * rows, columns=columns)
    for index, image in enumerate(images):
        note = "" if times is None else f"t = {times[index]:.2f}"
        corner = "" if psnrs is None else caption({"psnr": psnrs[index]})
        sheet.image(*divmod(index, columns), gray(image, white), state_label(index), note, corner)
    sheet.save(path)


def reconstruction_png(image: ArrayLike, path: str | Path, names: Sequence[str] = ()) -> None:
    """Write a PNG of a reconstruction (y, x) or (image, y, x): at most 12 images, evenly spaced, with their `names`.

    Raises what `comparison_figure` raises.
    """
    volume = magnitude("image", image)
    volume = volume[None] if volume.ndim == 2 else volume
    shown = np.linspace(0, len(volume) - 1, min(len(volume), MONTAGE_SLICES)).round().astype(int)
    white = white_level(volume)
    rows, columns = grid(len(shown), most_columns=4)
    sheet = Sheet(volume.shape[1:], headers=(False,) * rows, columns=columns)
    for place, index in enumerate(shown):
        sheet.image(*divmod(place, columns), gray(volume[index], white), corner=names[index] if names else "")
    sheet.save(path)


def _error_factor(errors: Sequence[Magnitude], white: float) -> int:
    """The greatest round factor at which the error map of the middle method still fits the scale.

    Fitted to the worst method, the scale would leave the good ones black.
    """
    peaks = sorted(float(np.percentile(error, PERCENTILE)) for error in errors)
    middle = peaks[len(peaks) // 2] if peaks else white
    return max((factor for factor in ERROR_FACTORS if factor * middle <= white), default=1)
