"""The pictures that `laminar reconstruct` draws beside the file that it writes, of what is in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from laminar.data.formats import LazyScan
    from laminar.reconstruction import SliceReconstruction


def reference_of(full: LazyScan) -> Tensor:
    """The root-sum-of-squares image (image, y, x) of all samples, those of a series running fastest."""
    import torch

    from laminar.data.formats import LazyScan
    from laminar.data.series import apart
    from laminar.reconstruction import reference_image

    full = full if full.is_planar_grid else LazyScan.of(apart(full.whole()))
    return torch.cat([reference_image(full.slice(index)) for index in range(full.n_slices)])


def stored_reference(path: Path, magnitude: Tensor) -> Tensor | None:
    """The reference (image, y, x) that a simulated scan of ours brings, if it is of these images."""
    from laminar.data.formats import read_reference, sniff

    reference = read_reference(path) if sniff(path) == "Laminar scan" else None
    reference = None if reference is None else reference.flatten(0, -3)
    return reference if reference is not None and reference.shape == magnitude.shape else None


def draw(
    picture: Path,
    label: str,
    magnitude: Tensor,
    reference: Tensor | None,
    metrics: Mapping[str, float] | None,
    title: str,
    names: Sequence[str],
) -> None:
    """Draw the picture of a scan; where there is a reference, of its middle image with the errors, and the metrics.

    `names` are those of the images, none of a single one.
    """
    from laminar.figures import comparison_figure, reconstruction_png

    if reference is None:
        reconstruction_png(magnitude, picture, names)
    else:
        title += f"; numbers of all {len(names)} images" if names else ""
        comparison_figure({label: magnitude}, reference, {label: metrics or {}}, picture, title)


def names_of(scan: LazyScan, done: SliceReconstruction) -> list[str]:
    """The names of all images of a scan as they are drawn, of which this is one or some; none of a single one."""
    from laminar.scan import image_name

    first, *axes = done.axes
    inner = dict(zip(axes[:-2], done.image.shape, strict=False))
    series = {**(scan.series or {first: scan.n_slices}), **inner}
    count = math.prod(series.values())
    return [image_name(series, index) for index in range(count)] if count > 1 else []
