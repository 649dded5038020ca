"""The regularizers of an unrolled network: those that its settings name, or copies of a module of the user's own."""

from __future__ import annotations

import copy

from torch import nn

from laminar.errors import ConfigError
from laminar.models.config import CONDITIONS, UnrolledConfig
from laminar.networks import CNN, ISTA, Neighbors, NormUnet, SeparableCNN, UNet


def make_regularizers(config: UnrolledConfig, own: nn.Module | None) -> nn.ModuleList:
    """One for each cascade, or one for all if shared. Raises ConfigError if the user's own is no module."""
    if not isinstance(own, nn.Module | None):
        raise ConfigError(
            "regularizer must be a torch.nn.Module R(x, t), settings of a built-in one belong into config; "
            f"got {type(own).__name__}"
        )
    count = 1 if config.shared else config.n_cascades
    return nn.ModuleList(_regularizer(config) if own is None else copy.deepcopy(own) for _ in range(count))


def _regularizer(config: UnrolledConfig) -> nn.Module:
    reach = config.regularizer.neighbors
    return _built_in(config) if reach is None else Neighbors(_built_in(config), reach)


def _built_in(config: UnrolledConfig) -> nn.Module:
    options = config.regularizer
    first, *coarser = options.channels
    if options.kind == "unet":
        images = 1 + 2 * (options.neighbors or 0) + config.see_source
        conditions = CONDITIONS * config.scan_embedding
        return UNet(options.channels, options.fold, config.timed, images, conditions, options.padding)
    if options.kind == "cnn":
        return CNN(first, options.depth, time_embedding=config.timed)
    if options.kind == "separable":
        return SeparableCNN(first, options.depth, time_embedding=config.timed)
    if options.kind == "normunet":
        return NormUnet(first, len(coarser))
    if options.kind == "ista":
        return ISTA(first)
    raise ConfigError(
        "the regularizer is of the user's own: --regularizer MODULE:CLASS, or load(model, regularizer=yours)"
    )
