"""What the coefficients of a network say about the flow that it discretizes, if it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from laminar.flow import DATA_STEPS, discretization
from laminar.methods import Coefficients


def recovered(stated: Sequence[Coefficients]) -> dict[str, Any] | None:
    """What the coefficients stated for each slice imply, means over slices, as plain values; None for none."""
    if not stated:
        return None
    steps, data = (torch.stack([getattr(c, name) for c in stated]).mean(0) for name in ("steps", "data"))
    found = discretization(DATA_STEPS[stated[0].data_step], steps, data)
    levels = _levels(stated)
    level = float(levels.mean()) if bool(levels.isfinite().all()) else None
    reading = None if level is None else "paper" if stated[0].prior_std is None else "prior_std"
    return {
        "data_step": stated[0].data_step,
        "steps": steps.tolist(),
        "relative_steps": found.steps.tolist(),
        "data": data.tolist(),
        "times": found.times.tolist(),
        "noise_ratios": found.ratio.tolist(),
        "last_step_error": found.last_step_error,
        "margin": found.margin,
        "is_discretization": found.holds(),
        "implied_noise_level": level,
        "implied_noise_levels": levels.tolist(),
        "implied_noise_reading": reading,
    }


def _ratios(c: Coefficients) -> Tensor:
    return DATA_STEPS[c.data_step].ratios(c.steps, c.data)


def _levels(stated: Sequence[Coefficients]) -> Tensor:
    """The sigma that each cascade's coefficient implies, in the units of the problem; NaN where it implies none.

    A coefficient implies `sigma^2 / nu^2`, so only a stated prior width gives sigma; the paper's form has no nu.
    """
    level = torch.stack([_ratios(c) for c in stated]).mean(0).clamp_min(0).sqrt()
    if stated[0].prior_std is not None:
        level = level * torch.stack([c.prior_std for c in stated if c.prior_std is not None]).mean(0)
    elif not DATA_STEPS[stated[0].data_step].absolute:
        level = torch.full_like(level, torch.nan)
    return torch.where(level > 0, level, torch.nan)
