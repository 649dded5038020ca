"""Reconstructions that are linear in the measurement."""

from __future__ import annotations

from torch import Tensor

from laminar.flow import zero_filled
from laminar.operators import LinearOperator, conjugate_gradient

__all__ = ["cg_sense", "zero_filled"]


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
