"""Linear operators: pure functions of tensors, never changed after they are made."""

from laminar.operators.counting import Counting
from laminar.operators.encoding import Encoding
from laminar.operators.foreign import check_operator, wrap
from laminar.operators.fourier import fft2c, ifft2c
from laminar.operators.linear import (
    Identity,
    LinearOperator,
    check_norm,
    conjugate_gradient,
    solve,
    spectral_norm,
    squared_norm,
)
from laminar.operators.moving import NonUniformFrames
from laminar.operators.nonuniform import NonUniform, density_weights, toeplitz_spectrum
from laminar.operators.projector import Beam, Projector, Weighted
from laminar.operators.restoration import Convolution, Inpainting, box, gaussian
from laminar.operators.soft import SoftSense, combined, pixel_magnitude
from laminar.operators.stacked import Stacked

__all__ = [
    "Beam",
    "Convolution",
    "Counting",
    "Encoding",
    "Identity",
    "Inpainting",
    "LinearOperator",
    "NonUniform",
    "NonUniformFrames",
    "Projector",
    "SoftSense",
    "Stacked",
    "Weighted",
    "box",
    "check_norm",
    "check_operator",
    "combined",
    "conjugate_gradient",
    "density_weights",
    "fft2c",
    "gaussian",
    "ifft2c",
    "pixel_magnitude",
    "solve",
    "spectral_norm",
    "squared_norm",
    "toeplitz_spectrum",
    "wrap",
]
