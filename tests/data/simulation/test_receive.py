"""Receive arrays: Biot-Savart against closed forms, agreement between resolutions, and coil noise."""

from __future__ import annotations

import math

import pytest
import torch

from laminar.data.simulation import receive
from laminar.data.simulation.receive import (
    ARRAYS,
    MU0,
    circular_loop,
    colored_noise,
    loop_field,
    noise_covariance,
    sensitivities,
)
from laminar.errors import ConfigError


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("radius", [0.04, 0.3])
def test_field_on_the_axis(radius: float) -> None:
    """B = mu0 R^2 / (2 (R^2 + d^2)^(3/2)) along the normal, for any position and direction of the loop."""
    center, normal = vector(0.1, -0.2, 0.05), vector(1.0, 2.0, -2.0) / 3
    distance = vector(-0.5, -0.1, 0.0, 0.02, 0.3, 1.0)
    field = loop_field(center + distance[:, None] * normal, circular_loop(center, normal, radius))[0]
    expected = MU0 * radius**2 / (2 * (radius**2 + distance**2) ** 1.5)
    torch.testing.assert_close(field, expected[:, None] * normal, rtol=1e-12, atol=1e-20)


def test_field_far_away_is_a_dipole() -> None:
    radius, point = 0.003, vector(0.6, 0.3, 0.5)
    moment, r = vector(0, 0, math.pi * radius**2), point.norm()
    dipole = MU0 / (4 * math.pi) * (3 * point * (moment @ point) / r**5 - moment / r**3)
    field = loop_field(point[None], circular_loop(vector(0, 0, 0), vector(0, 0, 1), radius))[0, 0]
    torch.testing.assert_close(field, dipole, rtol=2e-3, atol=0)


def test_field_obeys_ampere_and_gauss() -> None:
    """Around the wire the circulation is mu0 I; the flux through a closed cube is zero."""
    loop = circular_loop(vector(0, 0, 0), vector(0, 0, 1), 0.2)
    angle = torch.arange(200, dtype=torch.float64) * (2 * math.pi / 200)
    zero = torch.zeros_like(angle)
    ring = torch.stack([0.2 + 0.1 * angle.cos(), zero, 0.1 * angle.sin()], -1)
    tangent = torch.stack([-0.1 * angle.sin(), zero, 0.1 * angle.cos()], -1) * (2 * math.pi / 200)
    circulation = (loop_field(ring, loop, segments=256)[0] * tangent).sum()
    assert abs(circulation) == pytest.approx(MU0, rel=1e-6)
    edge = (torch.arange(40, dtype=torch.float64) + 0.5) / 40 * 0.2 - 0.1
    a, b = torch.meshgrid(edge, edge, indexing="ij")
    flux, total = 0.0, 0.0
    for axis in range(3):
        for side in (-0.1, 0.1):
            parts = [a, b]
            parts.insert(axis, torch.full_like(a, side))
            points = torch.stack([p.flatten() for p in parts], -1) + vector(0.01, 0.02, 0.08)
            through = loop_field(points, loop, segments=64)[0, :, axis].sum() * math.copysign(1, side)
            flux, total = flux + float(through), total + abs(float(through))
    assert abs(flux) < 1e-3 * total


def test_segments_converge() -> None:
    loop = circular_loop(vector(1.2, 0, 0), vector(1, 0.2, 0), 0.5)
    points = torch.rand(50, 3, generator=seeded(0), dtype=torch.float64) * 1.2 - 0.6
    exact = loop_field(points, loop, segments=1024)
    assert (loop_field(points, loop) - exact).norm() < 1e-6 * exact.norm()


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("n_coils", [1, 5, 8, 32])
def test_sensitivities(array: str, n_coils: int) -> None:
    maps = sensitivities(n_coils, (48, 37), seeded(n_coils), array)
    assert maps.shape == (n_coils, 48, 37)
    assert maps.dtype == torch.complex64
    assert torch.isfinite(torch.view_as_real(maps)).all()
    assert maps[:, 24, 18].abs().square().sum() == pytest.approx(1.0, rel=1e-4)
    assert torch.equal(maps, sensitivities(n_coils, (48, 37), seeded(n_coils), array))
    assert not torch.equal(maps, sensitivities(n_coils, (48, 37), seeded(n_coils + 1), array))
    if n_coils > 1:  # no two coils see the same
        flat = maps.flatten(1)
        gram = (flat @ flat.mH).abs() / (flat.norm(dim=1)[:, None] * flat.norm(dim=1))
        assert (gram - torch.eye(n_coils)).max() < 0.999


