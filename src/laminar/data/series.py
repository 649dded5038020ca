"""Series that are solved together: from images to series and back, and the sensitivities that they share."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from laminar.data.coils import estimate_sensitivities
from laminar.errors import DataFormatError
from laminar.geometry import Cartesian, Geometry, NonCartesian, NonCartesianSeries, Series, Volume
from laminar.networks import smooth_phase
from laminar.operators import ifft2c
from laminar.scan import FRAME_AXES, Scan


def together(scan: Scan, axis: str | None = None) -> Scan:
    """A scan whose images along an axis of its series are solved together, as one of `Series`.

    Off the grid, where all images have one trajectory, frames of a slice are a `NonCartesianSeries`.

    `axis` is a name of `scan.series`, such as phase; None takes the one along which a slice moves, or for a scan
    without a series the slices themselves, which are then a volume. Raises DataFormatError if there is no such axis.
    """
    if isinstance(scan.geometry, Series | Volume | NonCartesianSeries):
        raise DataFormatError(f"{scan.name}: its {scan.geometry.image_axes[0]}s are solved together as they are")
    sizes = dict(scan.series) or {"slice": scan.n_slices}
    if axis is None:
        axis = next((name for name in FRAME_AXES if name in sizes), "slice")
    if axis not in sizes:
        raise DataFormatError(f"{scan.name}: no axis {axis!r} among its images; it has {', '.join(sizes)}")
    moving, place, count = axis != "slice", list(sizes).index(axis), sizes[axis]
    rest = {name: size for name, size in sizes.items() if name != axis}

    def series(images: Tensor) -> Tensor:
        """(image, ...) to (rest of the images, axis, ...)."""
        named = images.reshape(*sizes.values(), *images.shape[1:]).movedim(place, len(sizes) - 1)
        return named.reshape(-1, count, *images.shape[1:])

    maps = None if scan.sensitivities is None else series(scan.sensitivities)
    if isinstance(scan.geometry, NonCartesian):
        if not moving or scan.geometry.is_volume:
            raise DataFormatError(f"{scan.name}: off the grid the frames of a slice are solved together, no {axis}s")
        geometry: Geometry = NonCartesianSeries((scan.geometry,) * count)
    else:
        masks = series(scan.mask.expand(scan.n_slices, *scan.matrix))
        same = bool((masks == masks[:1]).all())
        geometry = Series(masks[0] if same else masks, "frame" if moving else "slice", scan.grid.readout_axis)
    places, first = scan.placements, series(torch.arange(scan.n_slices))[:, 0]
    return replace(
        scan,
        data=series(scan.data),
        geometry=geometry,
        sensitivities=maps if maps is None or not moving else maps[:, 0],
        placements=None if places is None else tuple(places[i] for i in first.tolist()),
        series=rest if len(rest) > 1 else {},
    )


def apart(scan: Scan) -> Scan:
    """The Cartesian scan of the images of a `Series`, one by one; of a `Volume`, of slices along its complete axis.

    Raises DataFormatError for a volume of which every axis has gaps.
    """
    geometry = scan.geometry
    if isinstance(geometry, Volume):
        return apart(sliced(scan))
    assert isinstance(geometry, Series)
    masks = geometry.mask.expand(scan.n_slices, *geometry.mask.shape[-3:]).flatten(0, 1)
    maps = scan.sensitivities
    if maps is not None:
        maps = maps.repeat_interleave(geometry.count, 0) if geometry.is_moving else maps.flatten(0, 1)
    grid = Cartesian(masks[0] if bool((masks == masks[:1]).all()) else masks, geometry.readout_axis)
    return replace(scan, data=scan.data.flatten(0, 1), geometry=grid, sensitivities=maps, placements=None, series={})


def sliced(scan: Scan) -> Scan:
    """A scan of a `Volume` as a `Series` of slices along its complete axis, whose transform is undone."""
    volume = scan.geometry
    assert isinstance(volume, Volume)
    axis = volume.complete_axis
    if axis is None:
        raise DataFormatError(
            f"{scan.name}: no axis of this volume is sampled without gaps: it needs sensitivities and noise_std"
        )
    data = ifft2c(scan.data, (axis,)).movedim(axis, 1)
    mask = volume.mask.movedim(axis, 0)
    maps = None if scan.sensitivities is None else scan.sensitivities.movedim(axis, 1)
    return replace(scan, data=data, geometry=Series(mask, "slice"), sensitivities=maps)


def averaged(scan: Scan) -> Scan:
    """The mean over the frames of each sample, where it was acquired: a Cartesian scan of one image a slice."""
    series = scan.geometry
    assert isinstance(series, Series)
    masks = series.mask.expand(scan.n_slices, *series.mask.shape[-3:])
    count = masks.sum(1)
    data = scan.data.sum(1) / count.clamp_min(1).unsqueeze(1)
    grid = Cartesian((count > 0)[0] if bool(((count > 0) == (count > 0)[:1]).all()) else count > 0, series.readout_axis)
    return replace(scan, data=data, geometry=grid)


def series_maps(scan: Scan) -> Tensor:
    """Sensitivities of a series from its own calibration lines: of frames those of their mean, of slices one by one."""
    series = scan.geometry
    assert isinstance(series, Series)
    if series.is_moving:
        return estimate_sensitivities(averaged(scan))
    maps = torch.split(estimate_sensitivities(apart(scan)), series.count)
    return torch.stack([in_one_phase(each) for each in maps])


def volume_maps(scan: Scan) -> Tensor:
    """Sensitivities (image, coil, z, y, x) of a volume, slice by slice along its complete axis."""
    volume = scan.geometry
    assert isinstance(volume, Volume)
    slices = sliced(scan)
    assert volume.complete_axis is not None  # sliced has said so
    return series_maps(slices).movedim(1, volume.complete_axis)


def in_one_phase(maps: Tensor) -> Tensor:
    """Sensitivities (slice, coil, y, x) whose phase goes on smoothly from slice to slice.

    Each slice brings a phase of its own, relative to a combination of its coils. It is turned by the smooth phase of
    its overlap with the slice before, `sum_c conj(S_c) S'_c`.
    """
    turned = [maps[0]]
    for each in maps[1:]:
        overlap = (each.conj() * turned[-1]).sum(0)
        turn = smooth_phase(overlap[None])[0]
        turned.append(each * torch.where(turn == 0, 1, turn))
    return torch.stack(turned)
