"""A U-Net that is told how noisy its image is: the network inside a denoiser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laminar.networks.channels import pad_to_multiple, to_channels, to_complex

Layer = TypeVar("Layer", bound=nn.Module)


class DenoisingUNet(nn.Module):
    """`F(x, c)`, a residual U-Net on real and imaginary part with a number c of every image, the log of its noise.

    Other than a regularizer it is not homogeneous: its input has unit variance whatever the noise, so that it needs c
    to know the scale, and biases and a shift by c to draw the large shapes of an image that is nearly all noise. No
    normalization: a preconditioned input needs none, and none mixes what stands in different places of an image.
    Every block starts as the identity of its skip connection, and the last convolution at zero.

    Shapes: complex (batch, y, x) of any size and c (batch,) to complex (batch, y, x). `fold` is that of `UNet`. The
    form is that of arXiv 2011.13456 and 2206.00364, without attention.
    """

    def __init__(self, channels: Sequence[int] = (32, 64, 96, 128), fold: int = 2, embedding: int = 128) -> None:
        super().__init__()
        self.fold, self.n_levels = fold, len(channels)
        self.embed = _Embedding(embedding)
        self.first = _conv3x3(2 * fold**2, channels[0])
        inputs = [channels[0], *channels[:-1]]
        self.down = nn.ModuleList(_Block(i, o, embedding) for i, o in zip(inputs, channels, strict=True))
        self.middle = _Block(channels[-1], channels[-1], embedding)
        self.up = nn.ModuleList(_Block(fine + coarse, fine, embedding) for fine, coarse in pairwise(channels))
        self.last = _zero(_conv3x3(channels[0], 2 * fold**2))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        padded = pad_to_multiple(to_channels(x), self.fold * 2 ** (self.n_levels - 1))
        folded = F.pixel_unshuffle(padded, self.fold).contiguous(memory_format=torch.channels_last)
        features = self._features(self.first(folded), self.embed(c))
        result = F.pixel_shuffle(self.last(F.silu(features)), self.fold)
        return to_complex(result[..., :height, :width])

    def _features(self, features: Tensor, code: Tensor) -> Tensor:
        levels: list[Tensor] = []
        for block in self.down:
            features = block(F.avg_pool2d(features, 2) if levels else features, code)
            levels.append(features)
        features = self.middle(levels.pop(), code)
        for block in reversed(self.up):
            features = block(torch.cat([levels.pop(), F.interpolate(features, scale_factor=2)], 1), code)
        return features


class _Embedding(nn.Module):
    """A number c of each image, of order one, as a vector: c itself, waves of it, and two layers."""

    frequencies: Tensor

    def __init__(self, width: int, n_frequencies: int = 6) -> None:
        super().__init__()
        self.register_buffer("frequencies", math.pi / 4 * 2.0 ** torch.arange(n_frequencies), persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(2 * n_frequencies + 1, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )

    def forward(self, c: Tensor) -> Tensor:
        c = c[:, None].to(self.frequencies.dtype)
        phase = c * self.frequencies
        code: Tensor = self.layers(torch.cat([c, phase.sin(), phase.cos()], 1))
        return code


class _Block(nn.Module):
    """`skip(f) + second(silu(scale(c) first(silu(f)) + shift(c)))`; starts as `skip(f)`."""

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.first, self.second = _conv3x3(inputs, outputs), _zero(_conv3x3(outputs, outputs))
        self.modulation = _zero(nn.Linear(embedding, 2 * outputs))
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        scale, shift = self.modulation(code)[:, :, None, None].chunk(2, 1)
        update = self.first(F.silu(features)) * (1 + scale) + shift
        result: Tensor = self.skip(features) + self.second(F.silu(update))
        return result


def _conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.kaiming_normal_(convolution.weight)
    return convolution


def _zero(layer: Layer) -> Layer:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