@pytest.mark.parametrize("array", ARRAYS)
def test_same_array_at_another_resolution(array: str) -> None:
    coarse = sensitivities(8, (32, 48), seeded(4), array)
    fine = sensitivities(8, (96, 144), seeded(4), array)
    torch.testing.assert_close(fine[:, ::3, ::3], coarse, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("array", ["volume", "surface"])
def test_interpolation_error(array: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against 96 x 96 nodes: below 0.2 % in the disc that the object fills."""
    errors = []
    y = torch.linspace(-1, 1, 64)
    disc = y[:, None] ** 2 + y**2 < 1
    for seed in range(4):
        maps = sensitivities(12, (64, 64), seeded(seed), array) * disc
        with monkeypatch.context() as patch:
            patch.setattr(receive, "_NODES", 96)
            receive._chebyshev_matrix.cache_clear()
            exact = sensitivities(12, (64, 64), seeded(seed), array) * disc
        receive._chebyshev_matrix.cache_clear()
        errors.append(float((maps - exact).norm() / exact.norm()))
    assert 0 < max(errors) < 2e-3


def test_single_coil_is_nearly_uniform_inside() -> None:
    for seed in range(4):
        inner = sensitivities(1, (64, 64), seeded(seed))[0, 20:44, 20:44].abs()
        assert inner.max() / inner.min() < 1.6


def test_covariance_is_hermitian_positive_and_bounded() -> None:
    for n_coils in (1, 2, 8, 33):
        for seed in range(5):
            psi = noise_covariance(n_coils, seeded(seed))
            assert torch.equal(psi, psi.mH) or torch.allclose(psi, psi.mH, atol=1e-7)
            assert psi.diagonal().real.mean() == pytest.approx(1.0, abs=1e-5)
            eigenvalues = torch.linalg.eigvalsh(psi)
            assert eigenvalues.min() > 0.1
            assert eigenvalues.max() / eigenvalues.min() < 20
    assert psi[0, 1].abs() > psi[0, 2].abs() > 0


def test_noise_has_its_covariance_and_is_circular() -> None:
    psi = noise_covariance(4, seeded(1))
    noise = colored_noise((3, 4, 128, 128), psi, seeded(2))
    samples = noise.transpose(0, 1).flatten(1)
    n = samples.shape[1]
    torch.testing.assert_close(samples @ samples.mH / n, psi, atol=5 / math.sqrt(n), rtol=0)
    assert (samples @ samples.T / n).abs().max() < 6 / math.sqrt(n)
    assert torch.equal(noise, colored_noise((3, 4, 128, 128), psi, seeded(2)))


def test_no_noise() -> None:
    assert (colored_noise((2, 4, 4), torch.zeros(2, 2, dtype=torch.complex64), seeded(0)) == 0).all()


def test_bad_requests_are_named() -> None:
    with pytest.raises(ConfigError, match=r"n_coils.*got 0"):
        sensitivities(0, (32, 32), seeded(0))
    with pytest.raises(ConfigError, match=r"array.*'helmet'"):
        sensitivities(4, (32, 32), seeded(0), "helmet")
    with pytest.raises(ConfigError, match=r"coil.*4.*\(3, 8, 8\)"):
        colored_noise((3, 8, 8), torch.eye(4, dtype=torch.complex64), seeded(0))
