"""Sensitivities against BART and the truth, calibration regions, compression and whitening."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from analytic_head import add_noise, head
from torch import Tensor

from laminar.data import coils
from laminar.data.coils import (
    calibration_region,
    compression,
    espirit,
    estimate_sensitivities,
    whiten,
    whole_lines,
)
from laminar.data.masks import make_mask
from laminar.data.patches import patches
from laminar.errors import ConfigError, DataFormatError
from laminar.operators import fft2c, ifft2c
from laminar.scan import cartesian

GOLDEN = Path(__file__).parent / "golden" / "espirit_bart.npz"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "raw"


def central(kspace: Tensor, lines: int | tuple[int, int]) -> Tensor:
    cy, cx = (lines, lines) if isinstance(lines, int) else lines
    y, x = kspace.shape[-2] // 2 - cy // 2, kspace.shape[-1] // 2 - cx // 2
    return kspace[..., y : y + cy, x : x + cx]


def error(maps: Tensor, expected: Tensor, where: Tensor) -> float:
    """Relative error after the best phase in every pixel."""
    phase = torch.sgn((maps.conj() * expected).sum(1, keepdim=True))
    return float((maps * phase - expected)[..., where].norm() / expected[..., where].norm())


def coil_images(kspace: Tensor) -> Tensor:
    image = torch.fft.ifft2(torch.fft.ifftshift(kspace, dim=(-2, -1)), norm="ortho")
    return torch.fft.fftshift(image, dim=(-2, -1))


def combine(images: Tensor, maps: Tensor) -> Tensor:
    return (maps.conj() * images).sum(1)


def largest_phase_step(field: Tensor, where: Tensor) -> float:
    """Largest phase difference (rad) between neighboring pixels; pi next to a phase singularity."""
    steps = []
    for axis in (-2, -1):
        n = field.shape[axis]
        step = (field.narrow(axis, 1, n - 1) * field.narrow(axis, 0, n - 1).conj()).angle().abs()
        steps.append(step[..., where.narrow(axis, 1, n - 1) & where.narrow(axis, 0, n - 1)].max())
    return float(max(steps))


def test_maps_equal_those_of_bart() -> None:
    """calibration: head(6, (48, 40)) with noise; maps: bart ecalib -m1 -k6 -r20 -t0.001 -c0.8 (0.8.00)."""
    with np.load(GOLDEN) as golden:
        calibration = torch.from_numpy(golden["calibration"])
        expected = torch.from_numpy(golden["maps"])
    maps = espirit(calibration, (48, 40), kernel_size=6, threshold=0.001, crop=0.8)
    support = expected.abs().sum(1)[0] > 0
    assert torch.equal(maps.abs().sum(1)[0] > 0, support)
    assert error(maps, expected, support) < 1e-5


@pytest.mark.parametrize("matrix", [(96, 96), (97, 64), (40, 75)])
@pytest.mark.parametrize("coils", [2, 5, 12])
def test_maps_find_the_true_sensitivities(coils: int, matrix: tuple[int, int]) -> None:
    kspace, truth, inside = head(coils, matrix)
    noisy = add_noise(kspace, float(kspace.norm() / inside.sum().sqrt()) / 50)
    maps = espirit(central(noisy, 24), matrix)
    norm = maps.abs().square().sum(1)[0]
    assert torch.allclose(norm[inside], torch.ones(1, dtype=norm.dtype))
    assert torch.allclose(norm, (norm > 0.5).to(norm))
    assert norm[0, 0] == 0
    assert error(maps, truth, inside) < 0.03
    assert largest_phase_step(maps[0], inside[None] & (maps[0].abs() > 0.1)) < 0.6
    single = espirit(central(noisy, 24).to(torch.complex64), matrix)
    assert single.dtype == torch.complex64
    assert error(single.to(maps), maps, inside) < 1e-5


def test_the_faint_side_of_an_object_is_kept_where_it_stands_out_of_the_noise() -> None:
    """A three hundredth as bright as the near side: in a good scan part of the object, in a noisy one of no map."""
    kspace, _, inside = head(5, (64, 64))
    fall = torch.logspace(0, -2.5, 64, dtype=torch.float64)[:, None]
    image = ifft2c(kspace) * fall
    far = inside & (torch.arange(64) > 44)[:, None]
    kept = {}
    for noise in (1e-4, 3e-3):
        noisy = add_noise(fft2c(image), noise * float(image.abs().max()))
        for threshold in (None, 1e-3):
            support = espirit(central(noisy, 24), (64, 64), threshold=threshold).abs().sum(1)[0] > 0
            kept[noise, threshold] = float(support[far].double().mean())
    assert kept[1e-4, None] > 0.95
    assert kept[1e-4, 1e-3] < 0.3
    assert kept[3e-3, None] == kept[3e-3, 1e-3]


def test_small_eigenvalues_leave_no_islands_of_sensitivity() -> None:
    """g^24 underflows in single precision; what was left passed for an eigenvalue of 1e9 in the corners of scans."""
    from laminar.data.espirit import _filtered

    vector = torch.randn(1, 4, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    for size in (1.0, 0.06, 1e-3):
        found = _filtered(size * torch.eye(4, dtype=torch.complex64)[None], vector)
        torch.testing.assert_close(found.norm(), torch.ones(()))


def test_vectors_are_the_filtered_images_of_a_dense_solver() -> None:
    from laminar.data.espirit import _POWER, _eigenvectors
    from laminar.data.nodes import pixels

    generator = torch.Generator().manual_seed(0)
    block = torch.randn(4, 12, 11, dtype=torch.complex128, generator=generator)
    columns, _ = patches(block, 3)
    basis = torch.linalg.qr(columns[:, :7]).Q.reshape(4, 3, 3, 7)
    lags = torch.zeros(5, 5, 4, 4, dtype=torch.complex128)
    for k in np.ndindex(3, 3):
        for m in np.ndindex(3, 3):
            pair = torch.einsum("cr,dr->cd", basis[:, *k], basis[:, *m].conj())
            lags[m[0] - k[0] + 2, m[1] - k[1] + 2] += pair / 9
    vectors, values, others = _eigenvectors(lags, block, pixels(6), pixels(9))
    for y, x in ((0, 0), (3, 4), (5, 7)):
        ry, rx = ((n - size // 2) / size for n, size in ((y, 6), (x, 9)))
        wave = np.exp(-2j * np.pi * (np.arange(-2, 3)[:, None] * ry + np.arange(-2, 3) * rx))
        g, modes = torch.linalg.eigh(torch.einsum("ij,ijcd->cd", torch.from_numpy(wave), lags))
        wave = np.exp(2j * np.pi * (np.arange(-6, 6)[:, None] * ry + np.arange(-5, 6) * rx))
        image = torch.einsum("ij,cij->c", torch.from_numpy(wave), block)
        exact = modes @ (g**_POWER * (_POWER + 1 - _POWER * g) * (modes.mH @ image))
        torch.testing.assert_close(vectors[y, x], exact / exact.norm(), rtol=1e-9, atol=1e-9)
        value = float((vectors[y, x].conj() @ (modes * g @ modes.mH) @ vectors[y, x]).real)
        assert float(values[y, x]) == pytest.approx(value, rel=1e-9)
        assert float(others[y, x]) == pytest.approx(float((g**2).sum() - value**2) ** 0.5, rel=1e-9)


def test_interpolated_maps_are_those_of_every_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    kspace, _, inside = head(6, (128, 130))
    block = central(add_noise(kspace, float(kspace.norm() / inside.sum().sqrt()) / 50), 24)
    interpolated = espirit(block, (128, 130))
    monkeypatch.setattr("laminar.data.nodes.NODES", 128)
    every = espirit(block, (128, 130))
    assert not torch.equal(interpolated, every)
    assert error(interpolated, every, inside) < 5e-5


@pytest.mark.parametrize(("zoom", "before"), [(1.25, 0.34), (1.5, 0.42)])
def test_an_object_cut_off_by_the_field_of_view_leaves_no_holes(zoom: float, before: float) -> None:
    """Where its ends meet, and where they fold onto each other, the largest eigenvalue misses `before` of the image."""
    kspace, _, inside = head(8, (128, 100), zoom=zoom)
    noisy = add_noise(kspace, float(kspace.norm() / inside.sum().sqrt()) / 50)
    region = calibration_region(torch.ones(128, 100, dtype=torch.bool))
    mask = torch.zeros(128, 100, dtype=torch.bool)
    mask[:, ::4] = mask[:, region[1]] = True
    images = coil_images(noisy)
    maps = estimate_sensitivities(cartesian(noisy * mask, mask))
    missed = (images - maps * combine(images, maps)[:, None])[0]
    ends = torch.cat([torch.arange(8), torch.arange(120, 128)])
    assert missed[:, ends].norm() < 0.25 * before * images[0][:, ends].norm()


def test_phase_has_no_singularity_where_the_strongest_coil_is_blind() -> None:
    """Coil 0 is a birdcage mode with a node in the center, yet it is the first principal combination."""
    y, x = torch.meshgrid(*[(torch.arange(64.0, dtype=torch.float64) - 32) / 64] * 2, indexing="ij")
    inside = y**2 + x**2 < 0.4**2
    coils = torch.stack([8 * torch.complex(x, y), torch.ones_like(x) + 0j, 0.5 * torch.exp(2j * x)])
    image = torch.fft.ifftshift(coils * inside, dim=(-2, -1))
    kspace = torch.fft.fftshift(torch.fft.fft2(image, norm="ortho"), dim=(-2, -1))[None]
    energy = kspace.abs().square().sum((0, 2, 3))
    assert energy[0] > 2 * energy[1:].sum()
    maps = espirit(central(kspace, 24), (64, 64))
    assert largest_phase_step(combine(coil_images(kspace), maps), inside[None]) < 0.5


@pytest.mark.parametrize(("coils", "lines"), [(4, (24, 4)), (8, (14, 24)), (20, (8, 12)), (40, (16, 16))])
def test_few_lines_and_many_coils(coils: int, lines: tuple[int, int]) -> None:
    kspace, truth, inside = head(coils, (64, 48))
    maps = espirit(central(kspace, lines), (64, 48))
    assert torch.isfinite(maps.abs()).all()
    seen = (maps.abs().sum(1)[0] > 0) & inside
    assert seen.sum() > 0.95 * inside.sum()
    assert error(maps, truth, seen) < (0.1 if min(lines) < 8 else 0.03)


def test_degenerate_calibrations() -> None:
    kspace, _, inside = head(3, (32, 32))
    block = central(kspace, 16)
    assert (espirit(0 * block, (32, 32)) == 0).all()
    assert (espirit(block[:, :1], (20, 31)) == 1).all()
    dead = torch.cat([block, 0 * block[:, :1]], dim=1)
    assert (espirit(dead, (32, 32))[:, 3] == 0).all()
    assert error(espirit(dead, (32, 32))[:, :3], espirit(block, (32, 32)), inside) < 1e-6
    tiny = espirit((1e-25 * block).to(torch.complex64), (32, 32))
    assert error(tiny.to(block), espirit(block, (32, 32)), inside) < 1e-5
    both = espirit(torch.cat([block, 0 * block]), (32, 32))
    assert torch.equal(both[:1], espirit(block, (32, 32)))
    assert (both[1] == 0).all()
    line = torch.randn(1, 4, 1, 16, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    assert espirit(line, (1, 32), threshold=1e-6, crop=0.5, n_maps=None).shape[-3:] == (4, 1, 32)


def test_object_larger_than_the_field_of_view() -> None:
    """Two orthonormal maps explain the coil images; one, as coarse as the calibration, leaves three times more."""
    kspace, _, _ = head(8, (64, 64), zoom=1.5)
    maps = espirit(central(kspace, 24), (64, 64), n_maps=2)
    assert torch.equal(maps[:, 0], espirit(central(kspace, 24), (64, 64)))
    norm = maps.abs().square().sum(2)
    assert torch.allclose(norm, (norm > 0.5).to(norm))
    assert (norm[:, 0] > 0.5).float().mean() > 0.9
    assert 0.2 < (norm[:, 1] > 0.5).float().mean() < 0.8
    assert (maps[:, 0].conj() * maps[:, 1]).sum(1).abs().max() < 1e-5
    images = coil_images(kspace)
    one, two = (images - (m * (m.conj() * images[:, None]).sum(2, keepdim=True)).sum(1) for m in (maps[:, :1], maps))
    assert two.norm() < 0.4 * one.norm()


def test_a_second_map_is_made_where_there_is_one() -> None:
    mask = torch.ones(64, 64, dtype=torch.bool)
    for zoom, shape in ((1.0, (1, 8, 64, 64)), (1.5, (1, 2, 8, 64, 64))):
        kspace, _, _ = head(8, (64, 64), zoom=zoom)
        assert estimate_sensitivities(cartesian(kspace, mask), n_maps=None).shape == shape
    assert bool((espirit(central(kspace, 24)[:, :1], (64, 64), n_maps=2)[:, 1] == 0).all())
    with pytest.raises(ConfigError, match="1 or 2 maps; got 3"):
        espirit(central(kspace, 24), (64, 64), n_maps=3)


def test_espirit_refuses() -> None:
    block = torch.ones(1, 2, 8, 8, dtype=torch.complex64)
    with pytest.raises(DataFormatError, match=r"must be complex .*float32"):
        espirit(block.real, (16, 16))
    with pytest.raises(DataFormatError, match=r"\(8, 8\) is larger than the matrix \(16, 7\)"):
        espirit(block, (16, 7))
    with pytest.raises(DataFormatError, match=r"lines must be .*\(1, 2\); got \(1, 3, 8, 8\)"):
        espirit(block, (16, 16), lines=torch.ones(1, 3, 8, 8, dtype=torch.complex64))
    with pytest.raises(ConfigError, match="kernel_size"):
        espirit(block, (16, 16), kernel_size=0)


def span(region: tuple[slice, slice]) -> list[tuple[int, int]]:
    return [(axis.start, axis.stop) for axis in region]


def test_calibration_region_of_lines_and_blocks() -> None:
    lines = torch.zeros(40, 218, dtype=torch.bool)
    lines[:, 102:117] = True
    lines[:, ::7] = True
    assert span(calibration_region(lines)) == [(8, 32), (102, 117)]
    assert span(calibration_region(lines, limit=10)) == [(15, 25), (104, 114)]
    assert span(calibration_region(lines.T)) == [(102, 117), (8, 32)]
    block = torch.zeros(31, 30, dtype=torch.bool)
    block[11:20, 13:19] = True
    block[15] = True  # one long line must not win over the block
    assert span(calibration_region(block)) == [(11, 20), (13, 19)]
    assert span(calibration_region(torch.ones(3, 5, dtype=torch.bool))) == [(0, 3), (0, 5)]
    poisson = make_mask("poisson", (96, 80), 5, 16, seed=0)
    rows, columns = calibration_region(poisson)
    assert poisson[rows, columns].all()
    assert rows.start <= 40
    assert columns.stop >= 48


def test_whole_lines_end_where_the_samples_do() -> None:
    lines = torch.zeros(40, 218, dtype=torch.bool)
    lines[3:38, 102:117] = True
    lines[3:38, ::7] = True
    assert span(whole_lines(lines, calibration_region(lines))) == [(3, 38), (102, 117)]
    assert span(whole_lines(lines.T, calibration_region(lines.T))) == [(102, 117), (3, 38)]
    everything = torch.ones(50, 60, dtype=torch.bool)
    assert span(whole_lines(everything, calibration_region(everything))) == [(0, 50), (0, 60)]
    poisson = make_mask("poisson", (96, 80), 5, 16, seed=0)
    inner = calibration_region(poisson)
    outer = whole_lines(poisson, inner)
    assert poisson[outer].all()
    assert all(o.start <= i.start < i.stop <= o.stop for i, o in zip(inner, outer, strict=True))


@pytest.mark.parametrize("width", [0, 1, 3])
def test_no_calibration_lines(width: int) -> None:
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[:, ::4] = True
    mask[:, 16 : 16 + width] = True
    mask[:, 16] = width > 0
    with pytest.raises(DataFormatError, match="no calibration lines"):
        calibration_region(mask)


def test_calibrate_uses_the_calibration_lines_alone_and_keeps_given_maps() -> None:
    kspace, _, _ = head(4, (48, 60))
    mask = make_mask("equispaced", (48, 60), 4, 12, seed=0)
    scan = cartesian(kspace * mask, mask)
    rows, columns = calibration_region(mask)
    maps = estimate_sensitivities(scan)
    assert maps.shape == kspace.shape
    everything = espirit(kspace[..., rows, columns], (48, 60), lines=kspace[..., columns])
    assert torch.equal(maps, everything)
    given = torch.zeros_like(kspace)
    assert estimate_sensitivities(replace(scan, sensitivities=given)) is given


def compress(kspace: Tensor, n: int) -> Tensor:
    return coils.combine(compression(kspace, n), kspace)


def test_compression_keeps_all_energy_of_the_signal_space() -> None:
    generator = torch.Generator().manual_seed(0)
    sources = torch.randn(2, 3, 8, 9, dtype=torch.complex128, generator=generator)
    mixing = torch.randn(7, 3, dtype=torch.complex128, generator=generator)
    kspace = torch.einsum("cn,snyx->scyx", mixing, sources)
    virtual = compress(kspace, 3)
    assert virtual.shape == (2, 3, 8, 9)
    rss = kspace.abs().square().sum(1)
    assert torch.allclose(virtual.abs().square().sum(1), rss)
    energy = virtual.abs().square().sum((0, 2, 3))
    assert energy[0] > energy[1] > energy[2]
    covariance = torch.einsum("syx,syx->", virtual[:, 0], virtual[:, 1].conj())
    assert covariance.abs() < 1e-9 * energy[0]
    assert compress(kspace, 20).shape == kspace.shape
    assert (compress(0 * kspace.to(torch.complex64), 2) == 0).all()
    with pytest.raises(ConfigError, match="got 0"):
        compress(kspace, 0)


def test_whitening_undoes_the_coloring() -> None:
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn(4, 4, dtype=torch.complex128, generator=generator).tril()
    factor.diagonal().copy_(torch.tensor([1.0, 2.0, 0.5, 3.0]))
    white = torch.randn(2, 4, 5, 6, dtype=torch.complex128, generator=generator)
    colored = torch.einsum("cd,sdyx->scyx", factor, white)
    assert torch.allclose(whiten(colored, factor @ factor.mH), white)
    with pytest.raises(DataFormatError, match=r"of 4 coils must be \(4, 4\)"):
        whiten(colored, torch.eye(3))
    with pytest.raises(DataFormatError, match="not positive definite"):
        whiten(colored, torch.diag(torch.tensor([1.0, 1.0, 0.0, 1.0])))


@pytest.mark.shared
def test_measured_scan_is_explained_by_its_maps() -> None:
    path = SHARED / "brain_t1_8coil.cfl"
    if not path.exists():
        pytest.skip(f"no measured scan at {path}")
    raw = np.fromfile(path, dtype=np.complex64).reshape((230, 180, 8), order="F")
    kspace = torch.from_numpy(raw).permute(2, 0, 1)[None].contiguous()
    mask = make_mask("equispaced-fraction", (230, 180), 6, 14, seed=0)
    maps = estimate_sensitivities(cartesian(kspace * mask, mask))
    images = coil_images(kspace)
    explained = combine(images, maps)[0].abs()
    rss = images[0].abs().square().sum(0).sqrt()
    head_only = rss > 0.1 * rss.max()
    assert explained[head_only].norm() > 0.995 * rss[head_only].norm()
    assert largest_phase_step(maps[0], head_only[None] & (maps[0].abs() > 0.1)) < 1
