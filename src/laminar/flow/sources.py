"""Where a flow starts: the source `x1` that is made from the measurement, with or without noise.

`y = A x0 + n`. Shapes: `y` as the operator returns it, sources (batch, ...) as its adjoint does. The truncated or
regularized CG-SENSE image is not the pseudo-inverse: it is `tikhonov`, and named so.
"""

from __future__ import annotations

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.operators import LinearOperator, conjugate_gradient, solve


def zero_filled(y: Tensor, operator: LinearOperator) -> Tensor:
    """The back-projection `A^H y`."""
    return operator.adjoint(y)


def pseudo_inverse(y: Tensor, operator: LinearOperator, iterations: int = 200, tolerance: float = 1e-5) -> Tensor:
    """`A^+ y`: of all least-squares solutions the one of least norm, by conjugate gradient from zero.

    The iterates never leave the range of `A^H`, so the limit of `A^H A x = A^H y` is the pseudo-inverse. Converged
    means `||A^H A x - A^H y|| <= 2 tolerance ||A^H y||` for each batch entry, measured on the result; the error of
    `x`, relative too, is up to the condition of `A^H A` times larger. Raises ConfigError if it has not converged,
    as in single precision for a highly accelerated scan, whose pseudo-inverse is mostly noise anyway: use `tikhonov`.
    Hestenes and Stiefel 1952, doi:10.6028/jres.049.044.
    """
    rhs = operator.adjoint(y)
    image = conjugate_gradient(operator.gram, rhs, iterations=iterations, tolerance=tolerance)
    left = (operator.gram(image) - rhs).flatten(1).norm(dim=1)
    size = rhs.flatten(1).norm(dim=1)
    if not bool((left <= 2 * tolerance * size).all()):
        worst = float((left / size).max())
        raise ConfigError(
            f"the pseudo-inverse has a relative residual of {worst:.1e} after {iterations} iterations, "
            f"wanted {tolerance:.1e}: allow more iterations or a larger tolerance, or start from the tikhonov source"
        )
    return image


def tikhonov(
    y: Tensor, operator: LinearOperator, weight: float | Tensor, iterations: int = 30, tolerance: float = 1e-5
) -> Tensor:
    """CG-SENSE with a Tikhonov weight, `(A^H A + w I)^(-1) A^H y`; with `w = sigma^2 / s^2` the mean for N(0, s^2 I).

    `weight` is a number or broadcasts against the image, (batch, 1, 1). The gradient is the exact implicit one.
    Raises ConfigError unless the weight is positive. Pruessmann et al. 2001, doi:10.1002/mrm.1241.
    """
    if not bool((torch.as_tensor(weight) > 0).all()):
        raise ConfigError(f"a tikhonov source needs a positive weight; got {weight}")
    return solve(
        lambda x: operator.gram(x) + weight * x, operator.adjoint(y), iterations=iterations, tolerance=tolerance
    )


def noisy(source: Tensor, tau: float, generator: torch.Generator) -> Tensor:
    """`x1 = source + tau eps` with `E|eps|^2 = 1` per sample: circular if the source is complex, else real.

    Raises ConfigError unless `tau` is finite and not negative. The generator decides on its own device.
    """
    if not 0 <= tau < float("inf"):
        raise ConfigError(f"the noise of a source needs tau >= 0; got {tau}")
    noise = torch.randn(source.shape, dtype=source.dtype, device=generator.device, generator=generator)
    return source + tau * noise.to(source.device)
