"""The pictures that `laminar reconstruct` draws beside the file that it has written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from laminar.data.formats import LazyScan


def images_of(file: Path) -> dict[str, Tensor]:
    """The real images (slice, y, x) of a file that was written."""
    import h5py
    import torch

    names = ("reconstruction", "uncertainty_std", "interval_lower", "interval_upper")
    with h5py.File(file, "r") as written:
        return {name: torch.from_numpy(written[name][()]) for name in names if name in written}


def reference_of(full: LazyScan) -> Tensor:
    """The root-sum-of-squares image (slice, y, x) of all samples."""
    import torch

    from laminar.reconstruction import reference_image

    return torch.cat([reference_image(full.slice(index)) for index in range(full.n_slices)])


def draw(picture: Path, label: str, magnitude: Tensor, reference: Tensor | None, title: str) -> dict[str, float] | None:
    """Draw the picture of a scan; where all samples are known, with the errors, and return the metrics."""
    from laminar.metrics import fastmri_metrics
    from laminar.report import comparison_figure, reconstruction_png

    if reference is None:
        reconstruction_png(magnitude, picture)
        return None
    metrics = fastmri_metrics(magnitude, reference)
    comparison_figure({label: magnitude}, reference, {label: metrics}, picture, title)
    return metrics


def draw_uncertainty(picture: Path, images: dict[str, Tensor], reference: Tensor | None, title: str) -> None:
    """Draw mean and standard deviation of samples; where all samples of k-space are known, with errors and misses."""
    from laminar.uncertainty_figure import uncertainty_figure

    ends = {} if reference is None else {"lower": images["interval_lower"], "upper": images["interval_upper"]}
    uncertainty_figure(
        images["reconstruction"], images["uncertainty_std"], picture, reference=reference, title=title, **ends
    )
