"""Sensitivities on a coarse grid of nodes, for they are smooth: coil images there, a phase, the maps of all pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from laminar.errors import DataFormatError

NODES = 64
"""So many points along an axis tell maps of a calibration region."""


def check_block(name: str, block: Tensor, matrix: tuple[int, int]) -> None:
    """Raise DataFormatError unless k-space around DC is complex (batch, coil, cy, cx) and fits into the matrix."""
    shape = tuple(block.shape)
    if block.ndim != 4 or not block.is_complex() or 0 in shape:
        raise DataFormatError(f"{name} must be complex (batch, coil, cy, cx); got {block.dtype} {shape}")
    if shape[2] > matrix[0] or shape[3] > matrix[1]:
        raise DataFormatError(f"{name} {shape[2:]} is larger than the matrix {tuple(matrix)}")


def pixels(n: int) -> Tensor:
    """Positions of the pixels in [-1/2, 1/2)."""
    return (torch.arange(n, dtype=torch.float64) - n // 2) / n


def nodes(n: int) -> Tensor:
    """The positions where the maps of n pixels are computed: the pixels, if they are not many."""
    return pixels(n) if n <= 3 * NODES // 2 else torch.linspace(-0.5, 0.5, NODES, dtype=torch.float64)


def interpolation(nodes: Tensor, n: int) -> Tensor:
    """Weights (n, nodes) of the cubic polynomial through the four nodes around a pixel."""
    if len(nodes) == n:
        return torch.eye(n)
    place = (pixels(n) - nodes[0]) / (nodes[1] - nodes[0])
    first = (place.floor().long() - 1).clamp(0, len(nodes) - 4)
    weights = torch.zeros(n, len(nodes), dtype=torch.float64)
    for i in range(4):
        factors = [(place - (first + j)) / (i - j) for j in range(4) if j != i]
        weights[torch.arange(n), first + i] = torch.stack(factors).prod(0)
    return weights


def interpolate(vectors: Tensor, y: Tensor, x: Tensor, inside: Tensor) -> Tensor:
    """Maps (coil, y, x) of all pixels, unit vectors inside, from the vectors (y, x, coil) of the nodes."""
    parts = y @ (torch.view_as_real(vectors).permute(2, 3, 0, 1) @ x.mT)
    parts *= inside / parts.square().sum((0, 1)).sqrt().clamp_min(1e-30)
    return torch.complex(*parts.unbind(1))


def waves(position: Tensor, lags: int, like: Tensor) -> Tensor:
    """exp(-2 pi i lag r) for positions r and lags around zero: (position, lags)."""
    lag = torch.arange(lags, dtype=torch.float64) - lags // 2
    angle = -2 * torch.pi * position[:, None] * lag
    return torch.polar(torch.ones_like(angle), angle).to(like)


def images_at(lines: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Coil images (y, x, coil) of a block of k-space (coil, ly, lx) at the positions."""
    rows = waves(y, lines.shape[1], lines).conj() @ lines
    return (rows @ waves(x, lines.shape[2], lines).mH).permute(1, 2, 0)


def reference_of(vectors: Tensor, images: Tensor, inside: Tensor) -> Tensor:
    """The combination of coils u (coil,) whose phase the maps (y, x, coil) can be given without a pole.

    The phase of u^H S winds around every pixel with u^H S = 0, and the first principal combination has such
    pixels in many head coils. So u is the sensitivity of the pixel whose least |u^H S| is largest, on a grid
    of pixels where the image is not dark.
    """
    step = max(1, math.isqrt(int(inside.sum()) // 512))
    energy = images[::step, ::step].abs().square().sum(-1) * inside[::step, ::step]
    sample = vectors[::step, ::step][energy >= 0.01 * energy.max()]
    vector = sample[(sample @ sample.mH).abs().amin(1).argmax()]
    return vector * torch.sgn(vector[vector.abs().argmax()]).conj()


def referred(vectors: Tensor, reference: Tensor) -> Tensor:
    """The vectors (y, x, coil) with the phase at which u^H S is positive."""
    return vectors * torch.sgn(vectors @ reference.conj()).conj()[..., None]
