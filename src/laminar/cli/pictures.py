"""The pictures that `laminar reconstruct` draws beside the file that it writes, of what is in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from laminar.data.formats import LazyScan


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
) -> None:
    """Draw the picture of a scan; where there is a reference, with the errors and the metrics."""
    from laminar.figures import comparison_figure, reconstruction_png

    if reference is None:
        reconstruction_png(magnitude, picture)
    else:
        comparison_figure({label: magnitude}, reference, {label: metrics or {}}, picture, title)
