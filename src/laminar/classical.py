"""Classical reconstructions, as functions of the measurement and any `LinearOperator`."""

from __future__ import annotations

from torch import Tensor

from laminar.data.preparation import Problem
from laminar.flow import Trajectory
from laminar.operators import LinearOperator, conjugate_gradient


def zero_filled(y: Tensor, operator: LinearOperator) -> Tensor:
    """The back-projection `A^H y`."""
    return operator.adjoint(y)


def cg_sense(
    y: Tensor, operator: LinearOperator, weight: float = 0.01, iterations: int = 30, tolerance: float = 1e-4
) -> Tensor:
    """Tikhonov CG-SENSE, `argmin ||A x - y||^2 + weight ||x||^2`. Pruessmann et al. 2001, doi:10.1002/mrm.1241."""
    return conjugate_gradient(
        lambda x: operator.gram(x) + weight * x,
        operator.adjoint(y),
        iterations=iterations,
        tolerance=tolerance,
    )


def zero_filled_method(problem: Problem) -> Trajectory:
    """`zero_filled` as a method of `laminar.reconstruct`."""
    return Trajectory([zero_filled(problem.kspace, problem.operator)], [], None, nfe=0)


def cg_sense_method(problem: Problem, weight: float = 0.01) -> Trajectory:
    """`cg_sense` as a method of `laminar.reconstruct`."""
    return Trajectory([cg_sense(problem.kspace, problem.operator, weight)], [], None, nfe=0)
