"""First-order methods for `f(x) + h(K x)` as functions of callables: FISTA and primal-dual hybrid gradient.

A method is an endless iterator of its iterates; `settle` decides when to stop. Entries of the batch, the first axis,
do not know each other, except that they stop together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.operators import LinearOperator

Gradient = Callable[[Tensor], Tensor]
Prox = Callable[[Tensor, Tensor], Tensor]
"""`prox(z, step) = argmin_x step * h(x) + 1/2 ||x - z||^2`; `step` broadcasts to `z`."""


@dataclass(frozen=True, eq=False)
class Solution:
    """The last iterate, those after 1, 2, 4, ... iterations (the last one where it stopped before), and how many."""

    x: Tensor
    checkpoints: list[Tensor]
    iterations: int


def fista(gradient: Gradient, prox: Prox, start: Tensor, step: Tensor) -> Iterator[Tensor]:
    """Iterates of the accelerated proximal gradient method for `f(x) + g(x)`, restarted where momentum points uphill.

        x_k = prox(z_k - step grad f(z_k)),   z_(k+1) = x_k + (s_k - 1)/s_(k+1) (x_k - x_(k-1))

    Shapes: `start` (batch, ...), `step` (batch, 1, ...) at most one over the Lipschitz constant of `gradient`. Sources:
    Beck and Teboulle 2009, doi:10.1137/080716542; restart by the gradient scheme of O'Donoghue and Candes 2015,
    doi:10.1007/s10208-013-9150-3.
    """
    x = point = start
    momentum = torch.ones_like(step)
    while True:
        previous, x = x, prox(point - step * gradient(point), step)
        uphill = _inner(point - x, x - previous) > 0
        momentum = torch.where(uphill, 1.0, momentum)
        following = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
        point = x + (momentum - 1) / following * (x - previous)
        momentum = following
        yield x


def pdhg(
    gradient: Gradient, operator: LinearOperator, dual_prox: Prox, start: Tensor, step: Tensor, dual_step: Tensor
) -> Iterator[Tensor]:
    """Iterates of the primal-dual hybrid gradient method for `f(x) + h(K x)`, f smooth, with a dual variable u.

        x_(k+1) = x_k - step (grad f(x_k) + K^H u_k)
        u_(k+1) = dual_prox(u_k + dual_step K(2 x_(k+1) - x_k)),   dual_prox: that of the conjugate h*

    Converges if `1/step - dual_step ||K||^2 >= L/2`, L the Lipschitz constant of `gradient`. Sources: Chambolle and
    Pock 2011, doi:10.1007/s10851-010-0251-1; with f smooth, Condat 2013, doi:10.1007/s10957-012-0245-9.
    """
    x, dual = start, torch.zeros_like(operator.forward(start))
    while True:
        previous, x = x, x - step * (gradient(x) + operator.adjoint(dual))
        dual = dual_prox(dual + dual_step * operator.forward(2 * x - previous), dual_step)
        yield x


def settle(iterates: Iterator[Tensor], start: Tensor, iterations: int, tolerance: float) -> Solution:
    """Run until `||x_k - x_(k-1)|| <= tolerance ||x_k||` in every batch entry, or for `iterations`.

    Raises ConfigError if `iterations` is below 1 or `tolerance` is negative.
    """
    if iterations < 1 or not tolerance >= 0:
        raise ConfigError(f"expected iterations >= 1 and tolerance >= 0; got {iterations} and {tolerance}")
    previous, x, count = start, start, 0
    checkpoints: list[Tensor] = []
    for count, x in enumerate(islice(iterates, iterations), 1):
        if count == 2 ** len(checkpoints):
            checkpoints.append(x)
        change = _inner(x - previous, x - previous)
        if bool((change <= tolerance**2 * _inner(x, x)).all()):
            break
        previous = x
    checkpoints += [x] * (int(math.log2(iterations)) + 1 - len(checkpoints))
    return Solution(x, checkpoints, count)


def soft_threshold(x: Tensor, threshold: Tensor | float) -> Tensor:
    """The prox of `threshold * sum |x|`: magnitudes shrink by `threshold`, phases stay."""
    length = x.abs()
    # A sign x / |x| would be NaN of the smallest complex numbers, whose magnitude is 0 or their square.
    return x * ((length - threshold).clamp_min(0) / length.clamp_min(torch.finfo(length.dtype).tiny))


def project_onto_balls(x: Tensor, radius: Tensor | float, axis: int) -> Tensor:
    """The nearest point of which no vector along `axis` is longer than `radius`: the dual prox of `radius sum ||.||_2`.

    By Moreau, `x = project_onto_balls(x) + prox(x)`.
    """
    length = torch.linalg.vector_norm(x, dim=axis, keepdim=True)
    shrink: Tensor = (radius / length.clamp_min(torch.finfo(length.dtype).tiny)).clamp_max(1)
    return x * shrink


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """`Re <a, b>` of each batch entry, kept broadcastable."""
    product = torch.linalg.vecdot(a.flatten(1), b.flatten(1))
    real: Tensor = product.real
    return real.reshape(-1, *[1] * (a.ndim - 1))
