"""Emission tomography without a network: expectation maximization, and with ordered subsets of the views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.operators import LinearOperator

Subset = tuple[Tensor, LinearOperator, Tensor]
"""Counts, the operator that expects them, and their background, all of some views."""


def expectation_maximization(subsets: Sequence[Subset], iterations: int) -> Iterator[Tensor]:
    """Iterates of MLEM, and with more than one subset of OSEM, from an even image.

        x <- x / (A_s^T 1) * A_s^T (y_s / (A_s x + b_s)),   s one subset after the other

    Each step keeps x >= 0 and, of a single subset, never lowers the likelihood. Shepp and Vardi 1982,
    doi:10.1109/TMI.1982.4307558; Hudson and Larkin 1994, doi:10.1109/42.363108. Raises ConfigError unless iterations
    are positive.
    """
    if iterations < 1:
        raise ConfigError(f"iterations must be at least 1; got {iterations}")
    sensitivity = [operator.adjoint(torch.ones_like(counts)) for counts, operator, _ in subsets]
    total = torch.stack(sensitivity).sum(0)
    inside = total > 1e-6 * total.amax()
    signal = sum((counts - background).flatten(1).sum(1) for counts, _, background in subsets)
    assert isinstance(signal, Tensor)
    level = signal.clamp_min(1e-6) / total.flatten(1).sum(1)
    x = inside * level[:, None, None]
    for _ in range(iterations):
        for (counts, operator, background), seen in zip(subsets, sensitivity, strict=True):
            expected = (operator.forward(x) + background).clamp_min(torch.finfo(x.dtype).tiny)
            ratio = torch.where(counts > 0, counts / expected, 0)
            x = torch.where(seen > 0, x * operator.adjoint(ratio) / seen.clamp_min(1e-12), x)
        yield x
