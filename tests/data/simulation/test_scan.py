"""A simulated scan whose field of view is smaller than its object."""

from __future__ import annotations

import pytest
import torch

from laminar.data.simulation import simulate_slice


@pytest.mark.parametrize("axis", [-1, -2])
def test_half_the_field_of_view_is_every_other_line(axis: int) -> None:
    scan = simulate_slice("brain", (48, 40), 3, 0.01, torch.Generator().manual_seed(0))
    size = scan.matrix[axis]
    folded = scan.fold(axis, size // 2)
    lines = scan.clean.movedim(axis, -1)[..., (size // 2) % 2 :: 2].movedim(-1, axis) * 2**0.5
    torch.testing.assert_close(folded.clean.abs(), lines.abs(), rtol=1e-4, atol=1e-5)  # up to the sign of a shift
    noise = [(s.kspace - s.clean).abs().square().mean().sqrt() for s in (scan, folded)]
    assert float(noise[1] / noise[0]) == pytest.approx(1, abs=0.05)


def test_a_field_of_view_of_its_own_size_folds_nothing() -> None:
    scan = simulate_slice("brain", (48, 40), 3, 0.01, torch.Generator().manual_seed(0))
    torch.testing.assert_close(scan.fold(-1, 40).clean, scan.clean, rtol=1e-4, atol=1e-5)
