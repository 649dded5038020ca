"""The pictures that `laminar reconstruct` draws beside the file that it writes, of what is in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from laminar.errors import printable

if TYPE_CHECKING:
    from torch import Tensor

    from laminar.data.formats import LazyScan
    from laminar.reconstruction import SliceReconstruction


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


def write_volume(path: Path, magnitude: Tensor, done: list[SliceReconstruction], scan: LazyScan) -> None:
    """The images (image, y, x), those of a series running fastest, as NIfTI."""
    from laminar.geometry import Series
    from laminar.nifti import write_nifti

    found = [one.placement for one in done if one.placement is not None]
    placements = found if len(found) == len(done) and scan.geometry.kind != "volume" else None
    if placements is None:
        print(printable(f"{scan.name}: the file does not say where its slices lie: the affine is marked as unknown"))
    series = scan.geometry
    if isinstance(series, Series) and series.is_moving:  # the frames of each slice run fastest here
        magnitude = magnitude.reshape(len(done), series.count, *magnitude.shape[-2:]).movedim(1, 0).flatten(0, 1)
    slices = series.shape[0] if scan.geometry.kind == "volume" else scan.series.get("slice", len(done))
    write_nifti(path, magnitude, placements, done[0].spacing_mm, slices)
