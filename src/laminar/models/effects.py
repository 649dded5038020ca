"""Settings of an unrolled network that mean nothing beside its others."""

from __future__ import annotations

from collections.abc import Iterator

from laminar.flow import DATA_STEPS
from laminar.models.config import UnrolledConfig


def without_effect(config: UnrolledConfig) -> dict[str, str]:
    """The settings that change nothing in a network of this configuration, each with the reason.

    Those at their defaults stand among them: nobody has asked for them.
    """
    return {name: reason for names, reason in _idle(config) for name in names}


def _idle(config: UnrolledConfig) -> Iterator[tuple[tuple[str, ...], str]]:
    step, free = DATA_STEPS[config.data_step], config.coefficients == "free"
    widths = ("prior_std", "learn_prior_std", "least_prior_std", "scan_prior_std")
    if free:
        yield (*widths, "schedule", "schedule_alpha", "schedule_dense_at", "schedule_times"), "with free coefficients"
    elif not step.knows_width:
        yield widths, f"with data_step {step.name}"
    if not config.learn_prior_std:
        yield ("scan_prior_std",), "without learn_prior_std"
    if not free or step.constant:
        yield ("data_weight",), f"with coefficients {config.coefficients} and data_step {step.name}"
    if config.source != "cg-sense":
        yield ("source_std", "source_motion_std"), f"with source {config.source}"
        if free or step.constant:
            yield ("noise_floor",), f"with source {config.source} and data weights that know no noise"
    if config.source == "zero-filled":
        yield ("source_iterations",), "with source zero-filled"
    if not step.solves:
        yield ("cg_iterations", "cg_tolerance", "scan_noise"), f"with data_step {step.name}, which solves nothing"
    if not config.solver_tolerance:
        yield ("solver_max_nfe",), "without solver_tolerance"
    if config.schedule != "list":
        yield ("schedule_times",), f"with schedule {config.schedule}"
    if config.schedule != "power":
        yield ("schedule_alpha",), f"with schedule {config.schedule}"
    if config.schedule == "list":
        yield ("schedule_dense_at",), "with schedule list"
    kind = config.regularizer.kind
    if kind != "unet":
        yield ("regularizer.fold", "regularizer.padding"), f"for a regularizer of kind {kind}"
    if kind not in ("cnn", "separable"):
        yield ("regularizer.depth",), f"for a regularizer of kind {kind}"
