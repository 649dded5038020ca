"""The closed-form map from (schedule, noise level, prior width) to the coefficients of a cascade.

With relative step `h`, noise variance `sigma^2` and conditional prior variance `nu^2` (both per complex sample)
the one dimensionless number of a data step is `w = sigma^2 / nu^2`. The rows:

| data step | one cascade | coefficient |
|---|---|---|
| proximal | `x0_hat = (A^H A + w)^(-1)(A^H y + w D)`, Euler | `w` |
| gradient | `x - eta A^H(A x - y) - h R` | `eta = h / w` |
| gradient_endpoint | `x0_hat = D - g A^H(A D - y)`, Euler | `g = 1 / (1 + w)` |
| hard | `x0_hat = D - A^H(A D - y)`, Euler | `1`, the limit `sigma -> 0` |

Euler means `x <- (1 - h) x + h x0_hat`, and `D = x - R`. arXiv 2512.03020, 1712.02862, 2004.06688.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

DataStep = Literal["proximal", "gradient", "gradient_endpoint", "hard"]
DATA_STEPS: tuple[str, ...] = get_args(DataStep)


def data_coefficient(data_step: DataStep, step: Tensor, ratio: Tensor) -> Tensor:
    """The coefficient of a data step from the relative step `h` and the ratio `w = sigma^2 / nu^2`."""
    if data_step == "proximal":
        return ratio
    if data_step == "gradient":
        return step / ratio
    if data_step == "gradient_endpoint":
        return 1 / (1 + ratio)
    return torch.ones_like(ratio)


def noise_ratio(data_step: DataStep, step: Tensor, coefficient: Tensor) -> Tensor:
    """The inverse map: `w = sigma^2 / nu^2` from the coefficient of a data step (zero for a hard one)."""
    if data_step == "proximal":
        return coefficient
    if data_step == "gradient":
        return step / coefficient
    if data_step == "gradient_endpoint":
        return 1 / coefficient - 1
    return torch.zeros_like(coefficient)


def implied_times(steps: Tensor) -> Tensor:
    """Times `(1, ..., t_0)` that relative steps `h` in order of execution imply: `t_k = prod (1 - h_j)`."""
    return torch.cat([torch.ones_like(steps[:1]), torch.cumprod(1 - steps, 0)])
