"""Unrolled networks and their checkpoints."""

from laminar.models.checkpoint import load, save
from laminar.models.config import RegularizerConfig, UnrolledConfig
from laminar.models.presets import PRESETS, preset
from laminar.models.unrolled import UnrolledNetwork

__all__ = ["PRESETS", "RegularizerConfig", "UnrolledConfig", "UnrolledNetwork", "load", "preset", "save"]
