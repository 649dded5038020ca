"""Measured scans, where they are at hand: matrix, mask, center and noise level are what is known of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from laminar.data.coils import whitened
from laminar.data.formats import read
from laminar.operators import ifft2c
from laminar.scan import Scan

RAW = Path(__file__).parents[3].parent / "shared" / "data" / "raw"
CASES = {
    "brain_t1_8coil.cfl": ({}, (1, 8, 230, 180), 230 * 180),
    "brain_mprage_4coil.mat": ({"variable": "kData", "axes": "ky,kx,coil"}, (1, 4, 256, 256), 256 * 256),
    "brain_gre_16coil.mat": ({"axes": "ky,kx,_,coil"}, (1, 16, 96, 96), 96 * 96),
    "brain_smallfov_8coil.mat": ({"axes": "ky,kx,coil"}, (1, 8, 320, 256), 320 * 168),
    "brain_poisson_8coil.npy": ({"axes": "coil,ky,kz"}, (1, 8, 230, 180), 5148),
    "brain_t2_1coil_kspace.mat": ({}, (1, 1, 256, 340), 256 * 340),
    "phantom_skyra_14coil_r3.mrd.h5": ({}, (1, 14, 144, 384), 68 * 384),
}


def scan(name: str) -> Scan:
    if not (RAW / name).exists():
        pytest.skip(f"{RAW / name} is not here")
    return read(RAW / name, **CASES[name][0])


@pytest.mark.shared
@pytest.mark.parametrize("name", CASES)
def test_matrix_mask_and_center(name: str) -> None:
    found = scan(name)
    _, shape, acquired = CASES[name]
    assert tuple(found.kspace.shape) == shape
    assert int(found.mask.sum()) == acquired
    power = found.kspace.abs().square().sum((0, 1))
    y, x = divmod(int(power.argmax()), shape[3])
    assert abs(y - shape[2] // 2) <= 2
    assert abs(x - shape[3] // 2) <= 2


@pytest.mark.shared
def test_the_noise_of_a_prewhitened_scan_is_one() -> None:
    found = whitened(scan("phantom_skyra_14coil_r3.mrd.h5"))
    lines = found.kspace[0][:, found.mask.any(1)]
    # Beside the phantom and inside the flat part of the receiver's filter there is only noise.
    beside = ifft2c(lines, axes=(-1,))[..., 68:100]
    assert float(beside.abs().square().mean().sqrt()) == pytest.approx(1.0, abs=0.06)
    assert found.noise_std == 1.0
    assert found.image_shape == (144, 192)


@pytest.mark.shared
@pytest.mark.skipif(shutil.which("bart") is None, reason="bart is not installed")
def test_bart_makes_the_same_image(tmp_path: Path) -> None:
    found = scan("brain_t1_8coil.cfl")
    out = tmp_path / "rss"
    subprocess.run(["bart", "fft", "-u", "-i", "6", RAW / "brain_t1_8coil", tmp_path / "coils"], check=True)
    subprocess.run(["bart", "rss", "8", tmp_path / "coils", out], check=True)
    expected = read(out, axes="_,ky,kx", domain="kspace").kspace[0, 0].real
    torch.testing.assert_close(ifft2c(found.kspace)[0].abs().square().sum(0).sqrt(), expected, rtol=1e-4, atol=1e-3)
