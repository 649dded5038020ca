"""Single readouts of ISMRMRD: their flags, samples and place on the Cartesian grid, and the noise between coils."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from laminar.data.coils import is_regular
from laminar.data.formats.header import MrdHeader
from laminar.errors import DataFormatError

Complex = npt.NDArray[np.complex64]
Records = npt.NDArray[Any]
Readout = tuple[Any, npt.NDArray[np.float32]]
"""A head, a scalar with the fields of the standard, and the floats of the samples."""

# Bits of the flag word, numbered from 1 as in the standard.
LAST_IN_SLICE = 8
NOISE, CALIBRATION, CALIBRATION_AND_IMAGING, REVERSE = 19, 20, 21, 22
NOT_IMAGING = (NOISE, 23, 24, 26, 27, 28, 29, 30, 31)  # navigator, phase correction, feedback, dummy, ...


def records_of(heads: Records, floats: Iterable[Any], points: Iterable[Any] | None = None) -> Records:
    """Heads, the floats of each and those of its trajectory as records of the fields `head`, `data` and `traj`."""
    records = np.empty(len(heads), [("head", heads.dtype), ("data", object), ("traj", object)])
    records["head"] = heads
    none = repeat(np.empty(0, np.float32), len(heads))
    for record, data, places in zip(records, floats, none if points is None else points, strict=True):
        record["data"], record["traj"] = data, places
    return records


def split_floats(counts: npt.NDArray[np.int64], floats: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """The floats of each readout, of which all have `counts`."""
    return np.split(floats, counts.cumsum()[:-1]) if len(counts) else []


def flag_word(*bits: int) -> np.uint64:
    return np.uint64(sum(1 << (bit - 1) for bit in bits))


def flagged(head: Records, *bits: int) -> npt.NDArray[np.bool_]:
    """Which readouts carry any of the flags."""
    return np.asarray((head["flags"] & flag_word(*bits)) != 0)


def samples(record: Any) -> tuple[Complex, int]:
    """The samples (coil, n) of one readout and the index of its echo, discarded ends removed, time
    forwards.
    """
    head = record["head"]
    data = record["data"].view(np.complex64).reshape(int(head["active_channels"]), -1)
    if data.shape[1] != head["number_of_samples"]:
        raise DataFormatError(f"a readout has {data.shape[1]} samples, its header says {head['number_of_samples']}")
    first, stop = int(head["discard_pre"]), data.shape[1] - int(head["discard_post"])
    center = int(head["center_sample"]) - first
    data = data[:, first:stop]
    if flagged(head, REVERSE):
        return data[:, ::-1], data.shape[1] - 1 - center
    return data, center


def readout_start(n_samples: int, center: int, width: int) -> int:
    """Where a readout begins on the grid, so that its echo lies at width // 2.

    An asymmetric echo lacks its beginning. A center that cannot be right is ignored: the readout then ends
    with the grid.
    """
    if n_samples > width:
        raise DataFormatError(f"a readout has {n_samples} samples, the encoded matrix only {width}")
    start = width // 2 - center
    return start if 0 <= start <= width - n_samples else width - n_samples


def grid_index(head: Records, header: MrdHeader, step: int) -> npt.NDArray[np.intp]:
    """The index on the grid of every readout along phase encoding 1 (y) or 2 (z): counter + n // 2 -
    center.
    """
    size = header.encoded_matrix[step]
    limits = header.limits_of(step)
    counter = head["idx"][f"kspace_encode_step_{step}"].astype(np.intp)
    index = counter + (size // 2 - limits.center if limits else 0)
    if index.min() < 0 or index.max() >= size:
        raise DataFormatError(
            f"phase encoding {step} reaches from {index.min()} to {index.max()} on a grid of {size}, by counters from "
            f"{counter.min()} to {counter.max()}: encodingLimits ({limits or 'none'}) and encodedSpace contradict the "
            "readouts"
        )
    return index


def fill_grid(
    records: Records, image: npt.NDArray[np.intp], shape: tuple[int, ...], header: MrdHeader
) -> tuple[Complex, npt.NDArray[np.intp]]:
    """The mean of all readouts of each line on a grid of `shape` (image, coil, z, y, x), and how many there were:
    (image, z, y). `image` says which image each belongs to.
    """
    head, (n_images, _, depth, height, width) = records["head"], shape
    grid = np.zeros(shape, np.complex64)
    counts = np.zeros((n_images, depth, height), np.intp)
    z_index = grid_index(head, header, 2) if depth > 1 else np.zeros(len(head), np.intp)
    places = zip(image, z_index, grid_index(head, header, 1), strict=True)
    for record, (s, z, y) in zip(records, places, strict=True):
        data, center = samples(record)
        start = readout_start(data.shape[1], center, width)
        with np.errstate(invalid="ignore"):  # of what is not finite, which is refused later
            grid[s, :, z, y, start : start + data.shape[1]] += data
        counts[s, z, y] += 1
    grid /= np.maximum(counts, 1)[:, None, :, :, None]
    return grid, counts


def noise_covariance(records: Records, chosen: Records, header: MrdHeader) -> Tensor | None:
    """The covariance E[n n^H] (coil, coil) of the noise in an imaging sample, from the noise scan.

    Noise power is proportional to bandwidth, so the measured one is multiplied by dwell_noise / (dwell_image
    b), where b = relativeReceiverNoiseBandwidth is the part of the nominal bandwidth that the noise scan's
    filter let through. None if there is no noise scan, or none that coils can be whitened with: one of fewer samples
    than coils, or with a dead channel.
    """
    head = records["head"]
    scans = records[flagged(head, NOISE) & (head["active_channels"] == chosen["head"]["active_channels"][0])]
    if len(scans) == 0:
        return None
    noise = np.concatenate([samples(record)[0] for record in scans], axis=1).astype(np.complex128)
    dwell_noise, dwell_image = (
        float(scans["head"]["sample_time_us"][0]),
        float(chosen["head"]["sample_time_us"][0]),
    )
    dwells = dwell_noise / dwell_image if min(dwell_noise, dwell_image) > 0 else 1.0
    scale = dwells / header.noise_bandwidth if header.noise_bandwidth > 0 else dwells
    covariance = noise @ noise.conj().T / noise.shape[1] * scale
    found = torch.from_numpy(covariance)
    return found if is_regular(found) else None
