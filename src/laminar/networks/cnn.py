"""A plain residual convolutional network, the regularizer of MoDL without its batch normalization."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laminar.networks.channels import SLOPE, TimeScale, conv3x3, to_channels, to_complex, zero_conv3x3


class CNN(nn.Module):
    """`R(x, t)`: `depth` convolutions of `channels` channels on real and imaginary part, homogeneous in x.

    Shapes: complex (batch, y, x) and time (batch,) to complex (batch, y, x). arXiv 1712.02862.
    """

    def __init__(self, channels: int = 64, depth: int = 5, time_embedding: bool = False) -> None:
        super().__init__()
        widths = [2, *[channels] * (depth - 1)]
        self.layers = nn.ModuleList(conv3x3(i, o) for i, o in pairwise(widths))
        self.last = zero_conv3x3(channels, 2)
        self.time_scale = TimeScale(channels) if time_embedding else None
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        features = to_channels(x).contiguous(memory_format=torch.channels_last)
        for index, layer in enumerate(self.layers):
            features = F.leaky_relu(layer(features), SLOPE)
            if index == 0 and self.time_scale is not None:
                features = self.time_scale(features, time)
        return to_complex(self.last(features))
