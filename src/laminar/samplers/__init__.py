"""Posterior samplers as functions of a denoiser, an operator and y: diffusion and flow matching under one signature.

A denoiser is `denoise(z, sigma) = E[x0 | x0 + sigma eps = z]`; `theory.conversions.by_noise_level` makes one of a
network of any path. Images are complex (batch, ...), y is (batch, ...) as the operator returns it: for several samples
of one scan repeat y. All return a `Trajectory`, keep to a budget of evaluations (`nfe`) and say in their docstring what
they approximate and where they are biased; `benchmarks.samplers` measures it.
"""

from laminar.samplers.conditional import mc_ddpm
from laminar.samplers.ddim import ddim
from laminar.samplers.dds import dds
from laminar.samplers.guidance import dps, ot_ode, pigdm
from laminar.samplers.plug_and_play import flower, pnp_flow
from laminar.samplers.projection import score_mri
from laminar.samplers.schedules import RECTIFIED, VE, VP, WARM, Schedule, edm, follow, uniform

__all__ = [
    "RECTIFIED",
    "VE",
    "VP",
    "WARM",
    "Schedule",
    "ddim",
    "dds",
    "dps",
    "edm",
    "flower",
    "follow",
    "mc_ddpm",
    "ot_ode",
    "pigdm",
    "pnp_flow",
    "score_mri",
    "uniform",
]
