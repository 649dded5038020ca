"""Frames of a moving slice, each at points of k-space of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.operators.linear import LinearOperator
from laminar.operators.nonuniform import NonUniform


class NonUniformFrames(LinearOperator):
    """`y_f = F_f S x_f`, `NonUniform` with points of its own for every frame f and the coils of the slice for all.

    Shapes: image (batch, frame, y, x), measurement (batch, frame, coil, sample), `sensitivities` (batch, coil, y, x);
    `trajectories` and `spectra` are those of the frames.
    """

    def __init__(self, trajectories: Sequence[Tensor], sensitivities: Tensor, spectra: Sequence[Tensor]) -> None:
        self.trajectories, self.sensitivities, self.spectra = tuple(trajectories), sensitivities, tuple(spectra)

    @property
    def frames(self) -> list[NonUniform]:
        """The operator of each."""
        parts = zip(self.trajectories, self.spectra, strict=True)
        return [NonUniform(points, self.sensitivities, spectrum) for points, spectrum in parts]

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([frame.forward(x[:, f]) for f, frame in enumerate(self.frames)], 1)

    def adjoint(self, y: Tensor) -> Tensor:
        return torch.stack([frame.adjoint(y[:, f]) for f, frame in enumerate(self.frames)], 1)

    def gram(self, x: Tensor) -> Tensor:
        return torch.stack([frame.gram(x[:, f]) for f, frame in enumerate(self.frames)], 1)

    def to(self, device: torch.device | str) -> NonUniformFrames:
        spectra = [spectrum.to(device) for spectrum in self.spectra]
        return NonUniformFrames(self.trajectories, self.sensitivities.to(device), spectra)

    @staticmethod
    def stack(operators: Sequence[LinearOperator]) -> NonUniformFrames:
        parts = [operator for operator in operators if isinstance(operator, NonUniformFrames)]
        first = parts[0].trajectories
        alike = (len(p.trajectories) == len(first) and all(map(_is, p.trajectories, first)) for p in parts)
        if len(parts) != len(operators) or not all(alike):
            raise ConfigError("only series along the same trajectories can be put into one batch")
        return NonUniformFrames(first, torch.cat([part.sensitivities for part in parts]), parts[0].spectra)


def _is(a: object, b: object) -> bool:
    return a is b
