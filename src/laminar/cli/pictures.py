"""The pictures that `laminar reconstruct` draws beside the file that it writes, of what is in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from laminar.data.formats import LazyScan
    from laminar.image_files import Volume
    from laminar.reconstruction import SliceReconstruction
    from laminar.uncertainty import Spread


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


def volume_of(
    path: Path,
    scan: LazyScan,
    magnitude: Tensor,
    spread: Spread | None,
    done: list[SliceReconstruction],
    method: str,
    request: str,
) -> Volume:
    """The images (image, y, x), those of a series running fastest, for the writers of other files."""
    import torch

    from laminar.geometry import Series
    from laminar.image_files import Volume, digest_of

    found = [one.placement for one in done if one.placement is not None]
    known = len(found) == len(done) and scan.geometry.kind != "volume"
    series, std = scan.geometry, None if spread is None else spread.std
    slices = series.shape[0] if series.kind == "volume" else scan.series.get("slice", len(done))
    counted = dict(scan.series)
    if isinstance(series, Series) or series.kind == "volume":  # slices run fastest, in those files as in a scan
        counted = {"phase": len(magnitude) // slices, "slice": slices}
        if isinstance(series, Series) and series.is_moving:
            order = torch.arange(len(magnitude)).reshape(len(done), series.count).T.flatten()
            magnitude, std = magnitude[order], None if std is None else std[order]
    placements = found * (len(magnitude) // len(found)) if known else None
    return Volume(
        magnitude,
        placements,
        done[0].spacing_mm,
        counted,
        scan.header,
        scan.name,
        method,
        std,
        digest_of(path),
        request,
    )
