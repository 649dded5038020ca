"""Unrolled networks and their checkpoints."""

from laminar.models.checkpoint import load, save
from laminar.models.config import PRESETS, RegularizerConfig, UnrolledConfig, preset
from laminar.models.unrolled import UnrolledNetwork

__all__ = ["PRESETS", "RegularizerConfig", "UnrolledConfig", "UnrolledNetwork", "load", "preset", "save"]
