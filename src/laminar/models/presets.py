"""The published networks as named settings."""

from __future__ import annotations

from typing import Any

from laminar.errors import ConfigError
from laminar.models.config import UnrolledConfig, nearest

PRESETS: dict[str, UnrolledConfig] = {
    "flat": UnrolledConfig(),
    "varnet": UnrolledConfig(data_step="gradient", coefficients="free", source="zero-filled", data_weight=1.0),
    "modl": UnrolledConfig(coefficients="free", shared=True, source="zero-filled", data_weight=0.05, cg_iterations=10),
}


def preset(name: str, **changes: Any) -> UnrolledConfig:
    """A named network; `changes` replace single settings.

    `flat`: FLAT (arXiv 2512.03020) with the proximal endpoint and a CG-SENSE source in place of the paper's explicit
    step; `varnet`: the form of E2E-VarNet in the image domain (arXiv 2004.06688, no learned sensitivities); `modl`: the
    form of MoDL (arXiv 1712.02862), one regularizer for all cascades, told the time. Raises ConfigError.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}{nearest(name, list(PRESETS))}")
    return PRESETS[name].changed(**changes)
