"""Frames of a moving slice, each at points of k-space of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.operators.linear import LinearOperator
from laminar.operators.nonuniform import NonUniform


class NonUniformFrames(LinearOperator):
    """`y_f = F_f S x_f`, a `NonUniform` of its own for every frame f, with the sensitivities of the first for all.

    Shapes: image (batch, frame, y, x), measurement (batch, frame, coil, sample), `sensitivities` (batch, coil, y, x).
    """

    def __init__(self, frames: Sequence[NonUniform]) -> None:
        self.sensitivities = frames[0].sensitivities
        self.frames = tuple(frame.with_sensitivities(self.sensitivities) for frame in frames)

    def along(self, other: NonUniformFrames) -> bool:
        """Whether the frames of both have the same points, weighted alike."""
        pairs = zip(self.frames, other.frames, strict=False)
        return len(self.frames) == len(other.frames) and all(frame.along(another) for frame, another in pairs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([frame.forward(x[:, f]) for f, frame in enumerate(self.frames)], 1)

    def adjoint(self, y: Tensor) -> Tensor:
        return torch.stack([frame.adjoint(y[:, f]) for f, frame in enumerate(self.frames)], 1)

    def gram(self, x: Tensor) -> Tensor:
        return torch.stack([frame.gram(x[:, f]) for f, frame in enumerate(self.frames)], 1)

    def to(self, device: torch.device | str) -> NonUniformFrames:
        maps = self.sensitivities.to(device)
        return NonUniformFrames([frame.with_sensitivities(maps).to(device) for frame in self.frames])

    @staticmethod
    def stack(operators: Sequence[LinearOperator]) -> NonUniformFrames:
        parts = [operator for operator in operators if isinstance(operator, NonUniformFrames)]
        if len(parts) != len(operators) or not all(part.along(parts[0]) for part in parts):
            raise ConfigError("only series along the same trajectories can be put into one batch")
        maps = torch.cat([part.sensitivities for part in parts])
        return NonUniformFrames([frame.with_sensitivities(maps) for frame in parts[0].frames])
