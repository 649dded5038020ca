"""An unrolled network as a function of tensors alone, with a fixed number of iterations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from laminar.errors import ConfigError
from laminar.export.arithmetic import Fast, Matrices, conjugate, magnitude, times
from laminar.export.coils import Coils
from laminar.models import UnrolledNetwork
from laminar.models.measurement import MOST_ACCELERATED, exactness
from laminar.networks.channels import pad_to_multiple, to_channels, to_complex
from laminar.networks.phase import lowpass

LARGEST = 2**20
"""Pixels of the largest image."""


@dataclass(frozen=True, eq=False)
class _Data:
    """A `DataTerm` of images (batch, 2, y, x)."""

    coils: Coils
    back_projection: Tensor
    iterations: int
    tolerance: Tensor | float
    most: Tensor | None = None

    def gradient(self, x: Tensor) -> Tensor:
        return self.coils.gram(x) - self.back_projection

    def proximal(self, center: Tensor, weight: Tensor) -> Tensor:
        rhs = self.back_projection + weight * center
        return self.coils.solve(rhs, weight, center, self.iterations, self.tolerance, self.most)


class Program(nn.Module):
    """`image = program(y, mask, maps, sigma)` of one slice, in the units of a `Problem`, that is of about one.

    `y` (coil, y, x), zero where nothing was sampled, `mask` bool (y, x), `maps` (coil, y, x) with sum_coil |S|^2 = 1
    or 0, `sigma` () the noise level: the image (y, x). Complex where the transform is `fast`; with `matrices` they are
    float32 with a last axis of real and imaginary part, and no complex number is used anywhere.

    Raises ConfigError for a network whose cascades need more than a fixed number of steps.
    """

    signs: Tensor

    def __init__(self, network: UnrolledNetwork, fourier: Literal["fast", "matrices"] = "fast") -> None:
        super().__init__()
        config = network.config
        if config.source == "pseudo-inverse" or config.solver != "euler":
            raise ConfigError(
                "only networks with a zero-filled or cg-sense source and Euler steps can be exported; this one has the "
                f"source {config.source} and the solver {config.solver}"
            )
        self.network, self.fourier = network.eval(), fourier
        self.longest = int(exactness(torch.zeros(()), config.cg_iterations, config.cg_tolerance)[0])
        # Those of `Measurement.probed` for every size: random numbers come row by row.
        signs = torch.randint(0, 2, (LARGEST,), generator=torch.Generator().manual_seed(0), dtype=torch.int64)
        self.register_buffer("signs", (2 * signs - 1).to(torch.int8))

    def forward(self, y: Tensor, mask: Tensor, maps: Tensor, sigma: Tensor) -> Tensor:
        if self.fourier == "fast":
            return to_complex(self._image(to_channels(y), mask, to_channels(maps), sigma))[0]
        image = self._image(y.movedim(-1, 1), mask, maps.movedim(-1, 1), sigma)
        return image[0].movedim(0, -1)

    def _image(self, y: Tensor, mask: Tensor, maps: Tensor, sigma: Tensor) -> Tensor:
        """Channels (coil, 2, y, x) to the image (1, 2, y, x)."""
        fourier = Fast() if self.fourier == "fast" else Matrices(y)
        coils, noise_level = Coils(mask.to(y)[None, None, None], maps[None], fourier), sigma.reshape(1)
        config, network = self.network.config, self.network
        data = _Data(coils, coils.adjoint(y[None]), config.cg_iterations, config.cg_tolerance)
        x = source = self._source(data, noise_level)
        if config.scan_noise:
            left = (coils.forward(source) - coils.measured(y[None])).square().sum((0, 2, 3, 4))
            noise_level = torch.maximum(noise_level, (left.mean() / coils.samples).sqrt())
            data = replace(data, **self._exactness(noise_level))
        seen = _Seen(source)
        if config.phase_frame:
            smooth = fourier.inverse(fourier.forward(source) * lowpass(source))
            size = magnitude(smooth)
            seen.frame = torch.where(size > 0, smooth / size.clamp_min(torch.finfo(size.dtype).tiny), 0.0)
        if config.probes:
            seen.conditions = self._conditions(coils, source, noise_level)
        values = network.coefficients(noise_level, seen.conditions)
        for k in range(config.n_cascades):
            step = network.data_step.final if k == config.n_cascades - 1 else network.data_step
            denoise = partial(self._denoise, k, values.conditioning[k], seen)
            x, _ = step.advance(x, denoise, values.steps[k], values.data[k], data, values.relative[k])
        return x

    def _exactness(self, noise: Tensor) -> dict[str, Any]:
        """`laminar.models.measurement.exactness`, of as many iterations as any noise takes."""
        most, tolerance = exactness(noise, self.network.config.cg_iterations, self.network.config.cg_tolerance)
        return {"iterations": self.longest, "most": most, "tolerance": tolerance}

    def _source(self, data: _Data, noise_level: Tensor) -> Tensor:
        config = self.network.config
        if config.source == "zero-filled":
            return data.back_projection
        weight = ((noise_level**2 + config.noise_floor**2) / config.source_std**2).reshape(-1, 1, 1, 1)
        zero = torch.zeros_like(data.back_projection)
        return data.coils.solve(data.back_projection, weight, zero, config.source_iterations, 0.0)

    def _conditions(self, coils: Coils, source: Tensor, noise_level: Tensor) -> Tensor:
        """`Measurement.probed`."""
        height, width = source.shape[-2:]
        probe = magnitude(source) * self.signs[: height * width].reshape(height, width).to(source)
        probe = torch.cat([probe, torch.zeros_like(probe)], 1)
        share = coils.forward(probe).square().sum() / probe.square().sum().clamp_min(1e-30)
        found = [(noise_level + 1e-4).log10() + 2, -share.clamp_min(1 / MOST_ACCELERATED).log().reshape(1) - 1.2]
        return torch.stack(found, 1)

    def _denoise(self, k: int, time: Tensor, seen: _Seen, x: Tensor) -> Tensor:
        images = [x, seen.source] if self.network.config.see_source else [x]
        if seen.frame is not None:
            images = [times(image, conjugate(seen.frame)) for image in images]
        told: dict[str, Any] = {"conditions": seen.conditions} if self.network.config.scan_embedding else {}
        regularizer = self.network.regularizer(k)
        first, *others = (to_complex(_padded(image, regularizer)) for image in images)
        residual = _cropped(to_channels(regularizer(first, time.expand(len(x)), *others, **told)), x)
        return x - (residual if seen.frame is None else times(seen.frame, residual))


@dataclass(eq=False)
class _Seen:
    """What the regularizers know of a scan, as in `Measurement`."""

    source: Tensor
    frame: Tensor | None = None
    conditions: Tensor | None = None


def _padded(image: Tensor, regularizer: nn.Module) -> Tensor:
    """With what the regularizer would append itself: inside, a traced size would be taken for today's."""
    return pad_to_multiple(image, getattr(regularizer, "multiple", 1), getattr(regularizer, "padding", "zeros"))


def _cropped(image: Tensor, like: Tensor) -> Tensor:
    """The beginning of the image, by its indices for the same reason: a slice asks for strides."""
    for axis in (-2, -1):
        image = image.index_select(axis, torch.arange(like.shape[axis], device=image.device))
    return image
