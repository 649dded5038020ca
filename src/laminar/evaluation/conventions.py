"""What toolkits and challenges mean by PSNR, SSIM and NMSE: the same images get other numbers from each.

A convention takes a prediction and a reference, real (slice, y, x) of equal shape, and computes in float64. Golden
values by each one's own code are in results/metric_parity.json (`python -m benchmarks.metric_parity`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from laminar.errors import DataFormatError
from laminar.metrics import fastmri_metrics, fastmri_metrics_per_slice, nmse, psnr, ssim
from laminar.statistics import quantile


@dataclass(frozen=True)
class VolumeScore:
    """The metrics of one volume, such as `psnr` (dB), `ssim` and `nmse`, for all of it and for each slice."""

    volume: Mapping[str, float]
    slices: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Convention:
    """`score(prediction, reference)`, and in a line what it does, to stand below every table."""

    statement: str
    score: Callable[[Tensor, Tensor], VolumeScore]


def _fastmri(image: Tensor, truth: Tensor) -> VolumeScore:
    return VolumeScore(fastmri_metrics(image, truth), fastmri_metrics_per_slice(image, truth))


def _atommic(image: Tensor, truth: Tensor) -> VolumeScore:
    image, truth = image.double(), truth.double()
    spread = torch.stack([image.max() - image.min(), truth.max() - truth.min()]).max()
    if not spread > 0:
        raise DataFormatError("prediction and reference are constant: there is no data range")
    ranges = {"psnr": float(spread), "ssim": float(spread.clamp_min(1))}

    def values(*, per_slice: bool) -> dict[str, Tensor]:
        return {
            "psnr": psnr(image, truth, ranges["psnr"], per_slice=per_slice),
            "ssim": ssim(image, truth, ranges["ssim"], per_slice=per_slice),
            "nmse": nmse(image, truth, per_slice=per_slice),
        }

    volume = {name: float(value) for name, value in values(per_slice=False).items()}
    return VolumeScore(volume, {name: value.tolist() for name, value in values(per_slice=True).items()})


Normalize = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def _slice_by_slice(
    normalize: Normalize, *, both: bool, names: Sequence[str] = ("psnr", "ssim", "nmse")
) -> Callable[[Tensor, Tensor], VolumeScore]:
    """Means over slices of normalized images; the data range is that of both images, or the reference's maximum."""

    def score(image: Tensor, truth: Tensor) -> VolumeScore:
        a, b = normalize(image.double(), truth.double())
        dark = [index for index, part in enumerate(zip(a, b, strict=True)) if not all(p.isfinite().all() for p in part)]
        if dark:
            raise DataFormatError(f"slice {dark[0]} of prediction or reference is constant: it cannot be normalized")
        high, low = (torch.stack([f(a, (1, 2)), f(b, (1, 2))]) for f in (torch.amax, torch.amin))
        ranges = high.amax(0) - low.amin(0) if both else high[1]
        values = {
            "psnr": psnr(a, b, ranges, per_slice=True),
            "ssim": ssim(a, b, ranges, per_slice=True),
            "nmse": nmse(a, b, per_slice=True),
        }
        slices = {name: values[name].tolist() for name in names}
        return VolumeScore({name: float(values[name].mean()) for name in names}, slices)

    return score


def _by_reference(image: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    peak = truth.amax((1, 2), keepdim=True)
    return image / peak, truth / peak


def _each(scale: Callable[[Tensor], Tensor]) -> Normalize:
    return lambda image, truth: (scale(image), scale(truth))


def _own_maximum(x: Tensor) -> Tensor:
    return x / x.amax((1, 2), keepdim=True)


def _standardized(x: Tensor) -> Tensor:
    return (x - x.mean((1, 2), keepdim=True)) / (x.std((1, 2), keepdim=True, correction=0) + 1e-8)


def _percentile(x: Tensor) -> Tensor:
    return x / quantile(x.abs().flatten(1), 0.995)[:, None, None]


_MEANS = "PSNR, SSIM (7 x 7 uniform) and NMSE are means over slices and frames"
CONVENTIONS = {
    "fastmri": Convention(
        "fastMRI protocol: data range = maximum of the reference volume; PSNR and NMSE over the volume; "
        "SSIM 7 x 7 uniform, averaged over slices. Beside it, object_psnr: PSNR over the pixels above 5 % of the "
        "reference's maximum",
        _fastmri,
    ),
    "calgary-campinas": Convention(
        "Calgary-Campinas protocol: each slice of both in units of the reference slice's maximum; data range = largest "
        "less least value of both; PSNR and SSIM (7 x 7 uniform) are means over slices",
        _slice_by_slice(_by_reference, both=True, names=("psnr", "ssim")),
    ),
    "cmrxrecon-2023": Convention(
        f"CMRxRecon 2023 protocol: each image in units of its own maximum; data range = 1; {_MEANS}",
        _slice_by_slice(_each(_own_maximum), both=False),
    ),
    "cmrxrecon-2024": Convention(
        "CMRxRecon 2024 protocol: each image less its mean, in units of its standard deviation; data range = maximum "
        f"of the reference; {_MEANS}",
        _slice_by_slice(_each(_standardized), both=False),
    ),
    "cmrxrecon-2025": Convention(
        "CMRxRecon 2025 protocol: each image in units of its 99.5th percentile; data range = maximum of the reference; "
        f"{_MEANS}",
        _slice_by_slice(_each(_percentile), both=False),
    ),
    "atommic": Convention(
        "ATOMMIC protocol: data range = the larger range of values of the two volumes, for SSIM at least 1; PSNR and "
        "NMSE over the volume; SSIM 7 x 7 uniform, averaged over slices",
        _atommic,
    ),
}
