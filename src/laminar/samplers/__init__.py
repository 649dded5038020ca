"""Posterior samplers of a denoiser, an operator and y: diffusion and flow matching under one runner.

    sample(DDS(weight=0.2), denoise, operator, y, noise_level=0.01, prior_std=0.45, nfe=50, generator=generator)

A denoiser is `denoise(z, sigma) = E[x0 | x0 + sigma eps = z]`; `theory.conversions.by_noise_level` makes one of a
network of any path. Images are complex (batch, ...), y is (batch, ...) as the operator returns it: for several samples
of one scan repeat y. A sampler is a frozen dataclass of its settings with a `step`; its docstring says what
it approximates and where it is biased, and `benchmarks.samplers` measures it.
"""

from laminar.samplers.context import Context, standard_noise
from laminar.samplers.ddim import DDIM, ddim
from laminar.samplers.diffusion import DDS, MCDDPM, ScoreMRI
from laminar.samplers.guidance import DPS, OTODE, PiGDM
from laminar.samplers.plug_and_play import Flower, PnPFlow
from laminar.samplers.sampler import Sampler, sample
from laminar.samplers.schedules import RECTIFIED, VE, VP, WARM, Schedule, edm, follow, uniform
from laminar.samplers.settings import Number, Setting

__all__ = [
    "DDIM",
    "DDS",
    "DPS",
    "MCDDPM",
    "OTODE",
    "RECTIFIED",
    "VE",
    "VP",
    "WARM",
    "Context",
    "Flower",
    "Number",
    "PiGDM",
    "PnPFlow",
    "Sampler",
    "Schedule",
    "ScoreMRI",
    "Setting",
    "ddim",
    "edm",
    "follow",
    "sample",
    "standard_noise",
    "uniform",
]
