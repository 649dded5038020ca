"""Readouts of ISMRMRD sorted into scans, alike for files and for the wire.

Format: 10.1002/mrm.26089. Readouts are records with a `head`, whose fields are those of the standard, and `data`, the
float32 pairs of (coil, sample).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from laminar.data.coils import calibration_region, estimate_sensitivities, whitened
from laminar.data.formats.axes import to_complex64
from laminar.data.formats.contradictions import center_notes, counter_notes
from laminar.data.formats.header import MrdHeader
from laminar.data.formats.off_grid import on_trajectory
from laminar.data.formats.placement import placements_of, sorted_slices
from laminar.data.formats.readouts import (
    CALIBRATION,
    CALIBRATION_AND_IMAGING,
    NOT_IMAGING,
    Complex,
    Records,
    fill_grid,
    flagged,
    noise_covariance,
)
from laminar.data.formats.sampling import detect_mask, has_whole_lines
from laminar.errors import DataFormatError
from laminar.geometry import NonCartesianSeries
from laminar.operators import ifft2c
from laminar.scan import FRAME_AXES, Scan, cartesian
from laminar.words import counted

SERIES = ("set", "contrast", "repetition", "phase")
"""The counters whose values are images of their own, slowest first; slices run fastest, averages are averaged."""
# A corrupt header can ask for any amount of memory: a large grid must hold more than one sample in this many.
SMALL, MOST_EMPTY = 2**24, 1000


@dataclass(frozen=True, eq=False)
class Sorted:
    """Readouts by their use; `image` is the index of each of `imaging` among `counters`, slices by position."""

    imaging: Records
    calibration: Records
    image: npt.NDArray[np.intp]
    counters: dict[str, npt.NDArray[Any]]
    report: dict[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(values) for values in self.counters.values())

    @property
    def slices(self) -> npt.NDArray[Any]:
        return self.counters["slice"]


def assemble(records: Records, header: MrdHeader, name: str = "scan", lent: Records | None = None) -> Scan:
    """The scan of the first encoding; y is the phase encoding, x the readout, slices are in order of position.

    Sets, contrasts, repetitions and phases are the `series` of the scan, averages are averaged; an image of this grid
    without readouts is zero, and `header["without_readouts"]` names it. A noise scan gives the `noise_covariance` of a
    sample on the grid, less by the averages. Calibration lines count as the image's if they are "embedded" in it; where
    the images themselves have no calibration region, sensitivities are estimated from calibration lines, these and
    those that other images have `lent`.

    Readouts off the grid bring their trajectory, the same for all images or for those of a frame: see
    `laminar.data.formats.off_grid`.

    Raises DataFormatError if there are no readouts, or readouts that the header has no place for.
    """
    found = sort_readouts(records, header, lent)
    if header.trajectory != "cartesian":
        return _off_grid(found, records, header, name)
    grid, counts = _filled(found.imaging, found.image, int(np.prod(found.shape)), header)
    covariance = noise_covariance(records, found.imaging, header)
    if covariance is not None:
        covariance = covariance * float(np.mean(1 / counts[counts > 0]))
    return _to_scan(found, grid, header, covariance, name)


def _off_grid(found: Sorted, records: Records, header: MrdHeader, name: str) -> Scan:
    """The images of readouts with trajectories, one after the other in the order of their counters."""
    if not found.imaging["head"]["trajectory_dimensions"].any():
        raise DataFormatError(
            f"the header says that the trajectory is {header.trajectory!r}, and no readout brings its points: if all "
            "lie on a grid, as of EPI without ramp samples, write 'cartesian' as trajectory; else grid them first "
            "(Siemens raw data hold no points)"
        )
    if missing := found.report.get("without_readouts"):
        raise DataFormatError(f"no readout of {missing[0]}: off the grid an image without readouts cannot be told")
    images = [found.imaging[found.image == image] for image in range(int(np.prod(found.shape)))]
    counts = {axis: len(values) for axis, values in found.counters.items()}
    data, geometry, note = on_trajectory(images, header, counts)
    # The slices of a volume are in its images already: those that are counted are volumes beside each other.
    names = {"slice": "slab"} if geometry.is_volume else {}
    together = FRAME_AXES if isinstance(geometry, NonCartesianSeries) else ()
    series = {names.get(axis, axis): n for axis, n in counts.items() if n > 1 and axis not in together}
    placements = None if geometry.is_volume else placements_of(found.imaging["head"], found.slices, header, None)
    y, x = (header.spacing(axis) for axis in (1, 0))
    return Scan(
        torch.from_numpy(data),
        geometry,
        noise_covariance=noise_covariance(records, found.imaging, header),
        image_shape=(header.crop(1), header.crop(0)),
        spacing_mm=None if y is None or x is None else (y, x),
        thickness_mm=header.spacing(2) if geometry.is_volume else header.thickness,
        placements=None if placements is None else placements * (len(data) // len(found.slices)),
        series=series if len(series) > 1 else {},
        name=name,
        header={**header.info, **found.report, "notes": (note,)},
    )


def sort_readouts(records: Records, header: MrdHeader, lent: Records | None = None) -> Sorted:
    """The readouts that make images, those for calibration alone, and a report of what was left out."""
    head = records["head"]
    ours = ~flagged(head, *NOT_IMAGING)
    measured = ours & (head["encoding_space_ref"] == 0)
    extra = measured & flagged(head, CALIBRATION) & ~flagged(head, CALIBRATION_AND_IMAGING)
    embedded = header.calibration_mode == "embedded"
    keys = _keys(head)
    if embedded:  # a repetition of calibration lines alone is no image beside others
        plain = measured & ~extra
        extra &= ~np.isin(keys, keys[plain]) & bool(plain.any())
    imaging = measured & ~extra
    if not imaging.any():
        raise DataFormatError(f"no acquired line: none of the {len(records)} readouts is imaging data")
    report: dict[str, Any] = {
        "calibration_mode": header.calibration_mode or "none",
        "calibration_readouts_left_out": int(extra.sum()),
    }
    if others := int((ours & ~measured).sum()):
        report["readouts_of_other_encodings_left_out"] = others
    calibration = records[measured & flagged(head, CALIBRATION, CALIBRATION_AND_IMAGING)]
    if lent is not None:
        calibration = np.concatenate([lent, calibration])
    return _indexed(records[imaging], calibration, report)


def _keys(head: Records) -> npt.NDArray[np.int64]:
    """One number for each image of readouts."""
    key = head["idx"]["slice"].astype(np.int64)
    for counter in SERIES:
        _, rank = np.unique(key, return_inverse=True)
        key = rank * 2**16 + head["idx"][counter]
    return key


def _indexed(imaging: Records, calibration: Records, report: dict[str, Any]) -> Sorted:
    idx = imaging["head"]["idx"]
    counters = {counter: np.unique(idx[counter]) for counter in SERIES}
    counters["slice"] = sorted_slices(imaging["head"])
    shape = [len(values) for values in counters.values()]
    if np.prod(shape, dtype=object) > 1000 + 10 * len(imaging):
        raise DataFormatError(f"{len(imaging)} readouts count {' x '.join(map(str, shape))} {', '.join(counters)}")
    places = [_ranks(values, idx[counter]) for counter, values in counters.items()]
    image = np.ravel_multi_index(places, shape)
    empty = sorted(set(range(int(np.prod(shape)))) - set(image.tolist()))
    if empty:
        report["without_readouts"] = [_named(one, counters) for one in empty]
    return Sorted(imaging, calibration, image, counters, report)


def _ranks(values: npt.NDArray[Any], among: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """The place in `values` of each of `among`."""
    order = np.argsort(values)
    return order[np.searchsorted(values[order], among)]


def _named(image: int, counters: dict[str, npt.NDArray[Any]]) -> str:
    place = np.unravel_index(image, [len(values) for values in counters.values()])
    told = zip(counters.items(), place, strict=True)
    return ", ".join(f"{name} {values[at]}" for (name, values), at in told if len(values) > 1)


def _filled(
    records: Records, image: npt.NDArray[np.intp], n_images: int, header: MrdHeader
) -> tuple[Complex, npt.NDArray[np.intp]]:
    """`fill_grid`, of a grid that the readouts explain; one partition is a 2-D scan, whatever the header says."""
    width, height, depth = header.encoded_matrix
    planes = len(np.unique(records["head"]["idx"]["kspace_encode_step_2"]))
    depth = depth if planes > 1 else 1
    coils = np.unique(records["head"]["active_channels"])
    if len(coils) != 1:
        raise DataFormatError(f"readouts with different numbers of coils: {coils.tolist()}")
    shape = (n_images, int(coils[0]), depth, height, width)
    measured = sum(record["data"].size // 2 for record in records)
    if np.prod(shape, dtype=object) > max(SMALL, MOST_EMPTY * measured):
        raise DataFormatError(f"the encoded matrix {header.encoded_matrix} is absurdly large for the readouts")
    return fill_grid(records, image, shape, header)


def _to_scan(found: Sorted, grid: Complex, header: MrdHeader, covariance: Tensor | None, name: str) -> Scan:
    """Images (y, x); a 3-D grid becomes slices (z, y) along its readout, oversampling removed."""
    keep = header.crop(0) if grid.shape[2] > 1 else None
    kspace = _planes(grid, keep)
    axes = (1, 0) if keep is None else (2, 1)
    mask = _mask(kspace)
    y, x = (header.spacing(axis) for axis in axes)
    maps = _calibrated(found, mask, keep, header, covariance)
    n_series = int(np.prod(found.shape[:-1]))
    notes = (*_contradictions(found, kspace, header, keep), *_notes(found, header))
    placements = placements_of(found.imaging["head"], found.slices, header, keep)
    series = {counter: len(values) for counter, values in found.counters.items() if len(values) > 1}
    series["slice"] = len(kspace) // n_series
    return cartesian(
        kspace,
        mask,
        sensitivities=maps,
        noise_covariance=covariance,
        readout_axis=-1 if keep is None else None,
        image_shape=(header.crop(axes[0]), header.crop(axes[1])),
        spacing_mm=None if y is None or x is None else (y, x),
        thickness_mm=header.thickness if keep is None else header.spacing(0),
        placements=None if placements is None else placements * n_series,
        series=series if n_series > 1 else {},
        name=name,
        header={**header.info, **found.report, "noise_scan": covariance is not None, "notes": notes},
    )


def _contradictions(found: Sorted, kspace: Tensor, header: MrdHeader, keep: int | None) -> Iterator[str]:
    """Where encodingLimits contradict the readouts, or the energy of the middle image."""
    steps = {-2: 1} if keep is None else {-2: 2, -1: 1}
    yield from counter_notes(found.imaging["head"], header, tuple(steps.values()))
    yield from center_notes(kspace[len(kspace) // 2], header, steps)


def _notes(found: Sorted, header: MrdHeader) -> tuple[str, ...]:
    """What was assumed and what was left out, a line each."""
    report = found.report
    apart, others = report["calibration_readouts_left_out"], report.get("readouts_of_other_encodings_left_out", 0)
    mode = f"calibration mode: {report['calibration_mode']}"
    return (
        *header.notes,
        *(f"no readout of {image}: its image is zero" for image in report.get("without_readouts", ())),
        *[f"{counted(apart, 'calibration readout is', 'calibration readouts are')} no part of the images ({mode})"]
        * bool(apart),
        *[f"{counted(others, 'readout of another encoding was', 'readouts of other encodings were')} left out"]
        * bool(others),
    )


def _planes(grid: Complex, keep: int | None) -> Tensor:
    """The k-space of images (image, coil, y, x)."""
    kspace = to_complex64(grid)
    return kspace.squeeze(2) if keep is None else split_along_readout(kspace, keep)


def split_along_readout(kspace: Tensor, keep: int) -> Tensor:
    """Volumes (image, coil, z, y, x) as slices (image * keep, coil, z, y): the central points of the readout."""
    if not has_whole_lines((kspace != 0).any(0).any(0), axis=2):
        raise DataFormatError("the readouts of this 3-D scan do not cover the same part of k-space")
    volumes = ifft2c(kspace, axes=(4,)).movedim(4, 1)
    first = volumes.shape[1] // 2 - keep // 2
    return volumes[:, first : first + keep].flatten(0, 1).contiguous()


def _mask(kspace: Tensor) -> Tensor:
    """One mask (y, x), or (image, y, x) where images were sampled differently. One without signal has that of all."""
    sampled = (kspace != 0).any(1)
    filled = sampled.flatten(1).any(1)
    lines = [sampled[filled].any(axis) for axis in (-2, -1)]
    if all(bool((each == each[:1]).all()) for each in lines):
        return detect_mask(kspace)
    union = sampled.any(0)
    return torch.stack([detect_mask(one[None]) if there else union for one, there in zip(kspace, filled, strict=True)])


def _calibrated(
    found: Sorted, mask: Tensor, keep: int | None, header: MrdHeader, covariance: Tensor | None
) -> Tensor | None:
    """Sensitivities (image, coil, y, x) from calibration lines, where the images share no calibration region.

    Where these have none either they are taken together with those of all images of a series, as of calibration lines
    between others, or a real-time scan whose lines take turns. They are estimated of whitened lines and brought back,
    for `prepare` whitens sensitivities with the scan. None where every image has a region, or a slice has no
    calibration lines.
    """
    if _has_region(mask if mask.ndim == 2 else mask.all(0)):
        return None
    together = np.concatenate([found.calibration, found.imaging])
    tried = (_calibration(lines, found, keep, header) for lines in (found.calibration, together))
    kspace, region = next((one for one in tried if one is not None), (None, None))
    if kspace is None or region is None:
        return None
    maps = estimate_sensitivities(whitened(cartesian(kspace, region, noise_covariance=covariance)))
    if covariance is not None:
        factor = torch.linalg.cholesky(covariance.to(torch.complex128)).to(maps)
        maps = torch.einsum("nc,scyx->snyx", factor, maps)
    return maps.repeat(int(np.prod(found.shape[:-1])), 1, 1, 1)


def _calibration(lines: Records, found: Sorted, keep: int | None, header: MrdHeader) -> tuple[Tensor, Tensor] | None:
    """K-space (slice, coil, y, x) of lines and its mask; None if a slice has none, or they have no full region."""
    lines = lines[np.isin(lines["head"]["idx"]["slice"], found.slices)]
    if len(np.unique(lines["head"]["idx"]["slice"])) < len(found.slices):
        return None
    grid, _ = _filled(lines, _ranks(found.slices, lines["head"]["idx"]["slice"]), len(found.slices), header)
    kspace = _planes(grid, keep)
    region = detect_mask(kspace)
    return (kspace, region) if _has_region(region) else None


def _has_region(mask: Tensor) -> bool:
    try:
        calibration_region(mask)
    except DataFormatError:
        return False
    return True
