"""What was reconstructed of a scan, as the writers of other formats take it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from laminar.cli.formats import DICOM

if TYPE_CHECKING:
    from torch import Tensor

    from laminar.data.formats import LazyScan
    from laminar.image_files import Volume
    from laminar.reconstruction import SliceReconstruction
    from laminar.uncertainty import Spread


def volume_of(
    path: Path,
    scan: LazyScan,
    magnitude: Tensor,
    spread: Spread | None,
    done: list[SliceReconstruction],
    method: str,
    request: str,
) -> Volume:
    """The magnitudes (image, y, x) of a scan in the order of its series, the slices fastest."""
    from laminar.image_files import Volume, digest_of

    found = [one.placement for one in done if one.placement is not None]
    placements = found if len(found) == len(done) and not scan.geometry.is_volume else None
    series, std = dict(scan.series), None if spread is None else spread.std
    geometry = scan.geometry
    if geometry.is_volume:
        series = {**(series or {"phase": len(done)}), "slice": geometry.shape[0]}
    elif len(geometry.image_axes) == 3:
        frames = geometry.shape[0]  # which run fastest in what was reconstructed
        magnitude, std = _frames_first(magnitude, frames), None if std is None else _frames_first(std, frames)
        series = {"phase": frames, **(series or {"slice": len(done)})}
        placements = None if placements is None else placements * frames
    return Volume(
        magnitude,
        placements,
        done[0].spacing_mm,
        done[0].thickness_mm,
        series,
        scan.header,
        scan.name,
        method,
        std,
        digest_of(path),
        request,
        scan.measured_acceleration,
    )


def place_notes(volume: Volume, formats: Iterable[str]) -> list[str]:
    """What is to be said of images in these formats whose place in the patient is not known."""
    wanted = set(formats) - {"gif"}
    unknown = ["where its slices lie"] * (not volume.placements) + ["the size of a pixel"] * (not volume.spacing_mm)
    if "dicom-enhanced" in wanted and not unknown and volume.thickness_mm is None:
        return ["the file does not say how thick its slices are, as Enhanced MR must: DICOM is an image a file"]
    if not unknown or not wanted:
        return []
    capture = ", and DICOM is Secondary Capture" if wanted.intersection(DICOM) else ""
    single = ", an image a file" if "dicom-enhanced" in wanted else ""
    return [f"the file does not say {' and '.join(unknown)}: their place is not told{capture}{single}"]


def _frames_first(images: Tensor, frames: int) -> Tensor:
    return images.reshape(-1, frames, *images.shape[-2:]).movedim(1, 0).flatten(0, 1)
