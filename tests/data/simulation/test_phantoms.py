"""Phantoms: determinism, range, background, agreement between resolutions, spectra and variety."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from laminar.data.simulation.contrast import TISSUES, draw_contrast
from laminar.data.simulation.fields import Canvas, Frame
from laminar.data.simulation.phantoms import ANATOMIES, phantom
from laminar.errors import ConfigError

SHARED = Path(__file__).parents[4] / "shared" / "data"


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sampled(image: Tensor, factor: int = 2) -> Tensor:
    """The image that a scan with `factor` times fewer points a side would see."""
    height, width = image.shape
    k = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(image)))
    top, left = height // 2 - height // factor // 2, width // 2 - width // factor // 2
    k = k[top : top + height // factor, left : left + width // factor]
    image = torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(k)))
    return image / factor**2


def spectral_slope(image: np.ndarray) -> float:
    """Exponent of the radially averaged power spectrum between 0.04 and 0.4 cycles a pixel."""
    height, width = image.shape
    window = np.hanning(height)[:, None] * np.hanning(width)
    power = np.abs(np.fft.fft2(image * window)) ** 2
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    edges = np.linspace(0.04, 0.4, 16)
    mean = [power[(f >= a) & (f < b)].mean() for a, b in itertools.pairwise(edges)]
    return float(np.polyfit(np.log((edges[:-1] + edges[1:]) / 2), np.log(mean), 1)[0])


def gradient_kurtosis(image: np.ndarray) -> float:
    """Fourth moment of the derivatives inside the body over the square of the second; 3 for Gaussian ones."""
    body = image > 0.05 * np.percentile(image, 99.5)
    g = np.concatenate([d[body] for d in np.gradient(image)])
    return float((g**4).mean() / (g**2).mean() ** 2)


@pytest.mark.parametrize("anatomy", [*ANATOMIES, "mixed"])
@pytest.mark.parametrize("matrix", [(128, 128), (96, 161)])
def test_is_a_finite_complex_image_on_an_empty_background(anatomy: str, matrix: tuple[int, int]) -> None:
    images = [phantom(anatomy, matrix, seeded(seed)) for seed in range(8)]
    for image in images:
        assert image.shape == matrix
        assert image.dtype == torch.complex64
        assert torch.isfinite(torch.view_as_real(image)).all()
        assert 0.5 < image.abs().max() < 3.0
        assert (image.abs() > 0.02).float().mean() > 0.1
    background = [float((image == 0).float().mean()) for image in images]
    assert np.median(background) > 0.1


@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_seed_decides(anatomy: str) -> None:
    first, again, other = (phantom(anatomy, (64, 64), seeded(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert (first - other).abs().mean() > 0.02


@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_same_anatomy_at_another_resolution(anatomy: str) -> None:
    for seed in range(3):
        fine = sampled(phantom(anatomy, (512, 512), seeded(seed)), 4).abs()
        coarse = sampled(phantom(anatomy, (256, 256), seeded(seed)), 2).abs()
        other = sampled(phantom(anatomy, (256, 256), seeded(seed + 100)), 2).abs()
        assert (fine - coarse).norm() < 0.12 * fine.norm()
        assert (fine - other).norm() > 0.3 * fine.norm()


def test_number_of_draws_does_not_depend_on_the_grid() -> None:
    small, large = seeded(3), seeded(3)
    phantom("mixed", (64, 64), small)
    phantom("mixed", (200, 200), large)
    assert torch.equal(small.get_state(), large.get_state())


def test_spectra_and_edges_are_like_those_of_scans() -> None:
    """Ranges that enclose the measured scans: slope -2.0 to -3.1, kurtosis of gradients 5 to 12."""
    images = [sampled(phantom("brain", (256, 256), seeded(seed))).abs().numpy() for seed in range(24)]
    assert -3.2 < np.median([spectral_slope(image) for image in images]) < -1.8
    assert 4.5 < np.median([gradient_kurtosis(image) for image in images]) < 13


@pytest.mark.shared
@pytest.mark.skipif(not (SHARED / "brain_t2_val.h5").exists(), reason="the real scans are not beside the checkout")
def test_statistics_against_real_scans() -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(SHARED / "brain_t2_val.h5") as file:
        pairs = file["image"][...].astype(np.float32)
    real = [sampled(torch.complex(*torch.from_numpy(p).unbind(-1))).abs().numpy() for p in pairs]
    made = [sampled(phantom("brain", (256, 256), seeded(seed))).abs().numpy() for seed in range(24)]
    slopes = [np.median([spectral_slope(image) for image in images]) for images in (real, made)]
    kurtoses = [np.median([gradient_kurtosis(image) for image in images]) for images in (real, made)]
    assert abs(slopes[0] - slopes[1]) < 0.6
    assert 0.6 < kurtoses[0] / kurtoses[1] < 1.6


def test_noise_has_unit_variance_and_its_slope() -> None:
    fields = torch.stack([Canvas((128, 128), seeded(seed)).noise(1.0, 2.0, 40.0) for seed in range(60)])
    assert fields.mean().abs() < 0.05
    assert fields.std() == pytest.approx(1.0, abs=0.06)
    window = torch.hann_window(128)[:, None] * torch.hann_window(128)
    power = torch.fft.fft2(fields * window).abs().square().mean(0)
    f = torch.hypot(torch.fft.fftfreq(128)[:, None], torch.fft.fftfreq(128)) * 128
    rings = [float(power[(f - k).abs() < 1.5].mean()) for k in (8, 16, 32)]
    assert math.log2(rings[0] / rings[1]) == pytest.approx(2.0, abs=0.25)
    assert math.log2(rings[1] / rings[2]) == pytest.approx(2.0, abs=0.25)
    assert power[f > 50].mean() < 1e-3 * rings[2]


def test_noise_is_the_same_function_on_every_grid() -> None:
    coarse = Canvas((64, 64), seeded(1)).noise(1.0, 1.0, 20.0)
    fine = Canvas((128, 128), seeded(1)).noise(1.0, 1.0, 20.0)
    wide = Canvas((64, 96), seeded(1)).noise(1.0, 1.0, 20.0)
    torch.testing.assert_close(fine[::2, ::2], coarse, atol=2e-5, rtol=0)
    torch.testing.assert_close(wide[:, 16:-16], coarse, atol=2e-5, rtol=0)


def test_distances() -> None:
    canvas = Canvas((400, 400), seeded(0))
    frame = Frame(canvas.x.expand(400, 400), canvas.y.expand(400, 400), canvas.pixel)
    radius = torch.hypot(frame.u - 0.1, frame.v + 0.2)
    near = (radius - 0.5).abs() < 0.02
    torch.testing.assert_close(frame.ellipse(0.1, -0.2, 0.5, 0.5)[near], (0.5 - radius)[near], atol=2e-3, rtol=0)
    area = frame.inside(frame.ellipse(0.1, -0.2, 0.6, 0.3, 0.7)).sum() * canvas.pixel**2
    assert area == pytest.approx(math.pi * 0.6 * 0.3, rel=0.02)
    assert frame.segment((0.0, 0.0), (0.5, 0.0))[200, 0] == pytest.approx(1.0)
    stripes = torch.sin(math.pi * frame.u / 0.1)
    expected = 0.1 / math.pi * torch.asin(stripes.abs().clamp(max=1))
    torch.testing.assert_close(frame.line_distance(stripes, 0.1)[1:-1, 1:-1], expected[1:-1, 1:-1], atol=1e-3, rtol=0)


def test_contrasts_follow_the_physics() -> None:
    for seed in range(5):
        weights = {
            name: draw_contrast(Canvas((16, 16), seeded(seed)), {name: 1.0}, 0.0)
            for name in ("t1", "t2", "flair", "mprage")
        }
        assert weights["t1"]["white"] > weights["t1"]["csf"]
        assert weights["mprage"]["white"] > weights["mprage"]["grey"] > weights["mprage"]["csf"] - 0.35
        assert weights["t2"]["csf"] > weights["t2"]["grey"] > weights["t2"]["muscle"]
        assert abs(weights["flair"]["csf"]) < weights["flair"]["lesion"]
        assert all(values["air"] == 0 and set(values) == set(TISSUES) for values in weights.values())
        assert all(max(map(abs, values.values())) <= 1.2 + 1e-6 for values in weights.values())


def test_fat_suppression() -> None:
    draw = {p: draw_contrast(Canvas((16, 16), seeded(2)), {"pd": 1.0}, p) for p in (0.0, 1.0)}
    assert draw[1.0]["fat"] / draw[1.0]["muscle"] < 0.4 * draw[0.0]["fat"] / draw[0.0]["muscle"]


def test_bad_requests_are_named() -> None:
    with pytest.raises(ConfigError, match=r"anatomy.*brain.*'liver'"):
        phantom("liver", (64, 64), seeded(0))
    with pytest.raises(ConfigError, match=r"matrix.*\(8, 64\)"):
        phantom("brain", (8, 64), seeded(0))
