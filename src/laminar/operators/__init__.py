"""Linear operators: pure functions of tensors, never changed after they are made."""

from laminar.operators.encoding import Encoding
from laminar.operators.fourier import fft2c, ifft2c
from laminar.operators.linear import (
    Identity,
    LinearOperator,
    conjugate_gradient,
    solve,
    spectral_norm,
    squared_norm,
    wrap,
)

__all__ = [
    "Encoding",
    "Identity",
    "LinearOperator",
    "conjugate_gradient",
    "fft2c",
    "ifft2c",
    "solve",
    "spectral_norm",
    "squared_norm",
    "wrap",
]
