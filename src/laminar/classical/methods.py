"""The classical reconstructions as methods of `laminar.reconstruct`: from a Problem to a Trajectory.

The states are the back-projection, the iterates after 1, 2, 4, ... iterations where the method is iterative (the last
one again where it stopped before), and the result. `nfe`, the evaluations of a network, is 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from laminar.classical.backprojection import filtered_back_projection
from laminar.classical.emission import Subset, emission_total_variation, expectation_maximization
from laminar.classical.grappa import grappa
from laminar.classical.linear import cg_sense, zero_filled
from laminar.classical.low_rank import locally_low_rank
from laminar.classical.partial_fourier import pocs
from laminar.classical.proximal import Solution
from laminar.classical.sparsity import l1_wavelet, total_variation
from laminar.data.preparation import Problem
from laminar.errors import ConfigError
from laminar.flow import Trajectory
from laminar.operators import Counting, LinearOperator, Projector, Weighted, check_norm
from laminar.operators.linear import Scaled

_NORM = 1.0  # of the encoding operator of a Problem, whose sensitivities have unit power
_ALIASING = 0.005  # in units of the image: what a penalty has to suppress is not only noise


def zero_filled_method(problem: Problem) -> Trajectory:
    """`zero_filled` as a method of `laminar.reconstruct`: its result is its source."""
    check_norm(problem.operator)
    return _trajectory(problem, [zero_filled(problem.y, problem.operator)])


def cg_sense_method(problem: Problem, weight: float = 0.01) -> Trajectory:
    """`cg_sense` as a method of `laminar.reconstruct`."""
    check_norm(problem.operator)
    return _trajectory(problem, [cg_sense(problem.y, problem.operator, weight)])


def l1_wavelet_method(problem: Problem, weight: float = 0.15, seed: int | None = 0) -> Trajectory:
    """`l1_wavelet` with random shifts from `seed`, or none, as a method of `laminar.reconstruct`.

    `weight` is in units of `sqrt(sigma^2 + 0.005^2)`, sigma the noise level: one number for all scans.
    """
    check_norm(problem.operator)
    shifts = None if seed is None else torch.Generator().manual_seed(seed)
    return _sparse(
        problem, l1_wavelet(problem.y, problem.operator, weight, scale=_scale(problem), norm=_NORM, shifts=shifts)
    )


def total_variation_method(problem: Problem, weight: float = 0.2) -> Trajectory:
    """`total_variation`, of counts with their likelihood, as a method of `laminar.reconstruct`.

    The unit of `weight` is that of `l1_wavelet_method`.
    """
    check_norm(problem.operator)
    if isinstance(problem.operator, Counting):
        background = problem.operator.background
        subset = problem.y + background, problem.operator, background
        return _sparse(problem, emission_total_variation(*subset, weight, scale=_scale(problem)))
    return _sparse(problem, total_variation(problem.y, problem.operator, weight, scale=_scale(problem), norm=_NORM))


def grappa_method(problem: Problem) -> Trajectory:
    """`grappa`, its coils combined by the sensitivities, as a method of `laminar.reconstruct`; line masks only."""
    sensed = problem.sensed
    parts = zip(problem.y.unsqueeze(1), sensed.mask, problem.noise_level, strict=True)
    filled = torch.cat([grappa(kspace, mask, noise) for kspace, mask, noise in parts])
    everywhere = type(sensed)(torch.ones_like(sensed.mask), sensed.sensitivities)
    return _trajectory(problem, [everywhere.adjoint(filled)])


def filtered_back_projection_method(problem: Problem) -> Trajectory:
    """`filtered_back_projection` as a method of `laminar.reconstruct`; tomography only. Its states are no iterates."""
    projector, weights = _projections(problem.operator, problem.y.device)
    if projector is None:
        kind = type(problem.operator).__name__
        raise ConfigError(f"filtered back-projection needs a scan of tomography; got a {kind}")
    sinogram = torch.where(weights > 0, problem.y / weights, 0)
    return _trajectory(problem, [filtered_back_projection(sinogram, projector.beam, projector.matrix)])


def _projections(operator: LinearOperator, device: torch.device) -> tuple[Projector | None, Tensor]:
    """The projector P and the weights w of an operator `diag(w) P`; None if it is another."""
    weights = torch.ones(1, 1, 1, device=device)
    if isinstance(operator, Counting):
        operator = operator.operator
    if isinstance(operator, Scaled):
        weights, operator = weights * abs(operator.factor), operator.operator
    if isinstance(operator, Weighted):
        weights, operator = weights * operator.weights, operator.operator
    return (operator if isinstance(operator, Projector) else None), weights


def pocs_method(problem: Problem, iterations: int = 20) -> Trajectory:
    """`pocs`, for partial Fourier, as a method of `laminar.reconstruct`."""
    return _trajectory(problem, [pocs(problem.y, problem.sensed, iterations)])


def low_rank_method(problem: Problem, weight: float = 0.3, seed: int = 0) -> Trajectory:
    """`locally_low_rank` as a method of `laminar.reconstruct`, for series; the unit of `weight` is that of
    `l1_wavelet_method`."""
    shifts = torch.Generator().manual_seed(seed)
    found = locally_low_rank(problem.y, problem.operator, weight, scale=_scale(problem), norm=_NORM, shifts=shifts)
    return _sparse(problem, found)


def expectation_maximization_method(problem: Problem, iterations: int = 20, subsets: int = 1) -> Trajectory:
    """MLEM, or OSEM with several `subsets` of the views, as a method of `laminar.reconstruct`; emission only."""
    states = list(expectation_maximization(_of_counts(problem, subsets), iterations))
    kept = sorted({2**k for k in range(iterations.bit_length())} | {iterations})
    return _trajectory(problem, [states[k - 1] for k in kept])


def _of_counts(problem: Problem, subsets: int) -> list[Subset]:
    """Every n-th view of a problem of counts, for each of n subsets."""
    operator = problem.operator
    projector, weights = _projections(operator, problem.y.device)
    if not isinstance(operator, Counting) or projector is None:
        raise ConfigError(f"expectation maximization needs a scan of counts; got a {type(operator).__name__}")
    views = projector.sinogram[0]
    if not 1 <= subsets <= views:
        raise ConfigError(f"from 1 to {views} subsets of the views; got {subsets}")
    counts, background = problem.y + operator.background, operator.background
    weights, parts = weights.expand(-1, *projector.sinogram), list[Subset]()
    for some in (slice(first, None, subsets) for first in range(subsets)):
        part = projector if subsets == 1 else projector.of_views(some)
        parts.append((counts[:, some], Weighted(part, weights[:, some]), background[:, some]))
    return parts


def _scale(problem: Problem) -> Tensor:
    return (problem.noise_level.square() + _ALIASING**2).sqrt()


def _sparse(problem: Problem, found: Solution) -> Trajectory:
    return _trajectory(problem, [*found.checkpoints, found.x])


def _trajectory(problem: Problem, states: list[Tensor]) -> Trajectory:
    return Trajectory([zero_filled(problem.y, problem.operator), *states], states, None, nfe=0)
