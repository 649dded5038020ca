"""Complex numbers and Fourier transforms in real numbers, for programs that know no complex ones.

Real and imaginary part are two channels before the axes y and x: (..., 2, y, x).
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from laminar.networks.channels import to_channels, to_complex
from laminar.operators import fft2c, ifft2c


def times(a: Tensor, b: Tensor) -> Tensor:
    """`a b`."""
    (ar, ai), (br, bi) = a.unbind(-3), b.unbind(-3)
    return torch.stack([ar * br - ai * bi, ar * bi + ai * br], -3)


def conjugate(a: Tensor) -> Tensor:
    real, imaginary = a.unbind(-3)
    return torch.stack([real, -imaginary], -3)


def magnitude(a: Tensor) -> Tensor:
    """`|a|` (..., 1, y, x)."""
    return a.square().sum(-3, keepdim=True).sqrt()


class Fourier(Protocol):
    """The centered unitary transforms of the last two axes, as `laminar.operators.fft2c`."""

    def forward(self, z: Tensor) -> Tensor: ...

    def inverse(self, z: Tensor) -> Tensor: ...


class Fast:
    """By the library's transform."""

    def forward(self, z: Tensor) -> Tensor:
        return _as_pairs(fft2c(_as_complex(z)), z)

    def inverse(self, z: Tensor) -> Tensor:
        return _as_pairs(ifft2c(_as_complex(z)), z)


def _as_complex(z: Tensor) -> Tensor:
    return to_complex(z.flatten(0, -4))


def _as_pairs(z: Tensor, like: Tensor) -> Tensor:
    return to_channels(z).reshape(like.shape)


class Matrices:
    """By products with the matrix of the transform: more work, of a kind that every runtime has."""

    def __init__(self, like: Tensor) -> None:
        self._y, self._x = (_matrix(side, like) for side in like.shape[-2:])

    def forward(self, z: Tensor) -> Tensor:
        return _along_x(self._x, _along_y(self._y, z))

    def inverse(self, z: Tensor) -> Tensor:
        return _along_x(self._x.mT, _along_y(self._y.mT, z))


def _matrix(n: int, like: Tensor) -> Tensor:
    """`[[cos, sin], [-sin, cos]] / sqrt(n)` of the angles 2 pi j k / n, both indices from -(n // 2): (2 n, 2 n)."""
    index = torch.arange(n, device=like.device)
    centered, length = index - n // 2, index[-1:] + 1  # n as a tensor: not every runtime computes with a traced size
    turns = (centered[:, None] * centered[None]) % length  # exact, where the angle itself would be rounded
    length = length.to(like)
    angle = turns.to(like) / length * (2 * math.pi)
    cos, sin = angle.cos() / length.sqrt(), angle.sin() / length.sqrt()
    return torch.cat([torch.cat([cos, sin], 1), torch.cat([-sin, cos], 1)], 0)


def _along_y(matrix: Tensor, z: Tensor) -> Tensor:
    return (matrix @ z.flatten(-3, -2)).reshape(z.shape)


def _along_x(matrix: Tensor, z: Tensor) -> Tensor:
    return _along_y(matrix, z.mT).mT
