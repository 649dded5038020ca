"""The unrolled network: cascades of a regularizer and a data step, read as Euler steps of a flow."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from laminar.errors import ConfigError
from laminar.flow import (
    ENDPOINT_STEPS,
    EULER,
    TABLEAUX,
    Trajectory,
    Velocity,
    data_coefficients,
    integrate,
    integrate_adaptive,
    noisy,
    pseudo_inverse,
    uniform_schedule,
)
from laminar.models.coefficients import CoefficientValues, FlowCoefficients, FreeCoefficients
from laminar.models.config import RegularizerConfig, UnrolledConfig
from laminar.models.data_steps import Measurement, advance, endpoint
from laminar.networks import CNN, ISTA, NormUnet, UNet, smooth_phase
from laminar.operators import LinearOperator

Edit = Callable[[int, Tensor], Tensor]


class UnrolledNetwork(nn.Module):
    """An unrolled reconstruction network with its trajectory.

    Each cascade estimates the image, `D = x - R(x, t)`, brings in the data, and takes the Euler step in the
    residual form `x <- (1 - h) x + h x0_hat`, from the source at t = 1 to the image at t = 0. Some data steps do
    both at once (`laminar.flow.cascade`), other outer schemes than Euler take several evaluations (`solver`).

    `regularizer` is any `nn.Module` with the signature `R(x, t)`: complex (batch, y, x) and (batch,) to complex
    (batch, y, x), `R(x, t, source)` with `see_source=True`; it is copied for every cascade unless `shared=True`.
    Without it, `config.regularizer` is built.
    The other settings are those of `UnrolledConfig`. Raises ConfigError for settings that do not exist or fit.

    With `recompute` set, training keeps the states alone and computes each cascade again in the backward pass: the same
    gradient with the memory of one cascade, for a third more time.
    """

    recompute = False

    def __init__(
        self, regularizer: nn.Module | None = None, config: UnrolledConfig | None = None, **settings: Any
    ) -> None:
        super().__init__()
        self.config = UnrolledConfig.of(config, settings)
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

    def trajectory(
        self,
        y: Tensor,
        operator: LinearOperator,
        noise_level: Tensor | None = None,
        *,
        source: Tensor | None = None,
        generator: torch.Generator | None = None,
        edit: Edit | None = None,
        n_cascades: int | None = None,
    ) -> Trajectory:
        """All states from the source to the image.

        `source` replaces the configured one; otherwise `generator` draws its noise, if it has any (None: from seed 0).
        `edit(k, x)` may change the state after k cascades before the next one sees it. `n_cascades` runs another
        number: fewer stop early, more apply the last one again; a network with a velocity at every time takes
        that many steps on a uniform schedule instead.
        """
        scan = self.measure(y, operator, noise_level)
        return self.run(scan, source=source, generator=generator, edit=edit, n_cascades=n_cascades)

    def run(
        self,
        scan: Measurement,
        *,
        source: Tensor | None = None,
        generator: torch.Generator | None = None,
        edit: Edit | None = None,
        n_cascades: int | None = None,
    ) -> Trajectory:
        """`trajectory` of a scan that `measure` has prepared."""
        if source is None:
            source = self.source(scan)
            if self.config.source_noise:
                source = noisy(source, self.config.source_noise, generator or _seeded(source))
        edit = edit or (lambda k, x: x)
        other = n_cascades not in (None, self.config.n_cascades)
        if self.config.continuous and (self.config.solver != "euler" or other):
            return self._integrate(scan, source, edit, n_cascades if other else None)
        return self._unroll(scan, source, edit, n_cascades or self.config.n_cascades)

    def measure(self, y: Tensor, operator: LinearOperator, noise_level: Tensor | None = None) -> Measurement:
        """What the cascades need to know of the measurement `y` (batch, ...)."""
        back_projection = operator.adjoint(y)
        if noise_level is None:
            noise_level = torch.zeros(len(y))
        noise_level = noise_level.to(back_projection.real)
        scan = Measurement(
            y, operator, back_projection, noise_level, self.config.cg_iterations, self.config.cg_tolerance
        )
        if not (self.config.see_source or self.config.phase_frame or self.config.scan_embedding):
            return scan
        source = self.source(scan).detach()
        frame = smooth_phase(source) if self.config.phase_frame else None
        conditions = scan.probed(source) if self.config.scan_embedding else None
        return replace(scan, source=source, frame=frame, conditions=conditions)

    def _unroll(self, scan: Measurement, source: Tensor, edit: Edit, n_cascades: int) -> Trajectory:
        values = self.coefficients(scan.noise_level)
        states, endpoints = [edit(0, source)], list[Tensor]()
        for cascade in range(n_cascades):
            k = min(cascade, self.config.n_cascades - 1)
            after, aim = self._kept(self._cascade, k, states[-1], values, scan)
            states.append(edit(cascade + 1, after))
            endpoints.append(aim)
        times = values.times if n_cascades == self.config.n_cascades else None
        return Trajectory(states, endpoints, times, n_cascades)

    def _kept(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if not (self.recompute and torch.is_grad_enabled()):
            return function(*arguments)
        return checkpoint(function, *arguments, use_reentrant=False)

    def _cascade(self, k: int, x: Tensor, values: CoefficientValues, scan: Measurement) -> tuple[Tensor, Tensor]:
        """The state after cascade k, and the endpoint that it aimed at."""
        data_step, step, data = self.config.data_step, values.steps[k], _per_image(values.data[k], x)
        denoise = partial(self._denoise, k, values.conditioning[k], scan)
        if data_step in ENDPOINT_STEPS:
            aim = endpoint(data_step, x, denoise, data, scan)
            return (1 - step) * x + step * aim, aim
        after = advance(data_step, x, denoise, step, data, scan, last=k == self.config.n_cascades - 1)
        return after, x + (after - x) / _relative(values, k)

    def _denoise(self, k: int, time: Tensor, scan: Measurement, x: Tensor) -> Tensor:
        images = [x, scan.source] if self.config.see_source and scan.source is not None else [x]
        if scan.frame is not None:
            images = [image * scan.frame.conj() for image in images]
        told = {} if scan.conditions is None else {"conditions": scan.conditions}
        residual: Tensor = self._regularizer(k)(images[0], time.expand(len(x)), *images[1:], **told)
        return x - (residual if scan.frame is None else scan.frame * residual)

    def _regularizer(self, k: int) -> nn.Module:
        return self.regularizers[0 if self.config.shared else k]

    def symmetry(self, scan: Measurement, trajectory: Trajectory) -> Tensor | None:
        """ISTA-Net+'s constraint on its transforms, `mean |H~(H(D r)) - D r|^2`, averaged over the cascades.

        `r` is the image that each regularizer saw on the `trajectory` of this network from `scan`. None for a network
        whose regularizers are not of kind ista. arXiv 1706.07929, where it has the weight 0.01.
        """
        if self.config.regularizer.kind != "ista":
            return None
        data = self.coefficients(scan.noise_level).data
        cascades = enumerate(zip(trajectory.states, data, strict=False))  # no regularizer sees the last state
        return torch.stack([self._kept(self._asymmetry, k, x, step, scan) for k, (x, step) in cascades]).mean()

    def _asymmetry(self, k: int, x: Tensor, data: Tensor, scan: Measurement) -> Tensor:
        if self.config.data_step == "ista":
            x = x - _per_image(data, x) * scan.gradient(x)
        regularizer = self._regularizer(k)
        assert isinstance(regularizer, ISTA)
        return regularizer.asymmetry(x)

    def velocity(self, scan: Measurement) -> Velocity:
        """`v(x, t) = (x - x0_hat(x, t, y)) / t` for 0 < t <= 1, of a network with a velocity at every time.

        Raises ConfigError for any other: it needs a shared regularizer, flow or learned coefficients, and one of the
        data steps `ENDPOINT_STEPS`.
        """
        if not self.config.continuous:
            raise ConfigError(f"no velocity at every time: {self.config.needs_continuous()}")
        return lambda x, time: (x - self.endpoint(x, time.to(x.real).expand(len(x)), scan)) / time

    def endpoint(self, x: Tensor, time: Tensor, scan: Measurement) -> Tensor:
        """`x0_hat(x, t, y)`, the image that a continuous network expects from x (batch, y, x) at times (batch,)."""
        assert isinstance(self.coefficients, FlowCoefficients)
        ratio = self.coefficients.ratio_at(time, scan.noise_level)
        # Proximal and gradient endpoints have no h in their closed form.
        data = data_coefficients(self.config.data_step, torch.ones_like(ratio[:1]), ratio[None])[0]
        return endpoint(self.config.data_step, x, partial(self._denoise, 0, time, scan), _per_image(data, x), scan)

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

    def source(self, scan: Measurement) -> Tensor:
        """The image at t = 1 without its noise: `A^H y`, `A^+ y`, or the Tikhonov CG-SENSE `(A^H A + w I)^(-1) A^H y`.

        `w = (sigma^2 + floor^2) / source_std^2`, the weight of a prior image of that standard deviation. Raises
        ConfigError if `source_iterations` do not reach the pseudo-inverse.
        """
        iterations = self.config.source_iterations
        if scan.source is not None:
            return scan.source
        if self.config.source == "zero-filled":
            return scan.back_projection
        if self.config.source == "pseudo-inverse":
            return pseudo_inverse(scan.y, scan.operator, iterations)
        variance = scan.noise_level**2 + self.config.noise_floor**2
        weight = variance / self.config.source_std**2
        return scan.operator.solve_regularized(scan.back_projection, weight, iterations=iterations)


def _per_image(values: Tensor, x: Tensor) -> Tensor:
    """One number an image, shaped to multiply images (batch, y, x)."""
    return values.view(-1, *[1] * (x.ndim - 1))


def _relative(values: CoefficientValues, k: int) -> Tensor:
    """`h_k`, where the steps of the paper's form are `|delta_k|`."""
    return values.steps[k] if values.times is None else 1 - values.times[k + 1] / values.times[k]


def _seeded(like: Tensor) -> torch.Generator:
    return torch.Generator(like.device).manual_seed(0)


def _coefficients(config: UnrolledConfig) -> FreeCoefficients | FlowCoefficients:
    if config.coefficients == "free":
        return FreeCoefficients(config.n_cascades, config.data_step, config.data_weight, config.shared)
    return FlowCoefficients(
        config.times,
        config.data_step,
        prior_std=config.prior_std,
        floor=config.noise_floor,
        learn_prior_std=config.learn_prior_std,
        learn_schedule=config.coefficients == "learned",
    )


def _regularizer(config: UnrolledConfig) -> nn.Module:
    options = config.regularizer
    first, *coarser = options.channels
    if options.kind == "unet":
        images, conditions = 1 + config.see_source, 2 * config.scan_embedding
        return UNet(options.channels, options.fold, time_embedding=config.timed, images=images, conditions=conditions)
    if options.kind == "cnn":
        return CNN(first, options.depth, time_embedding=config.timed)
    if options.kind == "normunet":
        return NormUnet(first, len(coarser))
    if options.kind == "ista":
        return ISTA(first)
    raise ConfigError("a network with a custom regularizer needs the module: UnrolledNetwork(regularizer=module)")
