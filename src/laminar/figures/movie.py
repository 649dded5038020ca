"""A movie of a series of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from laminar.errors import DataFormatError, MissingExtraError
from laminar.figures.pixels import ArrayLike, gray, magnitude, white_level
from laminar.files import MARK, replacing

MILLISECONDS = 80
"""A frame is shown so long."""
SMALLEST = 192
"""Pixels of a side: smaller images are enlarged by a whole factor."""


def pillow() -> Any:
    """The images of Pillow. Raises MissingExtraError without it."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("pillow", "figures") from error
    return Image


def movie(images: ArrayLike, path: Path) -> None:
    """Write a GIF of images (frame, y, x) in one window, again and again.

    Raises DataFormatError for images that are none, MissingExtraError without Pillow, LaminarError.
    """
    image = pillow()
    frames = magnitude("images", images)
    if frames.ndim != 3:
        raise DataFormatError(f"a movie is of images (frame, y, x); got {frames.shape}")
    white = white_level(frames)
    factor = max(1, SMALLEST // min(frames.shape[1:]))
    pixels = [np.kron(gray(frame, white)[..., 0], np.ones((factor, factor), np.uint8)) for frame in frames]
    first, *others = (image.fromarray(each.astype(np.uint8)) for each in pixels)
    with replacing(path) as temporary:
        first.save(temporary, "GIF", save_all=True, append_images=others, duration=MILLISECONDS, loop=0, comment=MARK)
