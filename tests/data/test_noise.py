"""The noise estimate against the noise that was added, and against air in measured scans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from analytic_head import add_noise, head

from laminar.data.config import SamplingConfig, SimulationConfig
from laminar.data.masks import make_mask
from laminar.data.noise import estimate_noise_std
from laminar.data.simulated import Phantoms, SimulationStream
from laminar.errors import DataFormatError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "raw"
SAMPLINGS = [("random", 1, 0, -1), ("equispaced-fraction", 4, 14, -1), ("equispaced-fraction", 6, 14, -2)]


@pytest.mark.parametrize(("kind", "acceleration", "lines", "axis"), [*SAMPLINGS, ("poisson", 6, 18, -1)])
@pytest.mark.parametrize("snr", [10, 30, 100])
def test_added_noise_is_found(kind: str, acceleration: float, lines: int, axis: int, snr: float) -> None:
    kspace, _, inside = head(8, (160, 144))
    # The transform is unitary: SNR is the RMS of the combined image inside the head over sigma.
    sigma = float(kspace.norm() / inside.sum().sqrt()) / snr
    mask = make_mask(kind, (160, 144), acceleration, lines, seed=1, axis=axis)
    estimate = estimate_noise_std(add_noise(kspace, sigma) * mask, mask)
    assert estimate == pytest.approx(sigma, rel=0.15)


def test_zero_padding_slices_and_scale_do_not_matter() -> None:
    kspace, _, inside = head(4, (128, 96))
    sigma = float(kspace.norm() / inside.sum().sqrt()) / 30
    mask = torch.zeros(128, 96, dtype=torch.bool)
    mask[10:, 16:80] = True
    noisy = add_noise(kspace.expand(9, -1, -1, -1), sigma) * mask
    estimate = estimate_noise_std(noisy, mask)
    assert estimate == pytest.approx(sigma, rel=0.15)
    assert estimate_noise_std(1e-12 * noisy, mask) == pytest.approx(1e-12 * estimate, rel=1e-6)
    assert estimate_noise_std(0 * noisy, mask) == 0


@pytest.mark.parametrize("window", [torch.hann_window, torch.hamming_window, None])
def test_filtered_or_padded_kspace_has_the_noise_of_its_center(window: Callable[..., torch.Tensor] | None) -> None:
    """Its edge, and the air, show 6 to 1000 times less."""
    kspace, _, inside = head(4, (128, 96))
    sigma = float(kspace.norm() / inside.sum().sqrt()) / 30
    if window is not None:
        weight = window(130, periodic=False)[1:-1, None] * window(98, periodic=False)[1:-1]
        shown = add_noise(kspace, sigma) * weight
    else:
        shown = torch.nn.functional.pad(add_noise(kspace, sigma), (20, 20, 30, 30))
    estimate = estimate_noise_std(shown, torch.ones(shown.shape[-2:], dtype=torch.bool))
    assert estimate == pytest.approx(sigma, rel=0.15)


def test_pure_noise_of_unequal_coils() -> None:
    stds = torch.tensor([1.0, 1.5, 2.0])[:, None, None]
    kspace = stds * add_noise(torch.zeros(1, 3, 64, 64, dtype=torch.complex64), 1.0)
    mask = torch.ones(64, 64, dtype=torch.bool)
    assert estimate_noise_std(kspace, mask) == pytest.approx((7.25 / 3) ** 0.5, rel=0.15)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 2, 3, 1), (1, 1, 5, 200)])
def test_tiny_scans_have_some_estimate(shape: tuple[int, int, int, int]) -> None:
    kspace = add_noise(torch.zeros(shape, dtype=torch.complex64), 1.0)
    assert 0 < estimate_noise_std(kspace, torch.ones(shape[2:], dtype=torch.bool)) < 4


def test_unfit_mask_is_refused() -> None:
    kspace = torch.ones(1, 2, 8, 8, dtype=torch.complex64)
    for mask in (torch.ones(8, 7, dtype=torch.bool), torch.zeros(8, 8, dtype=torch.bool)):
        with pytest.raises(DataFormatError, match="noise needs k-space"):
            estimate_noise_std(kspace, mask)


@pytest.mark.shared
@pytest.mark.parametrize(("kind", "acceleration", "lines", "axis"), [*SAMPLINGS, ("poisson", 6, 18, -1)])
def test_measured_scan_against_its_corners(kind: str, acceleration: float, lines: int, axis: int) -> None:
    path = SHARED / "brain_t1_8coil.cfl"
    if not path.exists():
        pytest.skip(f"no measured scan at {path}")
    matrix = (230, 180)
    raw = np.fromfile(path, dtype=np.complex64).reshape((*matrix, 8), order="F")
    kspace = torch.from_numpy(raw).permute(2, 0, 1)[None].contiguous()
    image = torch.fft.ifft2(torch.fft.ifftshift(kspace, dim=(-2, -1)), norm="ortho")
    image = torch.fft.fftshift(image, dim=(-2, -1))
    air = float(image[..., :14, :14].abs().square().mean().sqrt())
    mask = make_mask(kind, matrix, acceleration, lines, seed=0, axis=axis)
    assert estimate_noise_std(kspace * mask, mask) == pytest.approx(air, rel=0.15)


@pytest.mark.parametrize("coils", [1, 2, 4])
def test_a_signal_that_is_not_of_low_rank_is_no_noise(coils: int) -> None:
    """Few coils do not make patches depend on each other: what no rank explains was once taken for noise, up to 400
    times what there is. Objects that fill the field of view, of much detail, leave no place without signal either."""
    simulation = SimulationConfig(coils=(coils, coils), noise_std=(0.01, 0.01), matrices=[(96, 96), (128, 96)])
    stream = SimulationStream(Phantoms("mixed", simulation.matrices), simulation, SamplingConfig(), 2, seed=0)
    for index in range(6):
        record = stream.record(index)
        for scan, mask in zip(record.scans, record.masks, strict=True):
            assert 0.008 < estimate_noise_std((scan.kspace * mask)[None], mask) < 0.15


@pytest.mark.parametrize("snr", [10, 100])
def test_one_coil_eight_times_louder(snr: float) -> None:
    """Its noise is no signal of low rank. Left alone, the estimate is three times too low."""
    kspace, _, inside = head(8, (160, 144))
    sigma = float(kspace.norm() / inside.sum().sqrt()) / snr
    gain = torch.ones(8, 1, 1)
    gain[3] = 8
    mask = make_mask("equispaced-fraction", (160, 144), 4, 14, seed=1)
    estimate = estimate_noise_std(gain * add_noise(kspace, sigma) * mask, mask)
    assert estimate == pytest.approx(sigma * float(gain.square().mean().sqrt()), rel=0.2)
