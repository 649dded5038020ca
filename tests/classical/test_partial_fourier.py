"""Partial Fourier by projections: exact where the phase is that of the center, better than zeros for a smooth one."""

from __future__ import annotations

import pytest
import torch

from laminar.classical import cg_sense_method, pocs_method
from laminar.data.masks import make_mask
from laminar.data.preparation import prepare
from laminar.data.simulation import simulate_slice
from laminar.errors import ConfigError
from laminar.operators import fft2c
from laminar.scan import cartesian


@pytest.mark.parametrize("acceleration", [1, 2])
def test_the_missing_side_comes_from_the_other(acceleration: float) -> None:
    """5/8 of the lines, a phase that is quadratic in space; no noise, maps known."""
    simulated = simulate_slice("brain", (96, 80), 6, 1e-6, torch.Generator().manual_seed(0))
    image = simulated.coil_images.abs().square().sum(0).sqrt()
    y, x = torch.meshgrid(torch.linspace(-1, 1, 96), torch.linspace(-1, 1, 80), indexing="ij")
    maps = simulated.coil_images / image.clamp_min(1e-6)
    maps = maps * torch.exp(-1j * maps[:1].angle()) / maps.abs().square().sum(0).sqrt().clamp_min(1e-6)
    truth = image * torch.exp(1j * (1.5 * x**2 - y))
    mask = make_mask("equispaced", (96, 80), acceleration, 24, 0) if acceleration > 1 else torch.ones(96, 80).bool()
    mask = mask & (torch.arange(80) >= 30)
    kspace = fft2c(maps * truth) * mask
    problem = prepare(cartesian(kspace[None], mask, sensitivities=maps[None].contiguous(), noise_std=1e-6))

    def error(found: torch.Tensor) -> float:
        return float((found[0] * problem.scale - truth).norm() / truth.norm())

    assert error(pocs_method(problem).image) < 0.6 * error(cg_sense_method(problem).image)
    with pytest.raises(ConfigError, match="at least 1"):
        pocs_method(problem, 0)
