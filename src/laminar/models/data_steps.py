"""One cascade in every form of `laminar.flow.cascade.ROWS`: each function ends in the row's formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from laminar.flow import DataStep
from laminar.operators import LinearOperator

Denoiser = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Measurement:
    """What the data steps know of a scan, and how exactly they solve for it.

    `y` (batch, ...), its `back_projection` `A^H y` (batch, y, x); `noise_level` (batch,), sigma per complex sample;
    `seen` (batch, y, x) is the source for a regularizer that sees it, without noise.
    """

    y: Tensor
    operator: LinearOperator
    back_projection: Tensor
    noise_level: Tensor
    cg_iterations: int
    cg_tolerance: float
    seen: Tensor | None = None

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
