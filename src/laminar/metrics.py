"""Image quality against a reference: PSNR, SSIM and NMSE of magnitude images.

Every function takes real images (slice, y, x) or one image (y, x) of equal shape. With `per_slice=True` it
returns one value a slice, (slice,); otherwise one value for the volume. All are differentiable, so that
`1 - ssim(...)` serves as a loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from laminar.errors import ConfigError, DataFormatError

if TYPE_CHECKING:
    import numpy as np

OBJECT = 0.05
"""Fraction of a reference's maximum above which a pixel belongs to the object."""
SSIM_WINDOW = 7
"""Edge of the uniform SSIM window in pixels, as in scikit-image and fastMRI."""


def nmse(image: Tensor, target: Tensor, *, per_slice: bool = False) -> Tensor:
    """Normalized mean squared error, ||image - target||^2 / ||target||^2: over the volume, or slice by slice.

    Not finite where the target is zero everywhere. Source: fastMRI, arXiv:1811.08839, section 5.
    """
    image, target = _volumes(image, target)
    axes = (1, 2) if per_slice else (0, 1, 2)
    return (image - target).square().sum(axes) / target.square().sum(axes)


def nrmse(image: Tensor, target: Tensor, *, per_slice: bool = False) -> Tensor:
    """Normalized root mean squared error, ||image - target|| / ||target||: the square root of `nmse`."""
    return nmse(image, target, per_slice=per_slice).sqrt()


def psnr(image: Tensor, target: Tensor, data_range: float | Tensor, *, per_slice: bool = False) -> Tensor:
    """Peak signal-to-noise ratio in dB, 10 log10(data_range^2 / mean |image - target|^2).

    The mean runs over the volume or over each slice: the volume's value is not the mean of its slices'.
    `data_range` is one number or, with `per_slice`, one per slice, (slice,). Infinite for equal images.
    """
    image, target = _volumes(image, target)
    peak = _data_range(data_range, image)
    if peak.numel() > 1 and not per_slice:
        raise ConfigError(f"the PSNR of a volume needs one data range; got {peak.numel()}")
    error = ((image - target) / peak).square()
    return -10 * torch.log10(error.mean((1, 2)) if per_slice else error.mean())


def object_psnr(
    image: Tensor, target: Tensor, data_range: float | Tensor, *, threshold: float = OBJECT, per_slice: bool = False
) -> Tensor:
    """PSNR in dB over the object alone: the pixels where the target is above `threshold` of its largest value.

    The air around an object, which a metric over all pixels mostly counts, says little of what a reader looks at.
    Otherwise as `psnr`; NaN for a slice without such a pixel.
    """
    image, target = _volumes(image, target)
    inside = target > threshold * target.max()
    error = ((image - target) / _data_range(data_range, image)).square() * inside
    axes = (1, 2) if per_slice else (0, 1, 2)
    return -10 * torch.log10(error.sum(axes) / inside.sum(axes))


def ssim(image: Tensor, target: Tensor, data_range: float | Tensor, *, per_slice: bool = False) -> Tensor:
    """Structural similarity in uniform 7 x 7 windows, averaged over the window positions inside each slice.

        (2 m_a m_b + C1)(2 s_ab + C2) / ((m_a^2 + m_b^2 + C1)(s_aa + s_bb + C2))

    with window means m, unbiased (co)variances s, C1 = (0.01 R)^2, C2 = (0.03 R)^2, and the data range R: one
    number, or one per slice, (slice,).
    The volume's value is the mean over slices. Equals scikit-image's `structural_similarity(win_size=7,
    data_range=R)`, hence fastMRI's. Source: Wang et al. 2004, doi:10.1109/TIP.2003.819861.
    """
    image, target = _volumes(image, target)
    if min(image.shape[1:]) < SSIM_WINDOW:
        raise DataFormatError(f"SSIM needs images of at least 7 x 7 pixels; got {tuple(image.shape[1:])}")
    peak = _data_range(data_range, image)
    values = _similarity_map(image / peak, target / peak).mean((1, 2))
    return values if per_slice else values.mean()


