"""The regularizer of ISTA-Net+: a threshold between learned transforms."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laminar.networks.channels import to_channels, to_complex


class ISTA(nn.Module):
    """`R(x) = -G(H~(soft(H(D x), theta)))`, so that `x - R(x)` is the proximal step of an ISTA-Net+ phase.

    All transforms act on real and imaginary part and have no bias: D is a 3 x 3 convolution to `channels`, H and H~ are
    two of them with a rectifier between, G is one back. `soft(z, theta) = sign(z) max(|z| - theta, 0)` with one learned
    threshold, 0.01 at the start, in units of the transformed image. G starts at zero instead of at random, so that an
    untrained cascade is its data step alone. Zhang and Ghanem, arXiv 1706.07929, section 3.3.

    Shapes: complex (batch, y, x) to complex (batch, y, x). `time` is ignored.
    """

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.analysis = _conv3x3(2, channels)
        self.forth = _Transform(channels)
        self.back = _Transform(channels)
        self.synthesis = _conv3x3(channels, 2)
        nn.init.zeros_(self.synthesis.weight)
        self.threshold = nn.Parameter(torch.tensor(0.01))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        transformed = self.forth(self._features(x))
        return to_complex(-self.synthesis(self.back(soft(transformed, self.threshold))))

    def asymmetry(self, x: Tensor) -> Tensor:
        """`mean |H~(H(D x)) - D x|^2`: 0 where H~ undoes H, which the threshold of ISTA asks of its transform."""
        features = self._features(x)
        difference: Tensor = self.back(self.forth(features)) - features
        return difference.square().mean()

    def _features(self, x: Tensor) -> Tensor:
        features: Tensor = self.analysis(to_channels(x).contiguous(memory_format=torch.channels_last))
        return features


class _Transform(nn.Module):
    """Two convolutions with a rectifier between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = _conv3x3(channels, channels), _conv3x3(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        transformed: Tensor = self.second(F.relu(self.first(features)))
        return transformed


def soft(values: Tensor, threshold: Tensor) -> Tensor:
    """`sign(z) max(|z| - theta, 0)`."""
    return values.sign() * F.relu(values.abs() - threshold)


def _conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.xavier_normal_(convolution.weight)
    return convolution
