"""Geometric coil compression beside that of one mixture for all positions of the readout."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from laminar.data.compression import Compression, compressed, geometric_compression
from laminar.data.formats import LazyScan
from laminar.data.masks import make_mask
from laminar.data.simulation import simulate_slice
from laminar.errors import ConfigError
from laminar.operators import fft2c, ifft2c
from laminar.scan import Scan, cartesian

SIZE = (64, 48)


def scan_of(axis: int, coils: int = 16) -> Scan:
    """Two slices, undersampled along the other axis than that of the readout."""
    made = [simulate_slice("cardiac", SIZE, coils, 0.01, torch.Generator().manual_seed(seed)) for seed in range(2)]
    mask = make_mask("equispaced", SIZE, 2, 12, 0) if axis == -2 else make_mask("equispaced", SIZE[::-1], 2, 12, 0).T
    return cartesian(torch.stack([one.kspace for one in made]) * mask, mask, readout_axis=axis)


def rss(kspace: Tensor) -> Tensor:
    return ifft2c(kspace).abs().square().sum(1).sqrt()


@pytest.mark.parametrize("axis", [-2, -1])
@pytest.mark.parametrize("n", [2, 4, 8])
def test_it_keeps_more_energy_than_one_mixture_and_a_closer_image(axis: int, n: int) -> None:
    scan = scan_of(axis)
    energy, error = dict[str, float](), dict[str, float]()
    kinds: tuple[Compression, ...] = ("svd", "geometric")
    for kind in kinds:
        few = compressed(LazyScan.of(scan), n, kind).whole()
        assert few.n_coils == n
        assert not bool(few.kspace[..., ~scan.mask].any()), "what was not measured stays zero"
        energy[kind] = float(few.kspace.to(torch.complex128).norm())
        error[kind] = float((rss(few.kspace) - rss(scan.kspace)).norm())
    assert energy["geometric"] > energy["svd"]
    assert error["geometric"] < error["svd"]


def test_with_all_coils_nothing_is_lost_and_with_a_third_of_them_virtual_coils_are_smooth() -> None:
    scan = scan_of(-1)
    every = compressed(LazyScan.of(scan), 20, "geometric")
    assert every.n_coils == 16
    assert every.notes == ("16 virtual coils of 16, mixed anew at each position of the readout",)
    torch.testing.assert_close(rss(every.whole().kspace), rss(scan.kspace), rtol=1e-4, atol=1e-5)
    weights = geometric_compression(scan.kspace, 5, -1)
    steps = (weights[1:] - weights[:-1]).flatten(1).norm(dim=1)
    turned = torch.linalg.qr(torch.randn(48, 5, 5, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))).Q
    unaligned = turned @ weights  # the same coils in the space of the same subspaces
    assert float(steps.median()) < 0.2 * float((unaligned[1:] - unaligned[:-1]).flatten(1).norm(dim=1).median())


def test_white_noise_stays_white_and_sensitivities_are_mixed_as_the_images() -> None:
    scan = scan_of(-2, 6)
    identity = torch.eye(4, dtype=torch.complex64).expand(64, 4, 4)
    weights = geometric_compression(scan.kspace, 4, -2)
    torch.testing.assert_close(weights @ weights.mH, identity, rtol=0, atol=1e-5)
    image = torch.randn(2, 1, *SIZE, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    maps = ifft2c(scan.kspace)
    full = cartesian(fft2c(maps * image), torch.ones(SIZE, dtype=torch.bool), sensitivities=maps)
    few = compressed(LazyScan.of(full), 4, "geometric").whole()
    assert few.sensitivities is not None
    torch.testing.assert_close(ifft2c(few.kspace), few.sensitivities * image, rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(shutil.which("bart") is None, reason="BART is not installed")
@pytest.mark.parametrize(("kind", "option"), [("svd", "-S"), ("geometric", "-G")])
def test_what_is_lost_is_what_bart_loses(tmp_path: Path, kind: Compression, option: str) -> None:
    """That of a geometric one is a little more: a hundredth of the mean over all positions is in each of them."""
    kspace = simulate_slice("cardiac", SIZE, 16, 0.01, torch.Generator().manual_seed(0)).kspace
    array = kspace.permute(2, 1, 0)[:, :, None].numpy()  # the readout, x, is BART's first axis
    (tmp_path / "in.cfl").write_bytes(array.astype("<c8").tobytes(order="F"))
    (tmp_path / "in.hdr").write_text(f"# Dimensions\n{' '.join(map(str, array.shape))}\n")
    subprocess.run(["bart", "cc", "-A", option, "-p", "4", "in", "out"], cwd=tmp_path, check=True)
    scan = cartesian(kspace[None], torch.ones(SIZE, dtype=torch.bool), readout_axis=-1)
    ours = compressed(LazyScan.of(scan), 4, kind).whole().kspace.numpy()
    theirs = np.fromfile(tmp_path / "out.cfl", "<c8")
    whole, kept, expected = (np.linalg.norm(one.astype(complex)) ** 2 for one in (array, ours, theirs))
    assert whole - kept == pytest.approx(whole - expected, rel=0.1)


def test_what_cannot_be_compressed() -> None:
    scan = LazyScan.of(scan_of(-1))
    with pytest.raises(ConfigError, match="coils can be compressed to 1 or more; got 0"):
        compressed(scan, 0, "geometric")
    holed = LazyScan.of(replace(scan.whole(), geometry=replace(scan.grid, readout_axis=-2)))
    with pytest.raises(ConfigError, match="needs a readout without gaps"):
        compressed(holed, 4, "geometric")
    assert compressed(holed, 4).notes == ("4 virtual coils of 16",)
    assert "mixed anew at each position" in compressed(scan, 4).notes[0]
    poisson = scan.whole().undersample(make_mask("poisson", SIZE, 3, 12, 0))
    poisson = replace(poisson, geometry=replace(poisson.grid, readout_axis=None))
    with pytest.raises(ConfigError, match="needs a readout without gaps"):
        compressed(LazyScan.of(poisson), 4, "geometric")
