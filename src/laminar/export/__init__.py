"""Trained networks for programs that do not have this package."""

from __future__ import annotations

from laminar.export.files import ROUTES, STAGES, compare, exported, inputs_of, write
from laminar.export.program import Program

__all__ = ["ROUTES", "STAGES", "Program", "compare", "exported", "inputs_of", "write"]
