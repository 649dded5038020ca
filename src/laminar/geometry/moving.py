"""Frames of one moving slice, each along a trajectory of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from laminar.errors import DataFormatError
from laminar.geometry.base import Geometry, check_tensor, said
from laminar.geometry.noncartesian import MOST_PIXELS, NonCartesian
from laminar.operators import LinearOperator, NonUniformFrames

_SMALL = 64**2  # pixels that even a tiny frame counts as


@dataclass(frozen=True, eq=False)
class NonCartesianSeries(Geometry):
    """Frames of one moving slice, `y_f = F_f S x_f`, as one image (frame, y, x); needs the package finufft.

    `frames` are what each frame is measured along: planar, of one size and one number of samples. Data are complex
    (image, frame, coil, sample); the frames have the sensitivities (image, coil, y, x) of their slice in common. Raises
    DataFormatError for frames that are volumes or differ.
    """

    frames: tuple[NonCartesian, ...]
    kind = "noncartesian-cine"
    axes = ("frame", "coil", "sample")
    image_axes = ("frame", "y", "x")

    def __post_init__(self) -> None:
        kinds = {(frame.size, len(frame.trajectory)) for frame in self.frames}
        if len(kinds) != 1 or any(frame.is_volume for frame in self.frames):
            found = ", ".join(f"{count} samples of {size}" for size, count in sorted(kinds)) or "none"
            raise DataFormatError(f"a series off the grid has planar frames, all with as many samples; got {found}")
        object.__setattr__(self, "norm", max(frame.norm for frame in self.frames))

    @staticmethod
    def of(
        trajectories: Sequence[Tensor] | Tensor, size: tuple[int, ...], compensation: Tensor | None = None
    ) -> NonCartesianSeries:
        """That of trajectories (frame, sample, 2) and a compensation (frame, sample), as those of `NonCartesian`."""
        if len(trajectories) * max(math.prod(size), _SMALL) > MOST_PIXELS:
            raise DataFormatError(
                f"a series off the grid has at most {MOST_PIXELS} pixels, and {MOST_PIXELS // _SMALL} frames; got "
                f"{len(trajectories)} frames of {size}"
            )
        known: Sequence[Tensor | None] = [None] * len(trajectories)
        if compensation is not None:
            check_tensor("compensation", compensation)
            if compensation.ndim != 2 or len(compensation) != len(trajectories):
                raise DataFormatError(
                    f"the density compensation must be (frame, sample), of {len(trajectories)} frames; got "
                    f"{said(compensation)}"
                )
            known = compensation.unbind()
        frames = zip(trajectories, known, strict=True)
        return NonCartesianSeries(tuple(NonCartesian(points, size, each) for points, each in frames))

    @property
    def matrix(self) -> tuple[int, int]:  # type: ignore[override]
        return self.frames[0].matrix

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.frames), *self.matrix)

    @property
    def trajectories(self) -> Tensor:
        """Those of the frames (frame, sample, 2)."""
        return torch.stack([frame.trajectory for frame in self.frames])

    @property
    def weights(self) -> Tensor:
        """Those of the frames (frame, sample)."""
        return torch.stack([frame.weights for frame in self.frames])

    @property
    def compensation(self) -> Tensor | None:
        """That of the frames (frame, sample), if every one was given its own."""
        given = [frame.compensation for frame in self.frames if frame.compensation is not None]
        return torch.stack(given) if len(given) == len(self.frames) else None

    @cached_property
    def gathered(self) -> NonCartesian:
        """The points of all frames, of an image that stands still."""
        return NonCartesian(self.trajectories.flatten(0, 1), self.matrix, self.weights.flatten())

    @property
    def measured_acceleration(self) -> float:
        return self.frames[0].measured_acceleration

    def operator(self, n_images: int, sensitivities: Tensor | None) -> LinearOperator:
        if sensitivities is None:
            raise DataFormatError("a non-Cartesian scan is solved with sensitivities; got none")
        return NonUniformFrames([frame.operator(n_images, sensitivities) for frame in self.frames])

    def weighted(self, data: Tensor) -> Tensor:
        return data * self.weights.sqrt().unsqueeze(1)

    @property
    def noise_gain(self) -> float:
        return math.sqrt(sum(frame.noise_gain**2 for frame in self.frames) / len(self.frames))

    def check(self, data: Tensor) -> None:
        super().check(data)
        samples = len(self.frames[0].trajectory)
        if not data.is_complex() or (data.shape[1], data.shape[-1]) != (len(self.frames), samples):
            raise DataFormatError(
                f"the data must be complex (image, {len(self.frames)}, coil, {samples}), as the trajectories; got "
                f"{said(data)}"
            )
