"""Between complex images and the real channels that convolutions work on."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def to_channels(image: Tensor) -> Tensor:
    """Complex (batch, y, x) to real (batch, 2, y, x)."""
    return torch.view_as_real(image).permute(0, 3, 1, 2)


def as_complex(image: Tensor) -> Tensor:
    """A real image with an imaginary part of zero; a complex one as it is."""
    return image if image.is_complex() else torch.complex(image, torch.zeros_like(image))


def to_complex(channels: Tensor) -> Tensor:
    """Real (batch, 2, y, x) to complex (batch, y, x); half precision, which has no complex form, to float32."""
    if channels.dtype in (torch.float16, torch.bfloat16):
        channels = channels.float()
    return torch.view_as_complex(channels.permute(0, 2, 3, 1).contiguous())


Padding = Literal["zeros", "circular"]
"""What is beyond the edge of an image: nothing, or its other side, where the image of a Fourier grid goes on."""


def pad_to_multiple(channels: Tensor, multiple: int, padding: Padding = "zeros") -> Tensor:
    """Pad the end of both spatial axes to the next multiple, with zeros or with the beginning."""
    height, width = channels.shape[-2:]
    full = [(side + multiple - 1) // multiple * multiple for side in (height, width)]  # as exporters understand it
    if padding == "zeros":
        return F.pad(channels, (0, full[1] - width, 0, full[0] - height))
    rows, columns = (torch.arange(n, device=channels.device) % m for n, m in zip(full, (height, width), strict=True))
    return channels.index_select(-2, rows).index_select(-1, columns)


SLOPE = 0.1


def conv3x3(inputs: int, outputs: int, padding: Padding = "zeros") -> nn.Conv2d:
    """A convolution without bias: with homogeneous activations the network is scale-equivariant.

    Its weights keep the variance through a leaky rectifier of slope `SLOPE`.
    """
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode=padding, bias=False)
    nn.init.kaiming_normal_(convolution.weight, a=SLOPE)
    return convolution


def zero_conv3x3(inputs: int, outputs: int, padding: Padding = "zeros") -> nn.Conv2d:
    """The last convolution of a residual: it starts at zero, so that an untrained cascade changes nothing."""
    convolution = conv3x3(inputs, outputs, padding)
    nn.init.zeros_(convolution.weight)
    return convolution


class TimeScale(nn.Module):
    """Multiplies features by a learned function of time, `f <- f (1 + g(t))`, with g = 0 at the start.

    A scale and not a shift, so that a network without biases stays homogeneous in the image.
    """

    frequencies: Tensor

    def __init__(self, channels: int, width: int = 32) -> None:
        super().__init__()
        self.register_buffer("frequencies", math.pi * 2.0 ** torch.arange(width // 4), persistent=False)
        last = nn.Linear(width, channels)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(nn.Linear(2 * (width // 4), width), nn.SiLU(), last)

    def forward(self, features: Tensor, time: Tensor) -> Tensor:
        phase = time[:, None].to(self.frequencies.dtype) * self.frequencies
        scale: Tensor = self.mlp(torch.cat([phase.sin(), phase.cos()], 1))
        return features * (1 + scale[:, :, None, None])


class ScanScale(nn.Module):
    """Multiplies features by a learned function of what is known of the scan, `f <- f (1 + g(c))`, g = 0 at the start.

    c (batch, conditions) are numbers of order one, such as the logarithm of the noise level.
    """

    def __init__(self, channels: int, conditions: int, width: int = 32) -> None:
        super().__init__()
        last = nn.Linear(width, channels)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(nn.Linear(conditions, width), nn.SiLU(), last)

    def forward(self, features: Tensor, conditions: Tensor) -> Tensor:
        scale: Tensor = self.mlp(conditions)
        return features * (1 + scale[:, :, None, None])
