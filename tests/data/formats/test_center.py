"""The zero frequency and the image origin are found where the energy is, and moved exactly; else nothing is touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scan_files import random_kspace

from laminar.data.formats import read, stream
from laminar.data.formats.center import corner_axes, dc_offset
from laminar.data.masks import make_mask
from laminar.data.simulation import simulate_slice
from laminar.operators import fft2c, ifft2c


@pytest.fixture(scope="module")
def kspace() -> torch.Tensor:
    return simulate_slice("brain", (96, 81), 4, 0.001, torch.Generator().manual_seed(0)).kspace


def saved(path: Path, kspace: torch.Tensor) -> Path:
    np.save(path, kspace.numpy())
    return path


def magnitude(kspace: torch.Tensor) -> torch.Tensor:
    return ifft2c(kspace).abs()


@pytest.mark.parametrize("shift", [(0, 0), (1, -2), (14, 0), (-9, 20), (-48, -40)])
@pytest.mark.parametrize("undersampled", [False, True])
def test_the_zero_frequency_is_brought_back(
    tmp_path: Path, kspace: torch.Tensor, shift: tuple[int, int], undersampled: bool
) -> None:
    """(-48, -40) is the corner. A roll by a line or two is left: it may be the phase of the image."""
    mask = make_mask("equispaced", (96, 81), 3, 16, 0) if undersampled else torch.ones(96, 81, dtype=torch.bool)
    scan = read(saved(tmp_path / "a.npy", (kspace * mask).roll(shift, (-2, -1))), axes="coil,ky,kx")
    near = max(map(abs, shift)) <= 2
    expected = (kspace * mask).roll(shift, (-2, -1)) if near else kspace * mask
    assert torch.equal(scan.kspace[0], expected)
    assert torch.equal(scan.mask, mask.roll(shift, (-2, -1)) if near else mask)
    assert len(scan.header.get("notes", ())) == (not near)


@pytest.mark.parametrize("undersampled", [False, True])
def test_an_origin_in_the_corner_is_moved(tmp_path: Path, kspace: torch.Tensor, undersampled: bool) -> None:
    image = ifft2c(kspace)
    mask = make_mask("equispaced", (96, 81), 3, 16, 0) if undersampled else torch.ones(96, 81, dtype=torch.bool)
    for corner_dc in (False, True):
        corner = torch.fft.fft2(image, norm="ortho")  # as of one who forgets every shift, or all but one
        corner = corner * torch.fft.ifftshift(mask) if corner_dc else torch.fft.fftshift(corner, dim=(-2, -1)) * mask
        lazy = stream(saved(tmp_path / "a.npy", corner), axes="coil,ky,kx")
        torch.testing.assert_close(lazy.whole().kspace[0], kspace * mask, atol=2e-5, rtol=1e-4)
        assert "image origin was in the corner along y and x" in " ".join(lazy.notes)


def test_what_has_no_peak_or_is_said_is_left_alone(tmp_path: Path, kspace: torch.Tensor) -> None:
    noise = torch.from_numpy(random_kspace(4, 64, 48))
    assert torch.equal(read(saved(tmp_path / "a.npy", noise), axes="coil,ky,kx").kspace[0], noise)
    rolled = kspace.roll(20, -1)
    said = read(saved(tmp_path / "b.npy", rolled), axes="coil,ky,kx", domain="kspace")
    assert torch.equal(said.kspace[0], rolled)


def test_objects_stay_where_they_are_and_most_are_found_in_the_corner() -> None:
    """A quarter of these have most of their energy around the ends of an axis: fat, or what is near a coil.

    What has air around it is found with its origin in the corner.
    """
    found = 0
    for seed in range(60):
        anatomy, matrix = ("brain", "knee", "cardiac", "abstract")[seed % 4], ((96, 96), (96, 64))[seed % 2]
        scan = simulate_slice(anatomy, matrix, (1, 4, 8)[seed % 3], 0.01, torch.Generator().manual_seed(seed)).scan
        assert corner_axes(scan) == [], f"{anatomy}, seed {seed}"
        assert dc_offset(scan.kspace) == (0, 0), f"{anatomy}, seed {seed}"
        origin = ifft2c(scan.kspace).roll([-(n // 2) for n in matrix], (-2, -1))
        found += corner_axes(scan.with_kspace(fft2c(origin))) == [-2, -1]
    assert found >= 30
