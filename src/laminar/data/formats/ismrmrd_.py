"""ISMRMRD (MRD) `.h5`: readouts with headers, sorted onto the Cartesian grid, with the covariance of their noise.

Format: 10.1002/mrm.26089. Read with HDF5 alone, all readouts at once: readout by readout takes a hundred
times as long.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from laminar.data.formats.arrays import scan_name
from laminar.data.formats.axes import to_complex64
from laminar.data.formats.hdf5 import Hdf5, survey
from laminar.data.formats.header import MrdHeader, parse_header
from laminar.data.formats.sampling import detect_mask, has_whole_lines
from laminar.errors import DataFormatError
from laminar.operators import ifft2c
from laminar.scan import Scan, cartesian

Complex = npt.NDArray[np.complex64]
Records = npt.NDArray[Any]

# Bits of the flag word, numbered from 1 as in the standard.
NOISE, CALIBRATION, CALIBRATION_AND_IMAGING, REVERSE = 19, 20, 21, 22
NOT_IMAGING = (NOISE, 23, 24, 26, 27, 28, 29, 30, 31)  # navigator, phase correction, feedback, dummy, ...
# A corrupt header can ask for any amount of memory: a large grid must hold more than one sample in this many.
SMALL, MOST_EMPTY = 2**24, 1000
COUNTERS = ("contrast", "phase", "repetition", "set")


def group_name(file: Hdf5, wanted: str | None = None) -> str | None:
    """The first group of the file (or the wanted one) with readouts and an XML header."""
    names = [wanted] if wanted else ["dataset", *(name for name in file.groups if "/" not in name)]
    return next((name for name in names if f"{name}/xml" in file.datasets and f"{name}/data" in file.datasets), None)


def load(path: Path, group: str | None = None) -> tuple[MrdHeader, Records]:
    """The header and all readouts of a file."""
    file = survey(path)
    name = group_name(file, group)
    if name is None:
        raise DataFormatError(f"no ISMRMRD group '{group or 'dataset'}' with xml and data")
    header = parse_header(file.datasets[f"{name}/xml"].text())
    heads, floats = file.datasets[f"{name}/data"].readouts()
    records = np.empty(len(heads), [("head", heads.dtype), ("data", object)])
    records["head"] = heads
    for record, data in zip(records, floats, strict=True):
        record["data"] = data
    return header, records


def summary(path: Path) -> dict[str, Any]:
    """What the header and the readouts' own headers say, as plain values."""
    header, records = load(path)
    return {"header": asdict(header), "readouts": len(records)}


def read(path: Path, group: str | None = None) -> Scan:
    """The first Cartesian encoding of an ISMRMRD file: y is the phase encoding, x the readout.

    Averages are averaged; of contrasts, phases, repetitions and sets the first is taken, and
    `header["chosen"]` says so. A noise scan gives the `noise_covariance` of a sample on the
    grid, less by the averages.

    Raises DataFormatError if the file holds no Cartesian readouts, or readouts that its header has no place
    for.
    """
    header, records = load(path, group)
    if header.trajectory != "cartesian":
        raise DataFormatError(f"the trajectory is '{header.trajectory}'; only Cartesian scans can be read")
    chosen, report = choose_readouts(records, header)
    grid, counts = fill_grid(chosen, header)
    covariance = noise_covariance(records, chosen, header)
    if covariance is not None:
        covariance = covariance * float(np.mean(1 / counts[counts > 0]))
    return to_scan(grid, header, covariance, scan_name(path), report)


def flagged(head: Records, *bits: int) -> npt.NDArray[np.bool_]:
    """Which readouts carry any of the flags."""
    word = np.uint64(sum(1 << (bit - 1) for bit in bits))
    return np.asarray((head["flags"] & word) != 0)


