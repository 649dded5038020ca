"""A measurement as the cascades of an unrolled network know it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow import PoissonTerm, pseudo_inverse
from laminar.flow.path import per_entry
from laminar.models.config import UnrolledConfig
from laminar.networks import smooth_phase
from laminar.operators import Counting, LinearOperator, check_norm, solve, squared_norm

USUAL_NOISE, LEAST_NOISE = 1e-2, 1e-3
"""Between these levels the solves of a scan follow its noise."""
MOST_ACCELERATED = 20.0
"""A network is told of no greater acceleration: none that ships has seen one, and off the grid a probe finds any."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """What the data steps know of a scan (a `DataTerm`), and how exactly they solve for it.

    `y` (batch, ...), its `back_projection` `A^H y` (batch, y, x); `noise_level` (batch,), sigma per complex sample.
    For the regularizers, where the network's settings ask for it: `source` (batch, y, x) without noise, `frame`
    (batch, y, x), the smooth phase of the source. For them and the coefficients: `conditions` (batch, 2), numbers of
    the scan.
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
        return torch.stack(
            [(self.noise_level + 1e-4).log10() + 2, -share.clamp_min(1 / MOST_ACCELERATED).log() - 1.2], 1
        )

    def misfit(self, image: Tensor) -> Tensor:
        """`||A x - y|| / sqrt(samples)` (batch,), over what was sampled.

        Of a source about the noise level, less where it can explain noise as well, more where the sensitivities are
        wrong or the source was regularized.
        """
        sampled, y = self.operator.sampled, self.y
        samples = y[0].numel() if sampled is None else sampled.expand(y.shape).flatten(1).sum(1).clamp_min(1)
        left = self.operator.forward(image) - (y if sampled is None else y * sampled)
        return (squared_norm(left) / samples).sqrt()

    def gradient(self, x: Tensor) -> Tensor:
        """`A^H (A x - y)`."""
        return self.operator.gram(x) - self.back_projection

    def tikhonov(self, weight: Tensor, iterations: int, motion: Tensor | None = None) -> Tensor:
        """`(A^H A + w I)^(-1) A^H y`; with a weight v of `motion`, of a series, `(A^H A + w I + v (I - M))^(-1) A^H y`.

        M is the mean over the frames, the second axis.
        """
        if motion is None:
            return self.operator.solve_regularized(self.back_projection, weight, iterations=iterations)
        w, v = (per_entry(each, self.back_projection) for each in (weight, motion))

        def normal(x: Tensor) -> Tensor:
            return self.operator.gram(x) + w * x + v * (x - x.mean(1, keepdim=True))

        return solve(normal, self.back_projection, iterations=iterations)

    def proximal(self, center: Tensor, weight: Tensor) -> Tensor:
        """`(A^H A + w I)^(-1) (A^H y + w center)`, by conjugate gradient from the center."""
        return self.operator.solve_regularized(
            self.back_projection + weight * center,
            weight,
            center,
            iterations=self.cg_iterations,
            tolerance=self.cg_tolerance,
        )


@dataclass(frozen=True, eq=False)
class CountMeasurement(Measurement):
    """Counts: the data steps are those of the Poisson likelihood (`laminar.flow.poisson`); images are real."""

    @cached_property
    def term(self) -> PoissonTerm:
        assert isinstance(self.operator, Counting)
        return PoissonTerm(self.y + self.operator.background, self.operator, self.operator.background)

    def gradient(self, x: Tensor) -> Tensor:
        return self.term.gradient(x)

    def proximal(self, center: Tensor, weight: Tensor) -> Tensor:
        return self.term.proximal(center, weight, center, self.cg_iterations)

    def tikhonov(self, weight: Tensor, iterations: int, motion: Tensor | None = None) -> Tensor:
        zero = torch.zeros_like(self.back_projection)
        return self.term.proximal(zero, weight, torch.ones_like(zero), iterations)


def exactness(noise: Tensor, iterations: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """Iterations and relative residual of the proximal steps for a scan of a noise level s:

        q = s / 0.01 within [0.1, 1],   tolerance <- q tolerance,   iterations <- (1 - 2/3 log10 q) iterations

    What a solve leaves undone is meant to stay below the noise.
    """
    share = (noise / USUAL_NOISE).clamp(LEAST_NOISE / USUAL_NOISE, 1.0)
    return (iterations * (1 - 2 / 3 * share.log10())).round(), tolerance * share


def measure(
    config: UnrolledConfig, y: Tensor, operator: LinearOperator, noise_level: Tensor | float | None = None
) -> Measurement:
    """What the cascades of these settings need to know of `y` (batch, ...); noiseless where no level is known.

    Raises ConfigError for an operator whose norm is known, and far from one.
    """
    check_norm(operator)
    back_projection = operator.adjoint(y)
    options = config.regularizer
    shape = operator.image_shape(back_projection)
    takes_series = options.neighbors is not None or options.kind == "separable"
    if options.kind != "custom" and takes_series != (len(shape) == 3):
        taken = "series (frame, y, x): it has neighbors" if takes_series else "planar images: it has no neighbors"
        raise ConfigError(
            f"the regularizer of this network, of geometry {config.geometry}, takes {taken}; got images {shape}"
        )
    if config.source_motion_std and len(shape) != 3:
        raise ConfigError(f"source_motion_std is of a series of images; got {shape}")
    noise_level = torch.as_tensor(0.0 if noise_level is None else noise_level).to(back_projection.real)
    if noise_level.ndim == 0:
        noise_level = noise_level.expand(len(y))
    kind = CountMeasurement if isinstance(operator, Counting) else Measurement
    scan = kind(y, operator, back_projection, noise_level, config.cg_iterations, config.cg_tolerance)
    if not (config.see_source or config.phase_frame or config.probes or config.scan_noise):
        return scan
    source = source_of(config, scan).detach()
    if config.scan_noise and kind is Measurement:
        noise = torch.maximum(noise_level, scan.misfit(source))
        # Of a batch, the most exact solves of any image; what is no number asks for none.
        least = noise.nan_to_num(USUAL_NOISE).min()
        most, tolerance = exactness(least, config.cg_iterations, config.cg_tolerance)
        scan = replace(scan, noise_level=noise, cg_iterations=int(most), cg_tolerance=float(tolerance))
    frame = smooth_phase(source) if config.phase_frame else None
    conditions = scan.probed(source) if config.probes else None
    return replace(scan, source=source, frame=frame, conditions=conditions)


def source_of(config: UnrolledConfig, scan: Measurement) -> Tensor:
    """The image at t = 1 without its noise: `A^H y`, `A^+ y`, or the Tikhonov CG-SENSE `(A^H A + w I)^(-1) A^H y`.

    `w = (sigma^2 + floor^2) / source_std^2`, the weight of a prior image of that standard deviation. Raises
    ConfigError if `source_iterations` do not reach the pseudo-inverse.
    """
    if scan.source is not None:
        return scan.source
    if config.source == "zero-filled":
        return scan.back_projection
    if config.source == "pseudo-inverse":
        return pseudo_inverse(scan.y, scan.operator, config.source_iterations)
    variance = scan.noise_level**2 + config.noise_floor**2
    motion = variance / config.source_motion_std**2 if config.source_motion_std else None
    return scan.tikhonov(variance / config.source_std**2, config.source_iterations, motion)
