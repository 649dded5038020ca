"""The normalized U-Net of the E2E-VarNet, channels-last and with an activation that is normalized in place."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from laminar.errors import ConfigError
from laminar.networks.channels import to_channels, to_complex

SLOPE, EPSILON = 0.2, 1e-5


class NormUnet(nn.Module):
    """`R(x)`: a U-Net on real and imaginary part, each brought to mean 0 and deviation 1 before and back after.

    `R(x) = std(x) U((x - mean(x)) / std(x)) + mean(x)`, mean and standard deviation of each part of each image. The
    image is zero-padded on both sides to multiples of 16. `U` has two 3 x 3 convolutions a level, each followed by
    instance normalization and a leaky rectifier of slope 0.2, average pooling, transposed convolutions, `channels`
    at full resolution and twice as many at each of the `pools` coarser levels. Sriram et al., arXiv 2004.06688.

    Shapes: complex (batch, y, x) to complex (batch, y, x). A part that is constant, where the published code gives
    NaN, is returned as it is: `R(x) = mean(x)`. `time` is ignored: with it, this is a regularizer.
    """

    def __init__(self, channels: int = 18, pools: int = 4) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(pools + 1)]
        self.down = nn.ModuleList(_Block(i, o) for i, o in pairwise([2, *widths]))
        self.rise = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 2, stride=2, bias=False) for fine, coarse in pairwise(widths)
        )
        self.up = nn.ModuleList(_Block(2 * fine, fine) for fine in widths[:-1])
        self.last = nn.Conv2d(channels, 2, 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        if min(n + sum(_margins(n)) for n in x.shape[-2:]) < 2 ** len(self.up):
            raise ConfigError(f"{len(self.up)} poolings leave nothing of an image {tuple(x.shape[-2:])}")
        channels = to_channels(x)
        std, mean = torch.std_mean(channels, (2, 3), keepdim=True)
        features = self._unet(_pad((channels - mean) / std.where(std > 0, 1)))
        return to_complex(_unpad(features, x.shape[-2:]) * std + mean)

    def _unet(self, features: Tensor) -> Tensor:
        levels = [self.down[0](features)]
        for block in self.down[1:]:
            levels.append(block(F.avg_pool2d(levels[-1], 2)))
        features = levels.pop()
        for rise, block in zip(reversed(self.rise), reversed(self.up), strict=True):
            skip = levels.pop()
            risen = _grow(normalized(rise(features)), skip.shape[-2:])
            features = block(torch.cat([risen, skip], 1))
        result: Tensor = self.last(features)
        return result


class _Block(nn.Module):
    """Two convolutions, each normalized and rectified."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return normalized(self.second(normalized(self.first(features))))


def normalized(features: Tensor) -> Tensor:
    """Instance normalization and leaky rectifier, **in place** of a fresh convolution output (batch, channel, y, x).

    `a = leaky((f - mean(f)) / sqrt(var(f) + epsilon))`. Only `a`, which the next layer keeps anyway, and one number a
    channel stay for the backward pass: a leaky rectifier can be undone (Rota Bulo et al., arXiv 1712.02616).
    """
    result: Tensor = _Normalized.apply(features.contiguous(memory_format=torch.channels_last))  # type: ignore[no-untyped-call]
    return result


class _Normalized(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        rows, channels = _rows(features), features.shape[1]
        rows.sub_(_mean(rows, channels))
        scale = (_mean(rows.square(), channels) + EPSILON).rsqrt_()
        F.leaky_relu_(rows, SLOPE).mul_(scale)
        ctx.mark_dirty(features)
        ctx.save_for_backward(features, scale)
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        features, scale = ctx.saved_tensors
        activation, channels = _rows(features), features.shape[1]
        inner: Tensor = torch.ops.aten.leaky_relu_backward(_rows(gradient), activation, SLOPE, True)
        white = F.leaky_relu(activation, 1 / SLOPE)
        correlation = _mean(inner * white, channels)
        inner.sub_(_mean(inner, channels)).addcmul_(white, correlation, value=-1).mul_(scale)
        return inner.view(*gradient.shape[:1], *gradient.shape[2:], channels).permute(0, 3, 1, 2)


def _rows(features: Tensor) -> Tensor:
    """(batch, channel, y, x) to (batch, y, x * channel): long inner loops even where there are few channels."""
    return features.permute(0, 2, 3, 1).flatten(2)


def _mean(rows: Tensor, channels: int) -> Tensor:
    """The mean over the image of each channel, repeated along a row: (batch, 1, x * channel)."""
    height, width = rows.shape[1], rows.shape[2] // channels
    mean = rows.sum(1).view(-1, width, channels).sum(1, keepdim=True) / (height * width)
    return mean.repeat(1, width, 1).view(-1, 1, width * channels)


def _margins(size: int) -> tuple[int, int]:
    """What brings `size` to a multiple of 16, the smaller half first."""
    missing = -size % 16
    return missing // 2, missing - missing // 2


def _pad(features: Tensor) -> Tensor:
    height, width = features.shape[-2:]
    return F.pad(features, (*_margins(width), *_margins(height)))


def _unpad(features: Tensor, size: torch.Size) -> Tensor:
    (top, _), (left, _) = (_margins(n) for n in size)
    return features[..., top : top + size[0], left : left + size[1]]


def _grow(features: Tensor, size: torch.Size) -> Tensor:
    """Repeat by reflection the last row or column that pooling an odd size has lost."""
    height, width = features.shape[-2:]
    if (height, width) == tuple(size):
        return features
    return F.pad(features, (0, size[1] - width, 0, size[0] - height), "reflect")
