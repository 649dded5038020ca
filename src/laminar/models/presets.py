"""The published networks, and those that ship, as named settings."""

from __future__ import annotations

from typing import Any

from laminar.models.config import RegularizerConfig, UnrolledConfig, VarNetConfig
from laminar.models.prior import PriorConfig
from laminar.registry import PRESETS, resolve

ModelConfig = UnrolledConfig | VarNetConfig | PriorConfig

DC_CNN = UnrolledConfig(
    n_cascades=5,
    data_step="hard",
    coefficients="free",
    source="zero-filled",
    regularizer=RegularizerConfig(kind="cnn", channels=[64], depth=5),
)
FLAT = UnrolledConfig()
DEFAULT = FLAT.changed(
    phase_frame=True,
    scan_embedding=True,
    coefficients="learned",
    schedule_alpha=4.0,  # each cascade goes more than half of the way
    source_std=0.6,
    prior_std=0.25,
    least_prior_std=0.1,
    scan_prior_std=True,
    noise_floor=0.02,
    regularizer=RegularizerConfig(channels=[32, 64, 64, 96]),
)
SAMPLER = UnrolledConfig(
    n_cascades=10,
    shared=True,
    see_source=True,
    phase_frame=True,
    scan_embedding=True,
    source_noise=0.2,
    regularizer=RegularizerConfig(channels=[48, 96, 96, 128], padding="circular"),
)
VARNET = UnrolledConfig(data_step="gradient", coefficients="free", source="zero-filled", data_weight=1.0)
E2E_VARNET = VarNetConfig()
MODL = UnrolledConfig(
    coefficients="free",
    shared=True,
    time_embedding=False,
    source="zero-filled",
    data_weight=0.05,
    cg_iterations=10,
)
DC_CNN_SOFT = DC_CNN.changed(data_step="soft")
ISTA_NET_PLUS = UnrolledConfig(
    n_cascades=9,
    data_step="ista",
    coefficients="free",
    source="zero-filled",
    data_weight=0.5,
    regularizer=RegularizerConfig(kind="ista", channels=[32]),
)
UNET = UnrolledConfig(
    n_cascades=1,
    data_step="none",
    coefficients="free",
    source="zero-filled",
    regularizer=RegularizerConfig(kind="normunet", channels=[32, 64, 128, 256, 512]),
)
PRIOR = PriorConfig()


def preset(name: str, **changes: Any) -> ModelConfig:
    """A named network; `changes` replace single settings. Raises ConfigError for unknown names and settings.

    * `flat`: FLAT (arXiv 2512.03020) with the proximal endpoint and a CG-SENSE source in place of the paper's
      explicit step.
    * `default`: the form of the model that ships: FLAT that trusts itself less, in the smooth phase of the scan, told
      its noise level and acceleration, which its widths follow, its schedule learned from one that is dense at the
      image; trained for decibels, without alignment.
    * `sampler`: FLAT from a noisy source, one regularizer that sees the source, in the smooth phase of the scan, told
      its noise level and acceleration: draws samples of the posterior.
    * `varnet`: the form of E2E-VarNet in the image domain (arXiv 2004.06688, no learned sensitivities).
    * `e2e-varnet`: E2E-VarNet in k-space with its sensitivity network (arXiv 2004.06688), for masks of lines.
    * `modl`: the form of MoDL (arXiv 1712.02862), one regularizer and one data weight for all cascades.
    * `dc-cnn`: D5C5, a cascade of residual CNNs with hard replacement (arXiv 1704.02422), without biases.
    * `dc-cnn-soft`: the same for noisy data: sampled k-space becomes `(k + v y) / (1 + v)`, one learned v a cascade.
    * `ista-net-plus`: ISTA-Net+ (arXiv 1706.07929), 9 phases; `ObjectiveConfig.symmetry` weights its constraint.
    * `unet`: the U-Net of the fastMRI baseline (arXiv 1811.08839), complex, on the zero-filled image.
    * `prior`: no network for a measurement but a denoiser for the samplers, in the form of EDM (arXiv 2206.00364).
    """
    chosen: ModelConfig = resolve(PRESETS, name, "preset")
    return chosen.changed(**changes)
