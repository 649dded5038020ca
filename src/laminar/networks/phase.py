"""The smooth phase of an image: what coils, field and sequence give it, apart from its structure."""

from __future__ import annotations

import torch
from torch import Tensor

from laminar.operators import fft2c, ifft2c

WIDTH = 10.0
"""Standard deviation, in samples of k-space along the longer side, of the Gaussian that keeps the smooth phase."""
_LEAST = 3.0  # along a shorter side, such as a part of a readout


def smooth_phase(image: Tensor) -> Tensor:
    """`sgn(G * image)`, of modulus one (0 where the image is), for complex images (batch, y, x).

    G is a Gaussian low-pass. A global phase factor of the image is one of the result, so that whatever works on
    `image * conj(smooth_phase(image))`, an image that is nearly real, does not depend on it.
    """
    return torch.sgn(ifft2c(fft2c(image) * lowpass(image.real)))


def lowpass(like: Tensor) -> Tensor:
    """G of `smooth_phase` in the k-space (y, x) of images of this size."""
    longer = _larger(*like.shape[-2:])
    along = []
    for side in like.shape[-2:]:
        place = torch.arange(side, dtype=like.dtype, device=like.device) - side // 2
        along.append(torch.exp(-0.5 * (place / _larger(WIDTH * side / longer, _LEAST)).square()))
    return along[0][:, None] * along[1]


def _larger(a: float, b: float) -> float:
    """`max`, but for sizes that are traced: it leaves them open."""
    larger: float = torch.sym_max(a, b)  # type: ignore[no-untyped-call]
    return larger
