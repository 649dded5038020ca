"""From an acquisition to the normalized inverse problem that every method solves: one way for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from laminar.acquisition import Acquisition
from laminar.data.coils import calibration_region, estimate_sensitivities
from laminar.data.cropping import crop_readout
from laminar.data.noise import estimate_noise_std
from laminar.errors import ConfigError, DataFormatError
from laminar.operators import Encoding, LinearOperator, ifft2c

SCALE_QUANTILE = 0.99


@dataclass(frozen=True, eq=False)
class Problem:
    """`y = A x + n` in units in which the image is about one.

    `y` complex64 (batch, ...); `operator` is A; `noise_level` (batch,), sigma per complex sample in these units;
    `scale` (batch,): image in the units of the file = scale * image in these units.
    """

    y: Tensor
    operator: LinearOperator
    noise_level: Tensor
    scale: Tensor

    def to(self, device: torch.device | str) -> Problem:
        return Problem(self.y.to(device), self.operator.to(device), self.noise_level.to(device), self.scale.to(device))

    @property
    def samples(self) -> int:
        """The number of measured entries of y, over the whole batch."""
        sampled = self.operator.sampled
        return self.y.numel() if sampled is None else int(sampled.expand(self.y.shape).sum())

    @property
    def encoding(self) -> Encoding:
        """The operator as the multi-coil Cartesian one. Raises ConfigError if it is another."""
        if not isinstance(self.operator, Encoding):
            raise ConfigError(
                "this needs a multi-coil Cartesian scan, with mask and sensitivities; "
                f"got an operator of type {type(self.operator).__name__}"
            )
        return self.operator

    @staticmethod
    def stack(problems: Sequence[Problem]) -> Problem:
        """One batch of problems of the same sizes and kind of operator."""
        first = problems[0].operator
        return Problem(
            torch.cat([problem.y for problem in problems]),
            first.stack([problem.operator for problem in problems]),
            torch.cat([problem.noise_level for problem in problems]),
            torch.cat([problem.scale for problem in problems]),
        )


def prepare(acquisition: Acquisition) -> Problem:
    """The inverse problem of an acquisition, one batch entry a slice.

    Sensitivities come from the scan, brought to `sum_coil |S|^2 = 1` where they are not zero, or from its
    calibration region (ESPIRiT); the noise level from the scan or from its k-space. The scale is the 0.99 quantile
    of the root-sum-of-squares image of the calibration region alone, so that it does not depend on the
    acceleration; a scan that brings sensitivities and has no calibration region takes all its samples. A slice
    without signal keeps scale 1. All is computed after a division by a power of two that brings k-space to about
    one, so that a factor of k-space is a factor of the image, from 1e-37 to 1e37. Raises DataFormatError if there
    are neither sensitivities nor calibration lines.
    """
    mask, given, noise = acquisition.mask, acquisition.sensitivities, acquisition.noise_std
    if noise is None:
        noise = estimate_noise_std(acquisition.kspace, mask)
    unit = magnitude(acquisition.kspace)
    acquisition = replace(acquisition, kspace=acquisition.kspace / unit[:, None, None, None])
    sensitivities = estimate_sensitivities(acquisition) if given is None else _unit_power(given)
    scale = _scale(acquisition)
    batch_mask = mask.expand(len(unit), *mask.shape)
    y, level = acquisition.kspace / scale[:, None, None, None], (noise / unit.double() / scale).to(torch.float32)
    return Problem(y, Encoding(batch_mask, sensitivities), level, unit * scale)


def magnitude(array: Tensor) -> Tensor:
    """The power of two (batch,) next to the largest part of complex (batch, ...); 1 where all is zero."""
    largest = torch.view_as_real(array).abs().flatten(1).amax(1)
    exponent = largest.log2().round().clamp(-120, 120)
    return torch.where(largest > 0, exponent.exp2(), 1.0)


def without_oversampling(scan: Acquisition) -> Acquisition:
    """The scan with its noise level and without readout oversampling.

    In this order: the air beside the object, which shows the noise best, goes with the oversampling.
    """
    if scan.noise_std is None:
        scan = replace(scan, noise_std=estimate_noise_std(scan.kspace, scan.mask))
    return crop_readout(scan)


def _unit_power(sensitivities: Tensor) -> Tensor:
    largest = torch.view_as_real(sensitivities).abs().amax((1, -1), keepdim=True).squeeze(-1)
    sensitivities = sensitivities / torch.where(largest > 0, largest, 1)
    power = sensitivities.abs().square().sum(1, keepdim=True).sqrt()
    return torch.where(power > 0, sensitivities / power, 0)


def _scale(acquisition: Acquisition) -> Tensor:
    block = acquisition.kspace
    try:
        rows, columns = calibration_region(acquisition.mask)
        block = block[..., rows, columns]
    except DataFormatError:
        if acquisition.sensitivities is None:
            raise
    image = ifft2c(block).abs().square().sum(1).sqrt()
    shrink = (block.shape[-2] * block.shape[-1] / acquisition.mask.numel()) ** 0.5
    scale = shrink * image.flatten(1).quantile(SCALE_QUANTILE, dim=1)
    return torch.where(scale > 0, scale, 1.0)
