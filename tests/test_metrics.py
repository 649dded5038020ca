"""Metrics against scikit-image and the fastMRI package, their gradients and their errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity

from laminar.errors import ConfigError, DataFormatError
from laminar.metrics import fastmri_metrics, fastmri_metrics_per_slice, nmse, nrmse, psnr, ssim


def volumes(scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth random target (3, 24, 31) and a noisy image of it, float64, not square on purpose."""
    generator = torch.Generator().manual_seed(7)
    noise = torch.rand(2, 3, 24, 31, generator=generator, dtype=torch.float64)
    target = torch.nn.functional.avg_pool2d(noise[0], 3, stride=1, padding=1)
    return scale * (target + 0.05 * noise[1]), scale * target


@pytest.mark.parametrize("data_range", [0.7, 1.0, 3.0])
def test_metrics_equal_scikit_image(data_range: float) -> None:
    image, target = volumes()
    for measure, oracle in (
        (psnr(image, target, data_range, per_slice=True), peak_signal_noise_ratio),
        (ssim(image, target, data_range, per_slice=True), structural_similarity),
    ):
        expected = [oracle(t.numpy(), i.numpy(), data_range=data_range) for i, t in zip(image, target, strict=True)]
        np.testing.assert_allclose(measure.numpy(), expected, rtol=0, atol=1e-10)
    assert ssim(image, target, data_range) == ssim(image, target, data_range, per_slice=True).mean()
    expected_psnr = peak_signal_noise_ratio(target.numpy(), image.numpy(), data_range=data_range)
    assert float(psnr(image, target, data_range)) == pytest.approx(expected_psnr, abs=1e-10)
    expected_nrmse = normalized_root_mse(target.numpy(), image.numpy())
    assert float(nrmse(image, target)) == pytest.approx(expected_nrmse, abs=1e-12)


def test_metrics_do_not_depend_on_the_unit() -> None:
    """Raw scans have magnitudes like 1e-9: squares of squares of them must not underflow in float32."""
    image, target = volumes()
    small_image, small_target = (1e-9 * volume.float() for volume in (image, target))
    assert float(ssim(small_image, small_target, 1e-9)) == pytest.approx(float(ssim(image, target, 1.0)), abs=1e-5)
    assert float(psnr(small_image, small_target, 1e-9)) == pytest.approx(float(psnr(image, target, 1.0)), abs=1e-3)
    assert float(nmse(small_image, small_target)) == pytest.approx(float(nmse(image, target)), rel=1e-4)


def test_one_data_range_per_slice_is_that_of_each_slice() -> None:
    image, target = volumes()
    ranges = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    for metric in (psnr, ssim):
        together = metric(image, target, ranges, per_slice=True)
        alone = [metric(i, t, float(r)) for i, t, r in zip(image, target, ranges, strict=True)]
        torch.testing.assert_close(together, torch.stack(alone))


def test_fastmri_metrics_equal_the_fastmri_package() -> None:
    evaluate = pytest.importorskip("fastmri.evaluate", reason="the oracle; `make setup` installs it")
    image, target = volumes(scale=3e-4)
    found = fastmri_metrics(image, target)
    assert set(found) == {"psnr", "ssim", "nmse", "object_psnr"}
    inside = target > 0.05 * target.max()
    error = (image - target)[inside].square().mean() / target.max() ** 2
    assert found.pop("object_psnr") == pytest.approx(float(-10 * error.log10()))
    for name, value in found.items():
        expected = float(getattr(evaluate, name)(target.numpy(), image.numpy()).squeeze())
        assert value == pytest.approx(expected, rel=1e-10), name


def test_fastmri_metrics_per_slice_use_the_range_of_the_volume() -> None:
    image, target = volumes()
    target[0] *= 0.1
    volume, slices = fastmri_metrics(image, target), fastmri_metrics_per_slice(image, target)
    assert np.mean(slices["ssim"]) == pytest.approx(volume["ssim"])
    peak = float(target.max())
    assert slices["psnr"] == [pytest.approx(float(psnr(i, t, peak))) for i, t in zip(image, target, strict=True)]
    # The volume's error is the mean of the slices' mean squared errors, not of their decibels.
    mean_square = np.mean([10 ** (-value / 10) for value in slices["psnr"]])
    assert volume["psnr"] == pytest.approx(-10 * math.log10(mean_square))


def test_ssim_loss_has_the_right_gradient_and_leads_to_the_target() -> None:
    image, target = (volume[:1, :9, :8] for volume in volumes())
    assert torch.autograd.gradcheck(lambda x: 1 - ssim(x, target, 0.8), image.clone().requires_grad_())
    assert float(ssim(target, target, 0.8)) == pytest.approx(1.0, abs=1e-12)
    assert math.isinf(float(psnr(target, target, 0.8)))


@pytest.mark.parametrize(
    ("image", "target", "said"),
    [
        (torch.ones(1, 8, 8), torch.ones(1, 8, 9), r"\(1, 8, 8\) and \(1, 8, 9\)"),
        (torch.ones(1, 8, 8, dtype=torch.complex64), torch.ones(1, 8, 8), "complex64"),
        (torch.ones(1, 1, 8, 8), torch.ones(1, 1, 8, 8), r"\(slice, y, x\)"),
        (torch.ones(1, 6, 8), torch.ones(1, 6, 8), "7 x 7"),
        (torch.ones(1, 8, 8), torch.zeros(1, 8, 8), "positive"),
        (torch.ones(0, 8, 8), torch.ones(0, 8, 8), "got"),
    ],
)
def test_images_that_cannot_be_compared_are_refused(image: torch.Tensor, target: torch.Tensor, said: str) -> None:
    with pytest.raises(DataFormatError, match=said):
        fastmri_metrics(image, target)


@pytest.mark.parametrize("data_range", [0.0, -1.0, float("nan"), torch.ones(2), torch.ones(3)])
def test_a_data_range_that_makes_no_sense_is_refused(data_range: float | torch.Tensor) -> None:
    with pytest.raises(ConfigError):
        psnr(*volumes(), data_range)
