"""Computed tomography: line integrals of an image as a sparse matrix, with its exact transpose."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.operators.linear import LinearOperator, apply_linear, spectral_norm

MOST_ANGLE = 4 * math.pi
"""Radians: views of more than two turns are degrees, most likely."""
NORM_ITERATIONS = 10  # from an image of ones, near the positive leading vector of a matrix without negative entries


@dataclass(frozen=True, eq=False)
class Beam:
    """Where the rays of a planar scan run. Lengths in pixels, `angles` (view,) in radians.

    At the angle a, bin b of a parallel beam sees the line `x cos a - y sin a = (b - bins // 2) spacing`, y downwards
    from pixel n // 2: the sinogram of scikit-image's `radon` at a in degrees, transposed. With a finite `source`
    distance it is a fan: the source lies so far before the origin, a flat detector of bins `spacing` apart `detector`
    behind it.

    Raises ConfigError for what is no such beam.
    """

    angles: Tensor
    bins: int
    spacing: float = 1.0
    source: float = math.inf
    detector: float = 0.0

    def __post_init__(self) -> None:
        angles = self.angles
        if angles.ndim != 1 or not len(angles) or not bool(torch.isfinite(angles).all()):
            raise ConfigError(f"angles must be finite and (view,), one or more; got {tuple(angles.shape)}")
        most = float(angles.abs().max())
        if most > MOST_ANGLE:
            raise ConfigError(f"angles are in radians and within two turns; got {most:.4g}: degrees?")
        if self.bins < 1 or not 0 < self.spacing < math.inf:
            raise ConfigError(f"a detector has bins of a positive spacing; got {self.bins} of {self.spacing}")
        if not (self.source > 0 and 0 <= self.detector < math.inf):
            raise ConfigError(
                f"expected source and detector at a positive and a finite distance; got {self.source}, {self.detector}"
            )

    @property
    def bin_positions(self) -> Tensor:
        """Of the bins on the detector, (bin,)."""
        return self.spacing * (torch.arange(self.bins, dtype=torch.float64) - self.bins // 2)

    @property
    def axes(self) -> tuple[Tensor, Tensor]:
        """Unit vectors (view, 2), as (y, x), along the detector and from source to detector."""
        sin, cos = self.angles.double().sin(), self.angles.double().cos()
        return torch.stack([-sin, cos], -1), torch.stack([cos, sin], -1)

    @property
    def rays(self) -> tuple[Tensor, Tensor]:
        """A point of every ray and its unit vector, (view, bin, 2) as (y, x)."""
        across, along = (axis[:, None] for axis in self.axes)
        place = self.bin_positions[:, None] * across
        if math.isinf(self.source):
            return place, along.expand_as(place)
        ray = (self.source + self.detector) * along + place
        return (-self.source * along).expand_as(ray), ray / ray.norm(dim=-1, keepdim=True)


class Projector(LinearOperator):
    """Line integrals of an image along the rays of a beam, by Joseph's method.

    Shapes: image (batch, y, x) of `matrix`, real or complex; sinogram (batch, view, bin), in image times
    pixel. The matrix is made once and its transpose kept, so that the adjoint is exact and both are fast.
    Joseph 1982, doi:10.1109/TMI.1982.4307572.
    """

    def __init__(self, beam: Beam, matrix: tuple[int, int]) -> None:
        self.beam, self.matrix, self.sinogram = beam, matrix, (len(beam.angles), beam.bins)
        points, directions = beam.rays
        rows, columns, lengths = joseph(points.flatten(0, 1), directions.flatten(0, 1), matrix)
        if not len(rows):
            raise ConfigError(f"no ray of the beam meets the image {matrix}: are its lengths in pixels?")
        shape = (math.prod(self.sinogram), math.prod(matrix))
        self._forward, self._back = _csr(rows, columns, lengths, shape), _csr(columns, rows, lengths, shape[::-1])
        self.norm = float(spectral_norm(self, torch.ones(1, *matrix), NORM_ITERATIONS))

    def __reduce__(self) -> tuple[Any, ...]:
        """Where it runs, not its matrix: what comes from another process is made once, and kept."""
        beam = self.beam
        lengths = (beam.bins, beam.spacing, beam.source, beam.detector)
        return _kept, (tuple(beam.angles.tolist()), beam.angles.dtype, *lengths, self.matrix)

    def of_views(self, some: slice) -> Projector:
        """The projector of some of the views."""
        beam = replace(self.beam, angles=self.beam.angles[some])
        return Projector(beam, self.matrix)

    def forward(self, x: Tensor) -> Tensor:
        flat = apply_linear(x.flatten(1), self._project, self._back_project)
        return flat.reshape(len(x), *self.sinogram)

    def adjoint(self, y: Tensor) -> Tensor:
        flat = apply_linear(y.flatten(1), self._back_project, self._project)
        return flat.reshape(len(y), *self.matrix)

    def _project(self, x: Tensor) -> Tensor:
        return _product(self._forward, x)

    def _back_project(self, y: Tensor) -> Tensor:
        return _product(self._back, y)

    def to(self, device: torch.device | str) -> Projector:
        moved = object.__new__(Projector)
        moved.__dict__ |= vars(self) | {"_forward": self._forward.to(device), "_back": self._back.to(device)}
        return moved


@lru_cache(4)
def _kept(
    angles: tuple[float, ...],
    dtype: torch.dtype,
    bins: int,
    spacing: float,
    source: float,
    detector: float,
    matrix: tuple[int, int],
) -> Projector:
    return Projector(Beam(torch.tensor(angles, dtype=dtype), bins, spacing, source, detector), matrix)


class Weighted(LinearOperator):
    """`diag(w) A` for real `weights` (batch or 1, ...) of the measurements: white noise where `w` is 1 / its level."""

    def __init__(self, operator: LinearOperator, weights: Tensor) -> None:
        self.operator, self.weights = operator, weights

    def forward(self, x: Tensor) -> Tensor:
        return self.weights.to(x.real) * self.operator.forward(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.operator.adjoint(self.weights.to(y.real) * y)

    def to(self, device: torch.device | str) -> Weighted:
        return Weighted(self.operator.to(device), self.weights.to(device))

    def __rmul__(self, factor: complex) -> LinearOperator:
        """A positive factor is one of the weights: operators of other scales go into one batch."""
        real = complex(factor).imag == 0 and complex(factor).real > 0
        return Weighted(self.operator, complex(factor).real * self.weights) if real else super().__rmul__(factor)

    @staticmethod
    def stack(operators: Sequence[LinearOperator]) -> LinearOperator:
        parts = [operator for operator in operators if isinstance(operator, Weighted)]
        inner = [part.operator for part in parts]
        if len(parts) != len(operators):
            raise ConfigError("only weighted operators can be put into one batch with one")
        return Weighted(inner[0].stack(inner), torch.cat([part.weights for part in parts]))


def joseph(points: Tensor, directions: Tensor, matrix: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Rays (ray,), pixels and lengths of the matrix: a ray crosses each line of pixels across its steeper axis once.

    There it sees the two next pixels of the line, linearly interpolated, over the length from line to line.
    """
    found = []
    for axis in (0, 1):
        steep = directions.abs().argmax(1) == axis
        rays, n, across = steep.nonzero()[:, 0], matrix[axis], matrix[1 - axis]
        point, direction = points[steep], directions[steep]
        line = torch.arange(n, dtype=torch.float64)
        travel = (line - n // 2 - point[:, axis, None]) / direction[:, axis, None]
        place = point[:, 1 - axis, None] + travel * direction[:, 1 - axis, None] + across // 2
        length = (1 / direction[:, axis].abs())[:, None]
        low = place.floor()
        for pixel, share in ((low, low + 1 - place), (low + 1, place - low)):
            inside = (pixel >= 0) & (pixel < across) & (share > 0)
            along = line.expand_as(pixel)[inside].long()
            pair = (along, pixel[inside].long())
            y, x = pair if axis == 0 else pair[::-1]
            found.append((rays[:, None].expand_as(pixel)[inside], y * matrix[1] + x, (length * share)[inside]))
    rows, columns, lengths = (torch.cat(parts) for parts in zip(*found, strict=True))
    return rows, columns, lengths


def _csr(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        places = torch.stack([rows, columns])
        made = torch.sparse_coo_tensor(places, values.float(), shape, check_invariants=False).coalesce().to_sparse_csr()
        if made.values().numel() >= 2**31:
            return made
        # MKL counts in 32 bits and would copy the indices at every product: 1.6 times the time
        indices = made.crow_indices().int(), made.col_indices().int()
        return torch.sparse_csr_tensor(*indices, made.values(), shape, check_invariants=False)


def _product(matrix: Tensor, x: Tensor) -> Tensor:
    """`matrix @ x` for every entry of x (batch, n), in its precision."""
    parts = torch.view_as_real(x.resolve_conj()).movedim(-1, 0).flatten(0, 1) if x.is_complex() else x
    result: Tensor = (matrix.to(parts.dtype) @ parts.mT.contiguous()).mT
    return torch.complex(*result.reshape(2, len(x), -1).contiguous().unbind(0)) if x.is_complex() else result
