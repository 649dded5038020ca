"""Laminar: flow-aligned unrolled reconstruction for MRI and other linear inverse problems."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from laminar.version import __version__

if TYPE_CHECKING:
    from laminar.data.cases import Case
    from laminar.data.formats import read
    from laminar.data.preparation import Problem, prepare
    from laminar.models import UnrolledNetwork, build, load, preset, save
    from laminar.operators import Encoding, LinearOperator, wrap
    from laminar.reconstruction import Reconstruction, reconstruct
    from laminar.scan import Scan
    from laminar.training.loader import loader
    from laminar.training.objectives import ObjectiveConfig, alignment, objective

# Threads of GNU's OpenMP spin while they wait for each other, by default so long that one busy core makes all of them
# crawl: docs/performance.md. Before torch loads it.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "6000")

# Names are loaded when they are first used, so that `import laminar` costs nothing.
_HOMES = {
    "Case": "laminar.data.cases",
    "Scan": "laminar.scan",
    "Encoding": "laminar.operators",
    "build": "laminar.models",
    "LinearOperator": "laminar.operators",
    "ObjectiveConfig": "laminar.training.objectives",
    "Problem": "laminar.data.preparation",
    "Reconstruction": "laminar.reconstruction",
    "UnrolledNetwork": "laminar.models",
    "alignment": "laminar.training.objectives",
    "load": "laminar.models",
    "loader": "laminar.training.loader",
    "objective": "laminar.training.objectives",
    "prepare": "laminar.data.preparation",
    "preset": "laminar.models",
    "read": "laminar.data.formats",
    "reconstruct": "laminar.reconstruction",
    "save": "laminar.models",
    "wrap": "laminar.operators",
}

_MODULES = {
    "audit",
    "classical",
    "data",
    "errors",
    "evaluation",
    "flow",
    "geometry",
    "methods",
    "metrics",
    "models",
    "networks",
    "operators",
    "samplers",
    "statistics",
    "theory",
    "training",
    "uncertainty",
}

__all__ = [
    "Case",
    "Encoding",
    "LinearOperator",
    "ObjectiveConfig",
    "Problem",
    "Reconstruction",
    "Scan",
    "UnrolledNetwork",
    "__version__",
    "alignment",
    "build",
    "load",
    "loader",
    "objective",
    "prepare",
    "preset",
    "read",
    "reconstruct",
    "save",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"laminar.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'laminar' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
