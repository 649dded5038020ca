"""The unrolled network: cascades of a regularizer and a data step, read as Euler steps of a flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from laminar.errors import ConfigError
from laminar.flow import (
    DATA_STEPS,
    EULER,
    TABLEAUX,
    DataStep,
    Trajectory,
    Velocity,
    integrate,
    integrate_adaptive,
    noisy,
    uniform_schedule,
)
from laminar.flow.path import per_entry
from laminar.models.checks import depth_of
from laminar.models.coefficients import CoefficientValues, FlowCoefficients, make_coefficients
from laminar.models.config import RegularizerConfig, UnrolledConfig
from laminar.models.measurement import Measurement, measure, source_of
from laminar.models.recompute import kept
from laminar.models.regularizers import make_regularizers
from laminar.networks import as_complex
from laminar.operators import LinearOperator

Edit = Callable[[int, Tensor], Tensor]


class UnrolledNetwork(nn.Module):
    """An unrolled reconstruction network with its trajectory.

    Each cascade estimates the image, `D = x - R(x, t)`, brings in the data, and takes the Euler step in the
    residual form `x <- (1 - h) x + h x0_hat`, from the source at t = 1 to the image at t = 0. Some data steps do
    both at once (`laminar.flow.data_steps`), other outer schemes than Euler take several evaluations (`solver`).

    `regularizer` is any `nn.Module` with the signature `R(x, t)`: complex (batch, y, x) and (batch,) to complex
    (batch, y, x), `R(x, t, source)` with `see_source=True`; it is copied for every cascade unless `shared=True`.
    Without it, `config.regularizer` is built.
    The other settings are those of `UnrolledConfig`. Raises ConfigError for settings that do not exist or fit.
    """

    def __init__(
        self, regularizer: nn.Module | None = None, config: UnrolledConfig | None = None, **settings: Any
    ) -> None:
        super().__init__()
        self.config = UnrolledConfig.of(config, settings)
        if regularizer is not None:
            self.config = replace(self.config, regularizer=RegularizerConfig(kind="custom"))
        self.coefficients = make_coefficients(self.config)
        self.regularizers = make_regularizers(self.config, regularizer)

    @property
    def description(self) -> str:
        config = self.config
        return (
            f"unrolled network, {config.n_cascades} cascades, data step {config.data_step}, coefficients "
            f"{config.coefficients}, regularizers {'shared' if config.shared else 'one in each cascade'}, source "
            f"{config.source}"
        )

    @property
    def data_step(self) -> DataStep:
        """The data step that the settings name."""
        return DATA_STEPS[self.config.data_step]

    @overload
    def forward(
        self,
        y: Tensor,
        operator: LinearOperator,
        noise_level: Tensor | float | None = ...,
        return_trajectory: Literal[False] = ...,
    ) -> Tensor: ...
    @overload
    def forward(
        self,
        y: Tensor,
        operator: LinearOperator,
        noise_level: Tensor | float | None,
        return_trajectory: Literal[True],
    ) -> Trajectory: ...
    def forward(
        self,
        y: Tensor,
        operator: LinearOperator,
        noise_level: Tensor | float | None = None,
        return_trajectory: bool = False,
    ) -> Tensor | Trajectory:
        """Reconstruct the measurement `y` (batch, ...) of `operator`: the image (batch, y, x), or its Trajectory.

        `noise_level`, (batch,) or a number, is sigma per complex sample of `y`, per sample of a real one; None means
        noiseless up to `noise_floor`. The image of a real `y` is real; regularizers see complex images all the same.
        """
        trajectory = self.trajectory(y, operator, noise_level)
        return trajectory if return_trajectory else trajectory.image

    def trajectory(
        self,
        y: Tensor,
        operator: LinearOperator,
        noise_level: Tensor | float | None = None,
        *,
        source: Tensor | None = None,
        generator: torch.Generator | None = None,
        edit: Edit | None = None,
        n_cascades: int | None = None,
        recompute: bool = False,
    ) -> Trajectory:
        """All states from the source to the image.

        `source` replaces the configured one; otherwise `generator` draws its noise, if it has any (None: from seed 0).
        `edit(k, x)` may change the state after k cascades before the next one sees it. `n_cascades` runs another
        number: fewer stop early, more apply the last one again; a network with a velocity at every time takes
        that many steps on a uniform schedule instead. With `recompute`, the cascades keep their states alone and are
        computed again in the backward pass: the same gradient with the memory of one, for a third more time.

        The endpoint of a cascade without a velocity is where its step leads at h = 1, `x + (after - x) / h`; a step of
        length h = 0, as a free network may learn, leads nowhere: its endpoint is x.
        """
        scan = self.measure(y, operator, noise_level)
        return self.run(scan, source=source, generator=generator, edit=edit, n_cascades=n_cascades, recompute=recompute)

    def run(
        self,
        scan: Measurement,
        *,
        source: Tensor | None = None,
        generator: torch.Generator | None = None,
        edit: Edit | None = None,
        n_cascades: int | None = None,
        recompute: bool = False,
    ) -> Trajectory:
        """`trajectory` of a scan that `measure` has prepared."""
        if source is None:
            source = self.source(scan)
            if self.config.source_noise:
                source = noisy(source, self.config.source_noise, generator or _seeded(source))
        edit = edit or (lambda k, x: x)
        count = depth_of(n_cascades, self.config.n_cascades)
        other = count != self.config.n_cascades
        if self.config.continuous and (self.config.solver != "euler" or other):
            return self._integrate(scan, source, edit, count if other else None)
        return self._unroll(scan, source, edit, count, recompute)

    def measure(self, y: Tensor, operator: LinearOperator, noise_level: Tensor | float | None = None) -> Measurement:
        """What the cascades need to know of the measurement `y` (batch, ...)."""
        return measure(self.config, y, operator, noise_level)

    def source(self, scan: Measurement) -> Tensor:
        """The image at t = 1 without its noise (batch, y, x), see `laminar.models.measurement.source_of`."""
        return source_of(self.config, scan)

    def _unroll(self, scan: Measurement, source: Tensor, edit: Edit, n_cascades: int, recompute: bool) -> Trajectory:
        values = self.coefficients(scan.noise_level, scan.conditions)
        states, endpoints = [edit(0, source)], list[Tensor]()
        for cascade in range(n_cascades):
            k = min(cascade, self.config.n_cascades - 1)
            after, aim = kept(self._cascade, k, states[-1], values, scan, recompute=recompute)
            states.append(edit(cascade + 1, after))
            endpoints.append(aim)
        times = values.times if n_cascades == self.config.n_cascades else None
        return Trajectory(states, endpoints, times, n_cascades)

    def _cascade(self, k: int, x: Tensor, values: CoefficientValues, scan: Measurement) -> tuple[Tensor, Tensor]:
        """The state after cascade k, and the endpoint that it aimed at."""
        data_step = self.data_step.final if k == self.config.n_cascades - 1 else self.data_step
        denoise = partial(self._denoise, k, values.conditioning[k], scan)
        return data_step.advance(x, denoise, values.steps[k], values.data[k], scan, values.relative[k])

    def _denoise(self, k: int, time: Tensor, scan: Measurement, x: Tensor) -> Tensor:
        images = [x, scan.source] if self.config.see_source and scan.source is not None else [x]
        if scan.frame is not None:
            images = [image * scan.frame.conj() for image in images]
        n, shape = scan.operator.n_maps, scan.operator.image_shape(x)
        told = {}
        if self.config.scan_embedding and scan.conditions is not None:
            told = {"conditions": scan.conditions.repeat_interleave(n, 0)}
        images = [as_complex(image).reshape(-1, *shape) for image in images]
        times = time.expand(len(x)).repeat_interleave(n)
        residual: Tensor = self.regularizer(k)(images[0], times, *images[1:], **told)
        residual = residual.reshape(x.shape)
        residual = residual if scan.frame is None else scan.frame * residual
        return x - (residual if x.is_complex() else residual.real)

    def regularizer(self, k: int) -> nn.Module:
        """That of cascade k."""
        return self.regularizers[0 if self.config.shared else k]

    def velocity(self, scan: Measurement) -> Velocity:
        """`v(x, t) = (x - x0_hat(x, t, y)) / t` for 0 < t <= 1, of a network with a velocity at every time.

        Raises ConfigError for any other: it needs a shared regularizer, flow or learned coefficients, and an endpoint
        step.
        """
        if not self.config.continuous:
            raise ConfigError(f"no velocity at every time: {self.config.needs_continuous()}")
        return lambda x, time: (x - self.endpoint(x, time.to(x.real).expand(len(x)), scan)) / time

    def endpoint(self, x: Tensor, time: Tensor, scan: Measurement) -> Tensor:
        """`x0_hat(x, t, y)`, the image that a continuous network expects from x (batch, y, x) at times (batch,)."""
        data_step = self.data_step
        assert isinstance(self.coefficients, FlowCoefficients)
        assert data_step.endpoint
        ratio = self.coefficients.ratio_at(time, scan.noise_level, scan.conditions)
        data = data_step.coefficient(torch.ones_like(ratio), ratio)  # an endpoint step has no h in its closed form
        return data_step.endpoint(self._denoise(0, time, scan, x), per_entry(data, x), scan)

    def _integrate(self, scan: Measurement, source: Tensor, edit: Edit, n_steps: int | None) -> Trajectory:
        assert isinstance(self.coefficients, FlowCoefficients)
        velocity, tableau = self.velocity(scan), TABLEAUX[self.config.solver]
        times = self.coefficients.times()
        if n_steps:
            times = torch.tensor(uniform_schedule(n_steps), dtype=times.dtype, device=times.device)
        states, endpoints, nfe = [edit(0, source)], list[Tensor](), 0
        for k, leg in enumerate(pairwise(times), 1):
            if self.config.solver_tolerance and leg[1] > 0:
                part = integrate_adaptive(
                    velocity,
                    states[-1],
                    start=float(leg[0]),
                    end=float(leg[1]),
                    tableau=tableau,
                    rtol=self.config.solver_tolerance,
                    atol=self.config.solver_tolerance,
                    max_nfe=self.config.solver_max_nfe,
                )
            else:
                part = integrate(velocity, states[-1], leg, EULER if leg[1] == 0 else tableau)
            states.append(edit(k, part.image))
            endpoints.append(part.endpoints[0])
            nfe += part.nfe
        return Trajectory(states, endpoints, times, nfe)


def _seeded(like: Tensor) -> torch.Generator:
    return torch.Generator(like.device).manual_seed(0)