def choose_readouts(records: Records, header: MrdHeader) -> tuple[Records, dict[str, Any]]:
    """The readouts that make the image, and a report of what was left out.

    Calibration lines count if they were acquired with the image ("embedded"): they lie on the same grid.
    """
    head = records["head"]
    imaging = ~flagged(head, *NOT_IMAGING) & (head["encoding_space_ref"] == 0)
    extra = flagged(head, CALIBRATION) & ~flagged(head, CALIBRATION_AND_IMAGING)
    embedded = header.calibration_mode == "embedded"
    keep = imaging & (~extra | embedded)
    if not keep.any():
        raise DataFormatError(f"no acquired line: none of the {len(records)} readouts is imaging data")
    report: dict[str, Any] = {
        "calibration_mode": header.calibration_mode or "none",
        "calibration_readouts_left_out": int((imaging & extra & ~keep).sum()),
    }
    for counter in COUNTERS:
        values = np.unique(head["idx"][counter][keep])
        if len(values) > 1:
            report.setdefault("chosen", {})[counter] = f"{values[0]} of {len(values)}"
        keep &= head["idx"][counter] == values[0]
    return records[keep], report


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
    limits = header.limits.get(f"kspace_encoding_step_{'_12'[step]}")
    index = head["idx"][f"kspace_encode_step_{step}"].astype(np.intp)
    index += size // 2 - limits.center if limits else 0
    if index.min() < 0 or index.max() >= size:
        raise DataFormatError(
            f"phase encoding {step} reaches from {index.min()} to {index.max()} on a grid of {size}: "
            "encodingLimits and encodedSpace contradict the readouts"
        )
    return index


def fill_grid(records: Records, header: MrdHeader) -> tuple[Complex, npt.NDArray[np.intp]]:
    """The mean of all readouts of each line: (slice, coil, z, y, x), and how many there were: (slice, z,
    y).
    """
    head = records["head"]
    if len(coils := np.unique(head["active_channels"])) != 1:
        raise DataFormatError(f"readouts with different numbers of coils: {coils.tolist()}")
    slices, z_index = np.unique(head["idx"]["slice"], return_inverse=True)
    width, height, depth = header.encoded_matrix
    shape = (len(slices), int(coils[0]), depth, height, width)
    measured = sum(record["data"].size // 2 for record in records)
    if np.prod(shape, dtype=object) > max(SMALL, MOST_EMPTY * measured):
        raise DataFormatError(f"the encoded matrix {header.encoded_matrix} is absurdly large for the readouts")
    grid = np.zeros(shape, np.complex64)
    counts = np.zeros((len(slices), depth, height), np.intp)
    places = zip(z_index, grid_index(head, header, 2), grid_index(head, header, 1), strict=True)
    for record, (s, z, y) in zip(records, places, strict=True):
        data, center = samples(record)
        start = readout_start(data.shape[1], center, width)
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
    try:
        np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return None
    return torch.from_numpy(covariance)


def split_along_readout(kspace: Tensor, keep: int) -> Tensor:
    """Volumes (slice, coil, z, y, x) as slices (slice * keep, coil, z, y): the central points of the
    readout.
    """
    if not has_whole_lines((kspace != 0).any(0).any(0), axis=2):
        raise DataFormatError("the readouts of this 3-D scan do not cover the same part of k-space")
    volumes = ifft2c(kspace, axes=(4,)).movedim(4, 1)
    first = volumes.shape[1] // 2 - keep // 2
    return volumes[:, first : first + keep].flatten(0, 1).contiguous()


def to_scan(grid: Complex, header: MrdHeader, covariance: Tensor | None, name: str, report: dict[str, Any]) -> Scan:
    """Slices (y, x); a 3-D grid becomes slices (z, y) along its readout, oversampling removed."""
    kspace, axes = to_complex64(grid), (1, 0)
    is_volume = kspace.shape[2] > 1
    if is_volume:
        axes = (2, 1)
        kspace = split_along_readout(kspace, header.crop(0))
    else:
        kspace = kspace.squeeze(2)
    y, x = (header.spacing(axis) for axis in axes)
    return cartesian(
        kspace,
        detect_mask(kspace),
        noise_covariance=covariance,
        readout_axis=None if is_volume else -1,
        image_shape=(header.crop(axes[0]), header.crop(axes[1])),
        spacing_mm=None if y is None or x is None else (y, x),
        name=name,
        header={**header.info, **report, "noise_scan": covariance is not None},
    )
