"""Images of the MRD protocol: pixels, geometry, and what a reader must know of how they were made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from laminar.scan import Scan
from laminar.server.solving import Solved
from laminar.server.wire import mrd

WARNING = "not for diagnostic use"
_COPIED = ("measurement_uid", "patient_table_position", "acquisition_time_stamp", "physiology_time_stamp")


def mrd_image(pixels: Tensor, scan: Scan, head: Any, meta: Mapping[str, Any], *, index: int, series: int) -> Any:
    """An `ismrmrd.Image` float32 of the magnitudes `pixels` (y, x) of the one image of `scan`.

    Counters and times are those of `head`, the last readout. The position is that of pixel n // 2, as the center of the
    field of view is in the readouts.
    """
    ismrmrd = mrd()
    image = ismrmrd.Image.from_array(np.ascontiguousarray(pixels.numpy(), np.float32), transpose=False)
    for name in _COPIED:
        setattr(image, name, _plain(head[name]))
    for name in ("average", "slice", "contrast", "phase", "repetition", "set"):
        setattr(image, name, int(head["idx"][name]))
    image.image_type = ismrmrd.IMTYPE_MAGNITUDE
    image.image_index, image.image_series_index = index, series
    y, x = scan.spacing_mm or (1.0, 1.0)
    placement = None if scan.placements is None else scan.placements[0]
    image.field_of_view[:] = (x * pixels.shape[1], y * pixels.shape[0], (placement and placement.thickness) or 1.0)
    if placement is not None:
        image.position[:], image.read_dir[:], image.phase_dir[:] = placement.center, placement.x_axis, placement.y_axis
        image.slice_dir[:] = np.cross(placement.x_axis, placement.y_axis).tolist()
        meta = {**meta, "ImageRowDir": _digits(placement.x_axis), "ImageColumnDir": _digits(placement.y_axis)}
    image.meta = {**meta, **_window(pixels)}
    return image


def meta_of(solved: Solved, series: str, weights: str | None, what: str = "") -> dict[str, Any]:
    """The attributes of an image: its role, its history, and how far to trust it."""
    meta: dict[str, Any] = {
        "DataRole": ["Image", *([what] if what else [])],
        "ImageProcessingHistory": ["Laminar", solved.method],
        "SeriesDescription": f"{series} {what}".strip(),
        "ImageComment": [WARNING],
        "ImageType": "DERIVED\\PRIMARY\\M\\" + (what.upper() or "RECON"),
        "Keep_image_geometry": "1",
        "LaminarMethod": solved.method,
        "LaminarSeconds": f"{solved.seconds:.3f}",
    }
    if weights is not None:
        meta["LaminarWeights"] = weights
    if solved.departure is not None:
        meta["LaminarDataResidual"] = f"{solved.departure:.4g}"
    if solved.departs:
        meta["ImageComment"].append("the image departs from the data")
    if solved.reason is not None:
        meta["LaminarFallback"] = solved.reason
        meta["ImageComment"].append(f"fallback: {solved.method}")
    return meta


def _plain(value: Any) -> Any:
    return value.item() if value.ndim == 0 else tuple(value.tolist())


def _digits(vector: tuple[float, float, float]) -> list[str]:
    return [f"{value:.18f}" for value in vector]


def _window(pixels: Tensor) -> dict[str, str]:
    top = float(pixels.flatten().quantile(0.995)) if pixels.numel() < 2**24 else float(pixels.max())
    return {"WindowCenter": f"{top / 2:.8g}", "WindowWidth": f"{top:.8g}"}
