"""A U-Net without biases or normalization, for complex images of any size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laminar.networks.channels import (
    SLOPE,
    Padding,
    ScanScale,
    TimeScale,
    conv3x3,
    pad_to_multiple,
    to_channels,
    to_complex,
    zero_conv3x3,
)


class UNet(nn.Module):
    """`R(x, t)`, a U-Net on real and imaginary part with `R(a x, t) = a R(x, t)` for a >= 0.

    The image is folded by `fold` into channels first (pixel unshuffle), so that no convolution runs at full
    resolution with few channels, which is what a CPU is slow at. No bias and no normalization: the result
    does not depend on the unit of the image (Mohan et al., arXiv 1906.05478). The last convolution starts at
    zero, so that an untrained cascade changes nothing.

    Shapes: complex (batch, y, x) and time (batch,) to complex (batch, y, x). With `images` above 1 it is
    `R(x, t, seen)`, and sees that many images in all; homogeneous in all of them together. With `conditions` it is
    told as many numbers of the scan, `R(x, t, conditions=c)` with c (batch, conditions). With `padding` circular, and
    sides that are multiples of `multiple`, an image rolled by such gives the result rolled.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 64),
        fold: int = 2,
        time_embedding: bool = False,
        images: int = 1,
        conditions: int = 0,
        padding: Padding = "zeros",
    ) -> None:
        super().__init__()
        self.fold, self.multiple, self.padding = fold, fold * 2 ** (len(channels) - 1), padding
        self.first = conv3x3(2 * images * fold**2, channels[0], padding)
        inputs = [channels[0], *channels[:-1]]
        told = time_embedding, conditions, padding
        self.down = nn.ModuleList(_Block(i, o, *told) for i, o in zip(inputs, channels, strict=True))
        self.up = nn.ModuleList(_Block(fine + coarse, fine, *told) for fine, coarse in pairwise(channels))
        self.last = zero_conv3x3(channels[0], 2 * fold**2, padding)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, time: Tensor, *seen: Tensor, conditions: Tensor | None = None) -> Tensor:
        height, width = x.shape[-2:]
        images = torch.cat([to_channels(image) for image in (x, *seen)], 1)
        padded = pad_to_multiple(images, self.multiple, self.padding)
        folded = F.pixel_unshuffle(padded, self.fold).contiguous(memory_format=torch.channels_last)
        features = self._decode(self._encode(self.first(folded), time, conditions), time, conditions)
        residual = F.pixel_shuffle(self.last(features), self.fold)
        return to_complex(residual[..., :height, :width])

    def _encode(self, features: Tensor, time: Tensor, conditions: Tensor | None) -> list[Tensor]:
        levels: list[Tensor] = []
        for block in self.down:
            features = block(F.avg_pool2d(features, 2) if levels else features, time, conditions)
            levels.append(features)
        return levels

    def _decode(self, levels: list[Tensor], time: Tensor, conditions: Tensor | None) -> Tensor:
        features = levels.pop()
        for block in reversed(self.up):
            coarse = F.interpolate(features, scale_factor=2)
            features = block(torch.cat([levels.pop(), coarse], 1), time, conditions)
        return features


class _Block(nn.Module):
    """Two convolutions with leaky rectifiers; time and scan scale the features between them."""

    def __init__(self, inputs: int, outputs: int, time_embedding: bool, conditions: int, padding: Padding) -> None:
        super().__init__()
        self.first, self.second = conv3x3(inputs, outputs, padding), conv3x3(outputs, outputs, padding)
        self.time_scale = TimeScale(outputs) if time_embedding else None
        self.scan_scale = ScanScale(outputs, conditions) if conditions else None

    def forward(self, features: Tensor, time: Tensor, conditions: Tensor | None) -> Tensor:
        features = F.leaky_relu(self.first(features), SLOPE)
        if self.time_scale is not None:
            features = self.time_scale(features, time)
        if self.scan_scale is not None and conditions is not None:
            features = self.scan_scale(features, conditions)
        return F.leaky_relu(self.second(features), SLOPE)
