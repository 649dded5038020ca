"""Walsh sensitivities against the truth and beside ESPIRiT."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from analytic_head import add_noise, head
from torch import Tensor

from laminar.classical import cg_sense_method
from laminar.data.coils import calibration_region, estimate_sensitivities, whiten
from laminar.data.cropping import center_crop, crop_readout
from laminar.data.formats import LazyScan
from laminar.data.masks import make_mask
from laminar.data.noncartesian import radial
from laminar.data.simulation import simulate_slice
from laminar.data.walsh import walsh, with_walsh
from laminar.errors import ConfigError, DataFormatError
from laminar.geometry import NonCartesian
from laminar.operators import ifft2c
from laminar.reconstruction import reconstruct
from laminar.scan import Scan, cartesian


def correlation(maps: Tensor, truth: Tensor) -> Tensor:
    """|S^H T| of unit vectors (batch, coil, y, x) in every pixel (y, x) of the one image."""
    return (maps.conj() * truth.to(maps)).sum(1).abs()[0]


@pytest.mark.parametrize(("coils", "matrix"), [(2, (64, 75)), (8, (96, 96)), (12, (160, 128))])
def test_maps_find_the_true_sensitivities(coils: int, matrix: tuple[int, int]) -> None:
    kspace, truth, inside = head(coils, matrix)
    noisy = add_noise(kspace, float(kspace.norm() / inside.sum().sqrt()) / 50).to(torch.complex64)
    region = calibration_region(torch.ones(matrix, dtype=torch.bool))
    maps = walsh(noisy[..., *region], matrix)
    assert float(correlation(maps, truth)[inside].min()) > 0.999
    norm = maps.abs().square().sum(1)[0]
    torch.testing.assert_close(norm, (norm > 0.5).to(norm))
    assert not bool(norm[[0, 0, -1, -1], [0, -1, 0, -1]].any())
    combined = (maps.conj() * ifft2c(noisy)).sum(1)[0]
    steps = (combined[1:] * combined[:-1].conj()).angle().abs()
    assert float(steps[inside[1:] & inside[:-1]].quantile(0.99)) < 0.5, "the phase is smooth"


@pytest.mark.parametrize(("anatomy", "seed"), [("brain", 0), ("brain", 1), ("knee", 2)])
def test_cg_sense_is_as_good_as_with_espirit(anatomy: str, seed: int) -> None:
    made = simulate_slice(anatomy, (128, 112), 8, 0.01, torch.Generator().manual_seed(seed))
    mask = make_mask("equispaced-fraction", (128, 112), 3, 24, seed)
    scan = cartesian((made.kspace * mask)[None], mask, noise_covariance=made.covariance)
    truth = ifft2c(whiten(made.clean, made.covariance)).abs().square().sum(0).sqrt()
    found, lazy = {}, LazyScan.of(scan)
    for name, each in {"espirit": lazy, "walsh": with_walsh(lazy)}.items():
        error = reconstruct(each, cg_sense_method, n_maps=1).magnitude[0] - truth
        found[name] = -20 * float(error[truth > 0.1 * truth.max()].norm().log10())
    assert found["walsh"] > found["espirit"] - 0.5


def test_a_scan_is_given_maps_of_its_image_without_oversampling() -> None:
    made = simulate_slice("knee", (64, 48), 4, 0.01, torch.Generator().manual_seed(0))
    mask = make_mask("equispaced", (64, 48), 2, 12, 0)
    scan = cartesian((made.kspace * mask).expand(2, -1, -1, -1), mask, image_shape=(40, 48))
    given = with_walsh(LazyScan.of(scan))
    assert given.notes == ("sensitivities by the method of Walsh",)
    maps, inner = given.whole().sensitivities, crop_readout(scan)
    assert maps is not None
    assert maps.shape == scan.data.shape
    assert torch.equal(center_crop(maps, (40, 48)), walsh(inner.kspace[..., *calibration_region(inner.mask)], (40, 48)))
    assert not bool(maps[..., :12, :].any())
    assert float(correlation(maps[:1], estimate_sensitivities(scan)[:1])[12:52].quantile(0.9)) > 0.99
    brought = with_walsh(LazyScan.of(replace(scan, sensitivities=torch.ones_like(scan.data))))
    assert brought.notes == ("sensitivities are those that the scan brings, not Walsh's",)
    assert torch.equal(brought.whole().sensitivities, torch.ones_like(scan.data))  # type: ignore[arg-type]


def test_what_has_no_walsh_sensitivities() -> None:
    nothing = torch.zeros(1, 3, 8, 8, dtype=torch.complex64)
    assert not bool(walsh(nothing, (16, 17)).any())
    with pytest.raises(DataFormatError, match=r"calibration \(8, 8\) is larger than the matrix \(16, 7\)"):
        walsh(nothing, (16, 7))
    with pytest.raises(ConfigError, match="0 <= crop <= 1; got 2"):
        walsh(nothing, (16, 16), crop=2)
    spokes = Scan(torch.ones(1, 2, 5 * 48, dtype=torch.complex64), NonCartesian(radial(5, 48, (24, 24)), (24, 24)))
    with pytest.raises(ConfigError, match="scan: Walsh sensitivities are of planar Cartesian scans; got NonCartesian"):
        with_walsh(LazyScan.of(spokes))
    gaps = torch.zeros(16, 16, dtype=torch.bool)
    gaps[:, ::4] = True
    bare = with_walsh(LazyScan.of(cartesian(torch.ones(1, 2, 16, 16, dtype=torch.complex64) * gaps, gaps)))
    with pytest.raises(DataFormatError, match="no calibration lines"):
        bare.whole()
