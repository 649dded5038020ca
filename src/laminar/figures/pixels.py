"""From images to colored pixels: magnitudes in one window, errors on one stated scale."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from laminar.errors import DataFormatError, MissingExtraError

ArrayLike = Tensor | NDArray[Any]
Magnitude = NDArray[np.float64]
Pixels = NDArray[np.uint8]
"""Red, green and blue (y, x, 3)."""

PERCENTILE = 99.5
PLAIN: Any = {"Software": "Laminar"}
"""Neither version nor date in a file: equal pictures are equal bytes."""


def check_drawable(instead: str | None = None) -> None:
    """Raise MissingExtraError, which names `instead`, without matplotlib: before the work whose pictures are wanted."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("matplotlib", "figures", instead) from error


def magnitude(name: str, image: ArrayLike) -> Magnitude:
    """|image| of an image (y, x) or a volume (slice, y, x). Raises DataFormatError for other shapes, NaN and Inf."""
    array = image.detach().cpu().resolve_conj().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if array.ndim not in (2, 3) or array.size == 0:
        raise DataFormatError(f"{name} must be (y, x) or (slice, y, x); got {array.shape}")
    found: Magnitude = np.abs(array).astype(np.float64)
    if not np.isfinite(found).all():
        raise DataFormatError(f"{name} holds NaN or Inf")
    return found


def middle_slices(images: Iterable[tuple[str, ArrayLike]]) -> list[Magnitude]:
    """The magnitude (y, x) of the middle slice of each named image. Raises DataFormatError if they differ in shape."""
    named = [(name, magnitude(name, image)) for name, image in images]
    middle = [image if image.ndim == 2 else image[len(image) // 2] for _, image in named]
    if len({image.shape for image in middle}) != 1:
        shapes = {name: image.shape for (name, _), image in zip(named, middle, strict=True)}
        raise DataFormatError(f"the images of a figure must have one shape; got {shapes or 'no image'}")
    return middle


def white_level(reference: NDArray[Any]) -> float:
    """The magnitude drawn as white: robust against a few bright pixels, and never zero."""
    return float(np.percentile(reference, PERCENTILE)) or float(reference.max()) or 1.0


def gray(values: NDArray[Any], white: float) -> Pixels:
    """A magnitude (y, x) from black at 0 to white. NaN is black, for a picture of what went wrong."""
    return _colored(values / white, "gray")


def heat(values: NDArray[Any], end: float) -> Pixels:
    """An error or deviation (y, x) from black at 0 to yellow at `end`; NaN is black."""
    return _colored(values / end, "inferno")


def png(pixels: Pixels) -> bytes:
    """The pixels, one by one, as a file: equal pixels, equal bytes."""
    from matplotlib.image import imsave

    file = BytesIO()
    imsave(file, pixels, format="png", metadata=PLAIN)
    return file.getvalue()


def _colored(shares: NDArray[Any], color_map: str) -> Pixels:
    check_drawable()
    from matplotlib import colormaps

    colors: Pixels = colormaps[color_map](np.nan_to_num(shares, nan=0, posinf=1, neginf=0), bytes=True)[..., :3]
    return colors
