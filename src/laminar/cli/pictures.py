"""The pictures that `laminar reconstruct` draws beside the file that it writes, of what is in memory."""

from __future__ import annotations

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


def stored_reference(path: Path, magnitude: Tensor) -> Tensor | None:
    """The reference (image, y, x) that a simulated scan of ours brings, if it is of these images."""
    from laminar.data.formats import read_reference, sniff

    reference = read_reference(path) if sniff(path) == "Laminar scan" else None
    reference = None if reference is None else reference.flatten(0, -3)
    return reference if reference is not None and reference.shape == magnitude.shape else None


def draw(picture: Path, label: str, magnitude: Tensor, reference: Tensor | None, title: str) -> dict[str, float] | None:
    """Draw the picture of a scan; where all samples are known, with the errors, and return the metrics."""
    from laminar.figures import comparison_figure, reconstruction_png
    from laminar.metrics import fastmri_metrics

    if reference is None:
        reconstruction_png(magnitude, picture)
        return None
    metrics = fastmri_metrics(magnitude, reference)
    comparison_figure({label: magnitude}, reference, {label: metrics}, picture, title)
    return metrics