def fastmri_metrics(prediction: Tensor | np.ndarray, target: Tensor | np.ndarray) -> dict[str, float]:
    """The fastMRI protocol for one volume of magnitudes (slice, y, x): `psnr` in dB, `ssim` and `nmse`.

    And, beside the protocol, `object_psnr` over the pixels above 5 % of the target's maximum.
    The data range is the maximum of the target volume; PSNR and NMSE run over the whole volume, SSIM is
    averaged over slices. Computed in float64. Raises DataFormatError if the target has no positive pixel.
    Source: fastMRI, arXiv:1811.08839, and `fastmri.evaluate`.
    """
    return {name: float(value) for name, value in _fastmri(prediction, target, per_slice=False).items()}


def fastmri_metrics_per_slice(prediction: Tensor | np.ndarray, target: Tensor | np.ndarray) -> dict[str, list[float]]:
    """The values of `fastmri_metrics` slice by slice, still with the maximum of the volume as data range."""
    return {name: value.tolist() for name, value in _fastmri(prediction, target, per_slice=True).items()}


def _fastmri(prediction: Tensor | np.ndarray, target: Tensor | np.ndarray, *, per_slice: bool) -> dict[str, Tensor]:
    image, reference = _volumes(torch.as_tensor(prediction), torch.as_tensor(target))
    image, reference = image.detach().double(), reference.detach().double()
    data_range = float(reference.max())
    if not (math.isfinite(data_range) and data_range > 0):
        raise DataFormatError(f"the reference must have a positive finite maximum; it is {data_range:g}")
    ranged: dict[str, Callable[..., Tensor]] = {"psnr": psnr, "ssim": ssim, "object_psnr": object_psnr}
    values = {name: f(image, reference, data_range, per_slice=per_slice) for name, f in ranged.items()}
    return values | {"nmse": nmse(image, reference, per_slice=per_slice)}


def _similarity_map(a: Tensor, b: Tensor) -> Tensor:
    # Both images have data range 1 here: whatever the scanner's units, float32 does not underflow.
    moments = torch.stack((a, b, a * a, b * b, a * b), dim=1)
    mean_a, mean_b, aa, bb, ab = torch.nn.functional.avg_pool2d(moments, SSIM_WINDOW, stride=1).unbind(1)
    unbiased = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)
    covariance = unbiased * (ab - mean_a * mean_b)
    variances = unbiased * (aa - mean_a.square() + bb - mean_b.square())
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
    return luminance * (2 * covariance + c2) / (variances + c2)


def _volumes(image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both as (slice, y, x), checked."""
    if image.shape != target.shape:
        raise DataFormatError(
            f"image and reference must have one shape; got {tuple(image.shape)} and {tuple(target.shape)}"
        )
    for name, part in (("image", image), ("reference", target)):
        if part.is_complex():
            raise DataFormatError(f"metrics compare magnitudes: the {name} is {part.dtype}; take its abs()")
        if part.ndim not in (2, 3) or part.numel() == 0:
            raise DataFormatError(f"the {name} must be (slice, y, x) or (y, x); got {tuple(part.shape)}")
    if not (image.is_floating_point() and target.is_floating_point()):
        image, target = image.double(), target.double()
    return (image[None], target[None]) if image.ndim == 2 else (image, target)


def _data_range(data_range: float | Tensor, image: Tensor) -> Tensor:
    """As a tensor that broadcasts against (slice, y, x)."""
    peak = torch.as_tensor(data_range, dtype=image.dtype, device=image.device)
    if peak.numel() != 1 and tuple(peak.shape) != (image.shape[0],):
        raise ConfigError(
            f"data_range must be one number or one per slice, ({len(image)},); got shape {tuple(peak.shape)}"
        )
    if not bool((peak > 0).all()):
        raise ConfigError(f"data_range must be positive; got {peak.tolist()}")
    return peak.reshape(-1, 1, 1)
