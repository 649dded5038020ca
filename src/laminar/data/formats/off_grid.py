"""ISMRMRD readouts off the grid: their samples, and the trajectory that all images, or all slices of a frame, share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from laminar.data.formats.header import MrdHeader
from laminar.data.formats.points import in_cycles, leaves_the_plane, ordered
from laminar.data.formats.readouts import Records, samples
from laminar.errors import DataFormatError
from laminar.geometry import NonCartesian, NonCartesianSeries
from laminar.scan import FRAME_AXES

Array = npt.NDArray[Any]
Part = tuple[npt.NDArray[np.complex64], Array, Array]
"""Samples (coil, sample), rows kx, ky, kz of their points, and the partition that their readout counts."""
# A corrupt header can ask for any amount of memory: a large image must have more than one sample for this many pixels.
SMALL, MOST_EMPTY = 2**20, 1000


def on_trajectory(
    images: Sequence[Records], header: MrdHeader, counts: Mapping[str, int]
) -> tuple[Array, NonCartesian | NonCartesianSeries, str]:
    """Samples (image, coil, sample) of the readouts of each image, their geometry, and a note on the unit of points.

    A scan of several partitions is a volume: its points have a kz, or its readouts count the partitions, as of a stack
    of stars, and kz is that counter less the one of the center. Frames whose points differ, as those of golden angles,
    are a series, its samples (image, frame, coil, sample): `counts` are how many images each counter tells apart, the
    last one running fastest. Raises DataFormatError for points that are missing or differ otherwise, and for a matrix
    that they do not fit.
    """
    parts = [_measured(records) for records in images]
    data, points, partition = parts[0]
    if any(each.shape != data.shape for each, _, _ in parts):
        raise DataFormatError("the images of this scan have different numbers of samples off the grid")
    measured = np.stack([each for each, _, _ in parts])
    if all(_same(part, parts[0]) for part in parts[1:]):
        size, trajectory, note = _trajectory(points, partition, header)
        return measured, NonCartesian(trajectory, size), note
    frames = next((count for axis, count in counts.items() if axis in FRAME_AXES and count > 1), 1)
    slices = len(parts) // frames
    if frames * counts.get("slice", 1) != len(parts) or not all(
        _same(part, parts[n - n % slices]) for n, part in enumerate(parts)
    ):
        raise DataFormatError("the images of this scan have trajectories of their own: only frames of a slice may")
    every = [np.concatenate([part[n] for part in parts[::slices]], -1) for n in (1, 2)]
    size, trajectory, note = _trajectory(every[0], every[1], header)
    if len(size) == 3:
        raise DataFormatError("the frames of a moving volume have trajectories of their own: only those of a slice may")
    moving = NonCartesianSeries.of(trajectory.reshape(frames, -1, 2), size)
    series = measured.reshape(frames, slices, *measured.shape[1:]).swapaxes(0, 1)
    return series, moving, f"{note}; its {frames} frames have points of their own and are solved together"


def _same(part: Part, other: Part) -> bool:
    """Whether two images are measured at the same points."""
    return np.allclose(part[1], other[1], atol=1e-6) and bool((part[2] == other[2]).all())


def _trajectory(points: Array, partition: Array, header: MrdHeader) -> tuple[tuple[int, ...], Tensor, str]:
    """The size of an image, and rows kx, ky, kz and the partition of each sample as points in cycles, with a note."""
    columns, rows, planes = header.encoded_matrix
    deep, counted = leaves_the_plane(points), len(np.unique(partition))
    if planes == 1 and (deep or counted > 1):
        said = "points leave the plane" if deep else f"readouts count {counted} partitions"
        raise DataFormatError(f"the {said}, and the encoded matrix has one partition")
    size = (planes, rows, columns) if deep or counted > 1 else (rows, columns)
    if math.prod(size) > max(SMALL, MOST_EMPTY * points.shape[1]):
        raise DataFormatError(f"the encoded matrix {header.encoded_matrix} is absurdly large for the readouts")
    if deep or len(size) == 2:
        return size, *in_cycles(ordered(points, len(size)), size)
    plane, note = in_cycles(ordered(points, 2), size[1:])
    limits = header.limits_of(2)
    heights = torch.from_numpy(partition - (planes // 2 if limits is None else limits.center)).to(plane)
    return size, torch.cat([heights[:, None], plane], 1), f"{note}; kz is the partition"


def _measured(records: Records) -> Part:
    data, points, partition = [], [], []
    for record in records:
        head = record["head"]
        dimensions, count = int(head["trajectory_dimensions"]), int(head["number_of_samples"])
        if dimensions < 2 or len(record["traj"]) != dimensions * count:
            raise DataFormatError(
                f"a readout of {count} samples brings {len(record['traj'])} numbers of a trajectory of {dimensions} "
                "dimensions: x, y and perhaps z of each sample were expected"
            )
        first, stop = int(head["discard_pre"]), count - int(head["discard_post"])
        each, _ = samples(record)
        if each.shape[1] != stop - first:
            raise DataFormatError(f"a readout has {each.shape[1]} samples for {stop - first} points")
        places = np.zeros((3, stop - first), np.float32)
        places[: min(dimensions, 3)] = record["traj"].reshape(count, dimensions)[first:stop, :3].T
        data.append(each)
        points.append(places)
        partition.append(np.full(stop - first, int(head["idx"]["kspace_encode_step_2"])))
    if len({len(each) for each in data}) > 1:
        raise DataFormatError(
            f"readouts of {' and '.join(sorted({str(len(each)) for each in data}))} coils in one image"
        )
    return np.concatenate(data, 1), np.concatenate(points, 1), np.concatenate(partition)
