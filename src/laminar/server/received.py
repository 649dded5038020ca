"""Images that came over the wire, as `laminar reconstruct` would have written them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from laminar.data.formats.assembly import SERIES
from laminar.errors import DataFormatError
from laminar.files import writing_hdf5

NAMES = {1: "reconstruction", 2: "uncertainty_std"}


def write_images(path: Path, images: Sequence[Any]) -> None:
    """Each series of images in a dataset (slice, y, x), slices by position, with their attributes as text beside them.

    Raises DataFormatError if the images of a series have different sizes, LaminarError if nothing can be written.
    """
    with writing_hdf5(path) as file:
        for series in sorted({int(image.image_series_index) for image in images}):
            mine = sorted((image for image in images if image.image_series_index == series), key=_place)
            sizes = {image.data.shape for image in mine}
            if len(sizes) > 1:
                raise DataFormatError(f"the images of series {series} have different sizes: {sorted(sizes)}")
            name = NAMES.get(series, f"series_{series}")
            file[name] = np.concatenate([_in_units(image) for image in mine])
            file[f"{name}_attributes"] = [image.attribute_string for image in mine]


def _place(image: Any) -> tuple[float, ...]:
    normal = np.cross(image.read_dir[:], image.phase_dir[:])
    along = round(float(normal @ np.array(image.position[:])), 3)
    return (*(int(getattr(image, name)) for name in SERIES), along, int(image.slice), int(image.image_index))


def _in_units(image: Any) -> Any:
    """Pixels (z, y, x); integers of ours in the units of the scan."""
    scale = image.meta.get("LaminarScale")
    return image.data[0] if scale is None else image.data[0] * np.float32(scale)
