"""Emission tomography without a network: expectation maximization, with ordered subsets, and total variation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from laminar.classical.proximal import Solution, project_onto_balls, settle
from laminar.classical.sparsity import Differences, scaled_weight
from laminar.errors import ConfigError
from laminar.flow.path import per_entry
from laminar.flow.poisson import PoissonTerm
from laminar.operators import LinearOperator

Subset = tuple[Tensor, LinearOperator, Tensor]
"""Counts, the operator that expects them, and their background, all of some views."""
_FIRST = 10  # iterations of expectation maximization, from which total variation starts
_BALANCE = 0.3  # of the dual steps: of the mean count over the brightest pixel
_LEAST_SEEN = 1e-3  # of the longest ray: the steps of those that hardly cross the image are bounded


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
    inside = total > 1e-6 * total.amax((1, 2), keepdim=True)
    signal = sum((counts - background).flatten(1).sum(1) for counts, _, background in subsets)
    assert isinstance(signal, Tensor)
    level = signal.clamp_min(1e-6) / total.flatten(1).sum(1)
    x = inside * level[:, None, None]
    for _ in range(iterations):
        for (counts, operator, background), seen in zip(subsets, sensitivity, strict=True):
            ratio = PoissonTerm(counts, operator, background).ratio(x)
            x = torch.where(seen > 0, x * operator.adjoint(ratio) / seen.clamp_min(1e-12), x)
        yield x


def emission_total_variation(
    counts: Tensor,
    operator: LinearOperator,
    background: Tensor,
    weight: float | Tensor,
    *,
    scale: float | Tensor,
    iterations: int = 300,
    tolerance: float = 1e-4,
) -> Solution:
    """The image of small total variation that is likely to give the counts, by the primal-dual hybrid gradient method.

        argmin_(x >= 0) f(x) + weight * scale * sum_pixels |D x|,   f of `laminar.flow.poisson`

    Every ray and pixel has a step of its own, `sigma = rho / A 1`, `tau = 1 / (rho (A^T 1 + 4))` in a plane: A has no
    negative entries. Shapes as of `expectation_maximization`; `weight` and `scale`, numbers or (batch,), as of
    `total_variation`. Sources: Sidky, Jorgensen and Pan 2012, doi:10.1088/0031-9155/57/10/3065; Pock and Chambolle
    2011, doi:10.1109/ICCV.2011.6126441. Raises ConfigError if weight or scale is negative.
    """
    *_, start = expectation_maximization([(counts, operator, background)], _FIRST)
    threshold = scaled_weight(weight, scale, start).unsqueeze(-1)
    iterates = _primal_dual(PoissonTerm(counts, operator, background), threshold, start)
    return settle(iterates, start, iterations, tolerance)


def _primal_dual(term: PoissonTerm, threshold: Tensor, start: Tensor) -> Iterator[Tensor]:
    """Iterates x, with a dual variable `rays` of the likelihood and one, `edges`, of the penalty."""
    operator, mean = term.operator, per_entry(term.mean, start)
    differences = Differences(start.ndim - 1)
    rho = _BALANCE * mean / _largest(start)
    ray_step = rho / _bounded(operator.forward(torch.ones_like(start)))
    step = 1 / (rho * (operator.adjoint(torch.ones_like(term.counts)) + 2 * (start.ndim - 1)))
    edge_step = rho.unsqueeze(-1) / 2
    x = ahead = start
    rays, edges = mean * (1 - term.ratio(x)), torch.zeros_like(differences.forward(x))
    while True:
        below = mean - rays - ray_step * (operator.forward(ahead) + term.background)
        rays = mean - (below + (below.square() + 4 * ray_step * mean * term.counts).sqrt()) / 2
        edges = project_onto_balls(edges + edge_step * differences.forward(ahead), threshold, -start.ndim)
        previous, x = x, (x - step * (operator.adjoint(rays) + differences.adjoint(edges))).clamp_min(0)
        ahead = 2 * x - previous
        yield x


def _bounded(seen: Tensor) -> Tensor:
    return torch.maximum(seen, _LEAST_SEEN * _largest(seen))


def _largest(values: Tensor) -> Tensor:
    """Of each batch entry, broadcastable; never zero."""
    return per_entry(values.flatten(1).amax(1), values).clamp_min(torch.finfo(values.dtype).tiny)
