"""Images of the MRD protocol as a session sends them, with what a reader must know of how they were made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from laminar.image_files.mrd import attributes, placed
from laminar.scan import Scan
from laminar.server.solving import Solved

CEILING, HEADROOM = 2**16 - 1, 16
_COPIED = ("measurement_uid", "patient_table_position", "acquisition_time_stamp", "physiology_time_stamp")


def mrd_image(pixels: Tensor, scan: Scan, head: Any, meta: Mapping[str, Any], *, index: int, series: int) -> Any:
    """An `ismrmrd.Image` of `pixels` (y, x), the one image of `scan`; counters and times are those of `head`."""
    image = placed(pixels, None if scan.placements is None else scan.placements[0], scan, meta)
    for name in _COPIED:
        setattr(image, name, _plain(head[name]))
    for name in ("average", "slice", "contrast", "phase", "repetition", "set"):
        setattr(image, name, int(head["idx"][name]))
    image.image_index, image.image_series_index = index, series
    return image


class Pixels:
    """The pixels of a connection's images as they are sent.

    Integers have one scale for a series, since a scanner shows it as one. It is known when the first image is: the
    largest value of that, unless it is empty, is 4096, and nearly 16 times as much still has a place.
    """

    def __init__(self) -> None:
        self._scales: dict[int, float] = {}

    def of(self, image: Tensor, kind: str, series: int) -> tuple[Tensor, dict[str, str], int]:
        """The pixels of a float32 image, the attributes that say their scale, and how many had to be clipped."""
        if kind == "float32":
            return image, {}, 0
        if series not in self._scales and not bool(image.any()):
            return image.to(torch.uint16), {}, 0
        scale = self._scales.setdefault(series, float(image.max()) * HEADROOM / (CEILING + 1))
        counts = (image / scale).round()
        told = {"LaminarScale": f"{scale:.9g}"}
        return counts.clamp(0, CEILING).to(torch.uint16), told, int((counts > CEILING).sum())


def meta_of(solved: Solved, series: str, weights: str | None, what: str = "") -> dict[str, Any]:
    """The attributes of an image: its role, its history, and how far to trust it."""
    meta = attributes(solved.method, series, what)
    meta |= {"LaminarMethod": solved.method, "LaminarSeconds": f"{solved.seconds:.3f}"}
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
