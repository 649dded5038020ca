"""The unrolled network: cascades of a regularizer and a data step, read as Euler steps of a flow."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from laminar.errors import ConfigError
from laminar.flow import Trajectory, power_schedule
from laminar.models.coefficients import FlowCoefficients, FreeCoefficients
from laminar.models.config import RegularizerConfig, UnrolledConfig
from laminar.networks import CNN, UNet
from laminar.operators import LinearOperator, solve


class UnrolledNetwork(nn.Module):
    """An unrolled reconstruction network with its trajectory.

    Each cascade estimates the image, `D = x - R(x, t)`, brings in the data, and takes the Euler step in the
    residual form `x <- (1 - h) x + h x0_hat`, from the source at t = 1 to the image at t = 0 (the gradient step
    does both at once, see `laminar.flow.cascade`).

    `regularizer` is any `nn.Module` with the signature `R(x, t)`: complex (batch, y, x) and (batch,) to complex
    (batch, y, x); it is copied for every cascade unless `shared=True`. Without it, `config.regularizer` is built.
    The other settings are those of `UnrolledConfig`. Raises ConfigError for settings that do not exist or fit.
    """

    def __init__(
        self, regularizer: nn.Module | None = None, config: UnrolledConfig | None = None, **settings: Any
    ) -> None:
        super().__init__()
        self.config = (config or UnrolledConfig()).changed(**settings)
        if regularizer is not None:
            self.config = replace(self.config, regularizer=RegularizerConfig(kind="custom"))
        self.coefficients = _coefficients(self.config)
        count = 1 if self.config.shared else self.config.n_cascades
        self.regularizers = nn.ModuleList(
            _regularizer(self.config) if regularizer is None else copy.deepcopy(regularizer) for _ in range(count)
        )

    @overload
    def forward(
        self,
        y: Tensor,
        operator: LinearOperator,
        noise_level: Tensor | None = ...,
        return_trajectory: Literal[False] = ...,
    ) -> Tensor: ...
    @overload
    def forward(
        self,
        y: Tensor,
        operator: LinearOperator,
        noise_level: Tensor | None,
        return_trajectory: Literal[True],
    ) -> Trajectory: ...
    def forward(
        self,
        y: Tensor,
        operator: LinearOperator,
        noise_level: Tensor | None = None,
        return_trajectory: bool = False,
    ) -> Tensor | Trajectory:
        """Reconstruct the measurement `y` (batch, ...) of `operator`: the image (batch, y, x), or its Trajectory.

        `noise_level` (batch,) is sigma per complex sample of `y`; None means noiseless up to `noise_floor`.
        """
        trajectory = self.trajectory(y, operator, noise_level)
        return trajectory if return_trajectory else trajectory.image

    def trajectory(self, y: Tensor, operator: LinearOperator, noise_level: Tensor | None = None) -> Trajectory:
        back_projection = operator.adjoint(y)
        if noise_level is None:
            noise_level = torch.zeros(len(y))
        noise_level = noise_level.to(back_projection.real)
        values = self.coefficients(noise_level)
        states, endpoints = [self.source(back_projection, operator, noise_level)], []
        for k in range(self.config.n_cascades):
            x = states[-1]
            time = values.conditioning[k].expand(len(x))
            denoised = x - self.regularizers[0 if self.config.shared else k](x, time)
            step, data = values.steps[k], values.data[k].view(-1, *[1] * (x.ndim - 1))
            if self.config.data_step == "gradient":
                gradient = operator.gram(x) - back_projection
                states.append((1 - step) * x + step * denoised - data * gradient)
                endpoints.append(denoised - data / step * gradient)
            else:
                endpoints.append(self._endpoint(denoised, data, operator, back_projection))
                states.append((1 - step) * x + step * endpoints[-1])
        return Trajectory(states, endpoints, values.times, self.config.n_cascades)

    def source(self, back_projection: Tensor, operator: LinearOperator, noise_level: Tensor) -> Tensor:
        """The image at t = 1: `A^H y`, or the Tikhonov CG-SENSE `(A^H A + w I)^(-1) A^H y`.

        `w = (sigma^2 + floor^2) / source_std^2`, the weight of a prior image of that standard deviation.
        """
        if self.config.source == "zero-filled":
            return back_projection
        variance = noise_level**2 + self.config.noise_floor**2
        weight = (variance / self.config.source_std**2).view(-1, *[1] * (back_projection.ndim - 1))
        return solve(lambda x: operator.gram(x) + weight * x, back_projection, iterations=self.config.source_iterations)

    def _endpoint(self, denoised: Tensor, data: Tensor, operator: LinearOperator, back_projection: Tensor) -> Tensor:
        if self.config.data_step == "proximal":
            return solve(
                lambda x: operator.gram(x) + data * x,
                back_projection + data * denoised,
                start=denoised,
                iterations=self.config.cg_iterations,
                tolerance=self.config.cg_tolerance,
            )
        return denoised - data * (operator.gram(denoised) - back_projection)


def _coefficients(config: UnrolledConfig) -> FreeCoefficients | FlowCoefficients:
    if config.coefficients == "free":
        return FreeCoefficients(config.n_cascades, config.data_step, config.data_weight)
    return FlowCoefficients(
        power_schedule(config.n_cascades, config.schedule_alpha, config.schedule_dense_at),
        config.data_step,
        prior_std=config.prior_std,
        floor=config.noise_floor,
        learn_prior_std=config.learn_prior_std or config.coefficients == "learned",
        learn_schedule=config.coefficients == "learned",
    )


def _regularizer(config: UnrolledConfig) -> nn.Module:
    options = config.regularizer
    if options.kind == "unet":
        return UNet(options.channels, options.fold, time_embedding=config.shared)
    if options.kind == "cnn":
        return CNN(options.channels[0], options.depth, time_embedding=config.shared)
    raise ConfigError("a network with a custom regularizer needs the module: UnrolledNetwork(regularizer=module)")
