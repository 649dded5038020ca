"""Unrolled networks, the variational network, priors, and their checkpoints."""

from laminar.models.checkpoint import Model, Network, build, fill, load, load_any, load_prior, save, started
from laminar.models.config import RegularizerConfig, UnrolledConfig, VarNetConfig
from laminar.models.presets import ModelConfig, preset
from laminar.models.prior import Prior, PriorConfig
from laminar.models.unrolled import UnrolledNetwork
from laminar.models.varnet import VarNet

__all__ = [
    "Model",
    "ModelConfig",
    "Network",
    "Prior",
    "PriorConfig",
    "RegularizerConfig",
    "UnrolledConfig",
    "UnrolledNetwork",
    "VarNet",
    "VarNetConfig",
    "build",
    "fill",
    "load",
    "load_any",
    "load_prior",
    "preset",
    "save",
    "started",
]
