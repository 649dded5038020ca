"""Regularizers of images with a third axis: the frames of a cine, the slices of a volume."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laminar.networks.channels import SLOPE, TimeScale


class Neighbors(nn.Module):
    """A planar regularizer on every element of a series, which sees the `reach` elements on either side of it too.

    `R(x, t)_f = r(x_f, t, x_(f-1), x_(f+1), ...)` with `network` r as of `UNet` with `1 + 2 reach` images. Beyond the
    ends a series goes on periodically, as a heart does. Shapes: complex (batch, frame, y, x) and time (batch,) to
    complex (batch, frame, y, x); what else is seen is of the shape of x.
    """

    def __init__(self, network: nn.Module, reach: int) -> None:
        super().__init__()
        self.network, self.reach = network, reach

    def forward(self, x: Tensor, time: Tensor, *seen: Tensor, conditions: Tensor | None = None) -> Tensor:
        frames = x.shape[1]
        around = [x.roll(shift, 1) for step in range(1, self.reach + 1) for shift in (step, -step)]
        told = {} if conditions is None else {"conditions": conditions.repeat_interleave(frames, 0)}
        images = [image.flatten(0, 1) for image in (*around, *seen)]
        residual: Tensor = self.network(x.flatten(0, 1), time.repeat_interleave(frames), *images, **told)
        return residual.reshape(x.shape)


class SeparableCNN(nn.Module):
    """`R(x, t)`: `depth` pairs of a planar 3 x 3 and a 3-tap convolution along the third axis, homogeneous in x.

    Convolutions along the third axis are periodic. Shapes: complex (batch, frame, y, x) and time (batch,) to complex
    (batch, frame, y, x). The split of a 3-D convolution is that of Tran et al., arXiv 1711.11248, used for cine by
    Sandino et al. 2021, doi:10.1002/mrm.28420.
    """

    def __init__(self, channels: int = 32, depth: int = 5, time_embedding: bool = False) -> None:
        super().__init__()
        widths = [2, *[channels] * (depth - 1)]
        self.planar = nn.ModuleList(_convolution(i, o, (1, 3, 3)) for i, o in pairwise(widths))
        self.along = nn.ModuleList(_convolution(o, o, (3, 1, 1)) for o in widths[1:])
        self.last = _convolution(channels, 2, (1, 3, 3))
        nn.init.zeros_(self.last.weight)
        self.time_scale = TimeScale(channels) if time_embedding else None

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        features = torch.view_as_real(x).movedim(-1, 1)
        for index, (planar, along) in enumerate(zip(self.planar, self.along, strict=True)):
            features = F.leaky_relu(planar(features), SLOPE)
            features = F.leaky_relu(along(_wrapped(features)), SLOPE)
            if index == 0 and self.time_scale is not None:
                features = self.time_scale(features.movedim(2, 1).flatten(0, 1), time.repeat_interleave(x.shape[1]))
                features = features.reshape(*x.shape[:2], *features.shape[1:]).movedim(1, 2)
        channels = self.last(features)
        channels = channels.float() if channels.dtype in (torch.float16, torch.bfloat16) else channels
        return torch.view_as_complex(channels.movedim(1, -1).contiguous())


def _wrapped(features: Tensor) -> Tensor:
    """(batch, channel, frame, y, x) with the frame before the first and the one after the last."""
    return torch.cat([features[:, :, -1:], features, features[:, :, :1]], 2)


def _convolution(inputs: int, outputs: int, size: tuple[int, int, int]) -> nn.Conv3d:
    padding = (0, size[1] // 2, size[2] // 2)
    convolution = nn.Conv3d(inputs, outputs, size, padding=padding, bias=False)
    nn.init.kaiming_normal_(convolution.weight, a=SLOPE)
    return convolution
