"""One cascade in every form of `laminar.flow.cascade.ROWS`: each function ends in the row's formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from laminar.flow import DataStep
from laminar.operators import LinearOperator, squared_norm

Denoiser = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Measurement:
    """What the data steps know of a scan, and how exactly they solve for it.

    `y` (batch, ...), its `back_projection` `A^H y` (batch, y, x); `noise_level` (batch,), sigma per complex sample.
    For the regularizers, where the network's settings ask for it: `source` (batch, y, x) without noise, `frame`
    (batch, y, x), the smooth phase of the source, and `conditions` (batch, 2), numbers of the scan.
    """

    y: Tensor
    operator: LinearOperator
    back_projection: Tensor
    noise_level: Tensor
    cg_iterations: int
    cg_tolerance: float
    source: Tensor | None = None
    frame: Tensor | None = None
    conditions: Tensor | None = None

    def probed(self, source: Tensor) -> Tensor:
        """Numbers of order one (batch, 2): `log10(sigma + 1e-4) + 2`, and `log R - 1.2` with R as a probe finds it.

            1 / R = ||A p||^2 / ||p||^2,   p = |source| with random signs, the same for every scan

        The energy of p is spread evenly over frequencies and lies where the object is.
        """
        generator = torch.Generator().manual_seed(0)
        signs = torch.randint(0, 2, source.shape[1:], generator=generator).to(source.device)
        probe = source.abs() * (2 * signs - 1).to(source)
        share = squared_norm(self.operator.forward(probe)) / squared_norm(probe).clamp_min(1e-30)
        return torch.stack([(self.noise_level + 1e-4).log10() + 2, -share.clamp_min(1e-4).log() - 1.2], 1)

    def gradient(self, x: Tensor) -> Tensor:
        """`A^H (A x - y)`."""
        return self.operator.gram(x) - self.back_projection

    def proximal(self, center: Tensor, weight: Tensor) -> Tensor:
        """`(A^H A + w I)^(-1) (A^H y + w center)`, by conjugate gradient from the center."""
        return self.operator.solve_regularized(
            self.back_projection + weight * center,
            weight,
            center,
            iterations=self.cg_iterations,
            tolerance=self.cg_tolerance,
        )


def endpoint(data_step: DataStep, x: Tensor, denoise: Denoiser, data: Tensor, scan: Measurement) -> Tensor:
    """`x0_hat`, the image that a cascade of one of `ENDPOINT_STEPS` aims at from the state `x`."""
    denoised = denoise(x)
    if data_step == "proximal":
        return scan.proximal(denoised, data)
    if data_step == "gradient_endpoint":
        return denoised - data * scan.gradient(denoised)
    return denoised


def advance(
    data_step: DataStep, x: Tensor, denoise: Denoiser, step: Tensor, data: Tensor, scan: Measurement, last: bool
) -> Tensor:
    """The state after a cascade of one of the rows that are no Euler step towards an endpoint."""
    if data_step == "ista":
        forward = x - data * scan.gradient(x)
        return (1 - step) * forward + step * denoise(forward)
    mixed = (1 - step) * x + step * denoise(x)
    if data_step == "imex":
        return scan.proximal(mixed, data)
    if data_step in ("soft", "hard"):
        return mixed - data * scan.gradient(mixed)
    if data_step == "admm":
        return scan.proximal(mixed, data) if last else scan.proximal(2 * mixed - x, data) + (x - mixed)
    return mixed - data * scan.gradient(x)
