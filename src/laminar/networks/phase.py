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
    sides = image.shape[-2:]
    window = torch.ones((), dtype=image.real.dtype, device=image.device)
    for axis, side in zip((-2, -1), sides, strict=True):
        place = torch.arange(side, dtype=image.real.dtype, device=image.device) - side // 2
        along = torch.exp(-0.5 * (place / max(WIDTH * side / max(sides), _LEAST)).square())
        window = window * (along[:, None] if axis == -2 else along)
    return torch.sgn(ifft2c(fft2c(image) * window))
