"""The pictures that `laminar reconstruct` draws beside the file that it writes, of what is in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from laminar.data.formats import LazyScan


def reference_of(full: LazyScan) -> Tensor:
    """The root-sum-of-squares image (slice, y, x) of all samples."""
    import torch

    from laminar.reconstruction import reference_image

    return torch.cat([reference_image(full.slice(index)) for index in range(full.n_slices)])


def draw(
    picture: Path,
    label: str,
    magnitude: Tensor,
    reference: Tensor | None,
    metrics: Mapping[str, float] | None,
    title: str,
) -> None:
    """Draw the picture of a scan; where all samples are known, with the errors and the metrics."""
    from laminar.figures import comparison_figure, reconstruction_png

    if reference is None:
        reconstruction_png(magnitude, picture)
    else:
        comparison_figure({label: magnitude}, reference, {label: metrics or {}}, picture, title)
