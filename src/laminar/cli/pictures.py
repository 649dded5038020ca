"""The pictures that `laminar reconstruct` draws beside the file that it writes, of what is in memory."""

from __future__ import annotations

from collections.abc import Mapping
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
) -> None:
    """Draw the picture of a scan; where there is a reference, with the errors and the metrics."""
    from laminar.figures import comparison_figure, reconstruction_png

    if reference is None:
        reconstruction_png(magnitude, picture)
    else:
        comparison_figure({label: magnitude}, reference, {label: metrics or {}}, picture, title)


def write_volume(path: Path, magnitude: Tensor, done: list[SliceReconstruction], scan: LazyScan) -> list[str]:
    """The images (image, y, x), those of a series running fastest, as NIfTI; returns what it lacks."""
    from laminar.geometry import Series
    from laminar.nifti import write_nifti

    found = [one.placement for one in done if one.placement is not None]
    placements = found if len(found) == len(done) and scan.geometry.kind != "volume" else None
    series = scan.geometry
    if isinstance(series, Series) and series.is_moving:  # NIfTI has the slices of a frame one after the other
        magnitude = magnitude.reshape(len(done), series.count, *magnitude.shape[-2:]).movedim(1, 0).flatten(0, 1)
    slices = series.shape[0] if series.kind == "volume" else scan.series.get("slice", len(done))
    write_nifti(path, magnitude, placements, done[0].spacing_mm, slices)
    return [] if placements else ["the file does not say where its slices lie: the affine is marked as unknown"]
