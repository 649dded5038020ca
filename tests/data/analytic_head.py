"""K-space of an ellipse phantom seen by smooth coils, from closed formulas: no grid, no inverse crime."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# (intensity, center y, center x, half axis y, half axis x), in fields of view
_ELLIPSES = (
    (1.0, 0.0, 0.0, 0.40, 0.33),
    (-0.6, 0.0, 0.0, 0.37, 0.30),
    (0.3, -0.10, 0.08, 0.12, 0.09),
    (-0.25, 0.05, -0.10, 0.14, 0.05),
    (-0.25, 0.05, 0.11, 0.13, 0.06),
    (0.4, 0.22, 0.0, 0.05, 0.04),
    (0.5, -0.25, -0.05, 0.02, 0.03),
)


def head(coils: int, matrix: tuple[int, int], zoom: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """K-space and sensitivities (1, coil, y, x), complex128, and the inside of the head, bool (y, x).

    Each coil is a sum of three plane waves of fractional frequency around a loop at its angle, so that its
    k-space is a sum of shifted ellipse transforms. The sensitivities are scaled to sum |S|^2 = 1.
    """
    frequency = [torch.arange(n, dtype=torch.float64) - n // 2 for n in matrix]
    position = [k / n for k, n in zip(frequency, matrix, strict=True)]
    kspace, maps = [], []
    for coil in range(coils):
        angle = 2 * math.pi * coil / coils + 0.3
        sy, sx = math.sin(angle), math.cos(angle)
        waves = [(1.0, 0.1, 0.2), (0.8, 0.1 + 0.45 * sy, 0.2 + 0.45 * sx), (0.35, 0.7 * sy, 0.7 * sx)]
        weights = [a * complex(math.cos(angle), math.sin(2 * angle + m)) for m, (a, _, _) in enumerate(waves)]
        kspace.append(
            sum(
                w * _ellipses(frequency[0][:, None] - qy, frequency[1] - qx, zoom)
                for w, (_, qy, qx) in zip(weights, waves, strict=True)
            )
        )
        maps.append(
            sum(
                w * torch.exp(2j * math.pi * (qy * position[0][:, None] + qx * position[1]))
                for w, (_, qy, qx) in zip(weights, waves, strict=True)
            )
        )
    sensitivities = torch.stack(maps)
    norm = sensitivities.abs().square().sum(0).sqrt()
    _, cy, cx, ay, ax = _ELLIPSES[0]
    inside = ((position[0][:, None] / zoom - cy) / ay) ** 2 + ((position[1] / zoom - cx) / ax) ** 2 < 1
    return torch.stack(kspace)[None], (sensitivities / norm)[None], inside


def _ellipses(ky: Tensor, kx: Tensor, zoom: float) -> Tensor:
    """Fourier transform of the phantom: area J1(2 pi q) / (pi q) of the unit disc, scaled and shifted."""
    total = torch.zeros(torch.broadcast_shapes(ky.shape, kx.shape), dtype=torch.complex128)
    for value, cy, cx, ay, ax in _ELLIPSES:
        cy, cx, ay, ax = (zoom * v for v in (cy, cx, ay, ax))
        q = torch.hypot(ay * ky, ax * kx).clamp_min(1e-9)
        shift = torch.exp(-2j * math.pi * (ky * cy + kx * cx))
        total = total + value * ay * ax * torch.special.bessel_j1(2 * math.pi * q) / q * shift
    return total


def add_noise(kspace: Tensor, std: float, seed: int = 0) -> Tensor:
    """White circular noise with E|n|^2 = std^2."""
    generator = torch.Generator().manual_seed(seed)
    return kspace + std * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
