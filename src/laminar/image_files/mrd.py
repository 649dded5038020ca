"""Images of the MRD protocol (ISMRMRD), as they go over the wire and into files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from torch import Tensor

from laminar.errors import package
from laminar.files import mark
from laminar.image_files.volume import WARNING, Volume, window_of
from laminar.scan import Placement

_COUNTERS = {"time": "phase", "echo": "contrast"}
_COUNTERS |= {name: name for name in ("phase", "contrast", "repetition", "set", "slice", "average")}


def ismrmrd() -> Any:
    """The package. Raises MissingExtraError."""
    return package("ismrmrd", "mrd")


def write_mrd(path: Path, volume: Volume) -> None:
    """ISMRMRD `.h5` with the images of series 1, the magnitudes, in `dataset/image_1`, their deviation in `image_2`."""
    with ismrmrd().File(str(path), "w") as file:
        for number, kind in enumerate(volume.kinds, start=1):
            file[f"dataset/image_{number}"].images = list(_images(volume, kind, number))
    with h5py.File(path, "a") as file:
        mark(file)


def _images(volume: Volume, kind: str, series: int) -> Iterator[Any]:
    meta = {**attributes(volume.method, f"Laminar {volume.method}", kind), "LaminarMethod": volume.method}
    for index, pixels in enumerate(volume.kinds[kind]):
        placement = None if volume.placements is None else volume.placements[index]
        image = placed(pixels, placement, volume, meta)
        for name, at in volume.counters(index).items():
            if name in _COUNTERS:
                setattr(image, _COUNTERS[name], at)
        image.image_index, image.image_series_index = index + 1, series
        yield image


class Sizes(Protocol):
    """What knows the size of a pixel and of a slice, if any: a `Volume`, a `Scan`."""

    @property
    def spacing_mm(self) -> tuple[float, float] | None: ...
    @property
    def thickness_mm(self) -> float | None: ...


def placed(pixels: Tensor, placement: Placement | None, sizes: Sizes, meta: Mapping[str, Any]) -> Any:
    """An `ismrmrd.Image` of the magnitudes `pixels` (y, x), float32 or uint16, with `meta` and a window.

    Its position is that of pixel n // 2, as the center of the field of view is in the readouts.
    """
    image = ismrmrd().Image.from_array(np.ascontiguousarray(pixels.numpy()), transpose=False)
    image.image_type = ismrmrd().IMTYPE_MAGNITUDE
    y, x = sizes.spacing_mm or (1.0, 1.0)
    image.field_of_view[:] = (x * pixels.shape[1], y * pixels.shape[0], sizes.thickness_mm or 1.0)
    if placement is not None:
        image.position[:], image.read_dir[:], image.phase_dir[:] = placement.center, placement.x_axis, placement.y_axis
        image.slice_dir[:] = np.cross(placement.x_axis, placement.y_axis).tolist()
        meta = {**meta, "ImageRowDir": _digits(placement.x_axis), "ImageColumnDir": _digits(placement.y_axis)}
    center, width = window_of(pixels.float())
    image.meta = {**meta, "WindowCenter": f"{center:.8g}", "WindowWidth": f"{width:.8g}"}
    return image


def attributes(method: str, series: str, what: str = "") -> dict[str, Any]:
    """What an image says of itself: its role, its history, and a warning."""
    return {
        "DataRole": ["Image", *([what] if what else [])],
        "ImageProcessingHistory": ["Laminar", method],
        "SeriesDescription": f"{series} {what}".strip(),
        "ImageComment": [WARNING],
        "ImageType": "DERIVED\\PRIMARY\\M\\" + (what.upper() or "RECON"),
        "Keep_image_geometry": "1",
    }


def _digits(vector: tuple[float, float, float]) -> list[str]:
    return [f"{value:.18f}" for value in vector]
