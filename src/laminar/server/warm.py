"""The first image of a process is slow: it is made before anyone waits for it."""

from __future__ import annotations

import torch

from laminar.operators import fft2c
from laminar.reconstruction import reconstruct
from laminar.scan import cartesian
from laminar.server.session import Service


def warm(service: Service, size: int = 64, coils: int = 4) -> None:
    """Reconstruct a disc with every model. Raises what a model raises that cannot be used."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    angles = 2 * torch.pi * torch.arange(coils)[:, None, None] / coils
    maps = 1 + 0.5 * (torch.cos(angles) * y + 1j * torch.sin(angles) * x)
    generator = torch.Generator().manual_seed(0)
    kspace = fft2c(maps * (y**2 + x**2 < 0.6))
    kspace = kspace + 0.01 * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[::2] = mask[size // 2 - 8 : size // 2 + 8] = True
    scan = cartesian((kspace * mask)[None].to(torch.complex64), mask, readout_axis=-1)
    for method in service.models.values():
        reconstruct(scan, method, keep_trajectory=False, device=service.where)
