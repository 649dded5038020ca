"""What a trajectory shows, whatever made it: times, steps and detours relative to the line from source to image.

Shapes: images (batch, ...), real or complex; every number is (batch,). Inner products are `Re <a, b>`, so that a
complex image is a vector of real and imaginary parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow.path import interpolate, per_entry


def implied_time(state: Tensor, image: Tensor, source: Tensor) -> Tensor:
    """The time of the nearest point of the line: `Re <x - x0, x1 - x0> / ||x1 - x0||^2`; nan if `x1 = x0`."""
    line = source - image
    return _inner(state - image, line) / _inner(line, line)


def line_deviation(state: Tensor, image: Tensor, source: Tensor) -> Tensor:
    """Distance to the line through image and source, relative to its length: `||x - x_t|| / ||x1 - x0||`, t implied."""
    nearest = interpolate(image, source, per_entry(implied_time(state, image, source), state))
    return _norm(state - nearest) / _norm(source - image)


def straightness(states: Sequence[Tensor]) -> Tensor:
    """Length of the polyline over the distance of its ends, `sum_k ||x^(k) - x^(k+1)|| / ||x^(0) - x^(N)||` >= 1.

    Infinite for a closed trajectory, nan for one that does not move. Raises ConfigError below two states.
    """
    if len(states) < 2:
        raise ConfigError(f"straightness needs two states or more; got {len(states)}")
    length = torch.stack([_norm(after - before) for before, after in pairwise(states)]).sum(0)
    return length / _norm(states[-1] - states[0])


def implied_endpoint(state: Tensor, source: Tensor, time: float | Tensor) -> Tensor:
    """Where the line from the source through the state ends at t = 0: `(x - t x1) / (1 - t)`.

    It is not the endpoint that a network aims at, `x0_hat`: a report names which is meant. `time` is a number or
    (batch,); ConfigError at t = 1, where every endpoint fits.
    """
    time = per_entry(time, state)
    if bool((time == 1).any()):
        raise ConfigError("at t = 1 the state is the source and implies no endpoint; ask at t < 1")
    return (state - time * source) / (1 - time)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    product = (a.conj() * b).real if a.is_complex() else a * b
    return product.sum(tuple(range(1, a.ndim)))


def _norm(a: Tensor) -> Tensor:
    return _inner(a, a).sqrt()
