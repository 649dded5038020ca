"""Every way to solve a problem behind one protocol: classical methods, trained networks, samplers, code of others."""

from laminar.methods.door import as_method, load_with, open_method, open_model, open_regularizer
from laminar.methods.method import Coefficients, Method, fingerprint
from laminar.methods.mirrored import MirroredMethod
from laminar.methods.named import ClassicalMethod, SamplerMethod, classical_method, sampler_method
from laminar.methods.networks import NetworkMethod, PosteriorMean
from laminar.methods.wrapped import AtDepth, OneSample

__all__ = [
    "AtDepth",
    "ClassicalMethod",
    "Coefficients",
    "Method",
    "MirroredMethod",
    "NetworkMethod",
    "OneSample",
    "PosteriorMean",
    "SamplerMethod",
    "as_method",
    "classical_method",
    "fingerprint",
    "load_with",
    "open_method",
    "open_model",
    "open_regularizer",
    "sampler_method",
]
