"""Settings without effect have none, and all others have one: read off the networks themselves."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.models import UnrolledConfig, UnrolledNetwork
from laminar.models.config import RegularizerConfig
from laminar.models.effects import without_effect
from laminar.operators import Encoding
from laminar.training.config import DataConfig, TrainConfig

OTHERS: dict[str, Any] = {
    "prior_std": 0.5,
    "learn_prior_std": False,
    "least_prior_std": 0.3,
    "scan_prior_std": True,
    "schedule_alpha": 1.0,
    "schedule_times": [1.0, 0.7, 0.0],
    "data_weight": 0.7,
    "source_std": 0.05,
    "noise_floor": 0.3,
    "source_iterations": 1,
    "cg_iterations": 1,
    "cg_tolerance": 0.5,
    "regularizer.fold": 1,
    "regularizer.depth": 3,
}
CNN = RegularizerConfig(kind="cnn", channels=[4], depth=2)
UNET = RegularizerConfig(channels=[4, 4])
TINY = UnrolledConfig(n_cascades=2, regularizer=UNET)
CONFIGS = {
    "flow": TINY,
    "free": TINY.changed(coefficients="free", source="zero-filled"),
    "free gradient": TINY.changed(coefficients="free", data_step="gradient"),
    "hard": TINY.changed(coefficients="free", data_step="hard", regularizer=CNN),
    "flow hard": TINY.changed(data_step="hard", source="zero-filled"),
    "imex": TINY.changed(data_step="imex", schedule="list", schedule_times=[1.0, 0.5, 0.0]),
    "admm": TINY.changed(data_step="admm", schedule="cosine"),
    "paper": TINY.changed(data_step="paper"),
    "none": TINY.changed(data_step="none", source="zero-filled"),
}


def changed(config: UnrolledConfig, name: str) -> UnrolledConfig:
    group, _, setting = name.rpartition(".")
    if group:
        return replace(config, regularizer=config.regularizer.changed(**{setting: OTHERS[name]}))
    return config.changed(**{name: OTHERS[name]})


def outcome(config: UnrolledConfig) -> list[Tensor | bool]:
    """Shapes and trainability of the parameters, and the image, of a network of random regularizers."""
    torch.manual_seed(0)
    network = UnrolledNetwork(config=config)
    for parameter in network.regularizers.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    mask = torch.rand(2, 1, 12) < 0.7
    maps = torch.randn(2, 3, 12, 12, dtype=torch.complex64)
    operator = Encoding(mask.expand(2, 12, 12), maps / maps.abs().square().sum(1, keepdim=True).sqrt())
    y = operator.forward(torch.randn(2, 12, 12, dtype=torch.complex64))
    with torch.no_grad():
        image = network(y, operator, 0.05)
    known = [torch.tensor(p.shape) for p in network.parameters()], [p.requires_grad for p in network.parameters()]
    return [*known[0], *known[1], image]


@pytest.mark.parametrize("name", CONFIGS)
def test_settings_without_effect_have_none_and_all_others_have_one(name: str) -> None:
    config = CONFIGS[name]
    usual, idle = outcome(config), without_effect(config)
    assert set(OTHERS) <= {f.name for f in fields(UnrolledConfig)} | {"regularizer.fold", "regularizer.depth"}
    for setting in OTHERS:
        found = outcome(changed(config, setting))
        same = len(found) == len(usual) and all(
            torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a == b
            for a, b in zip(found, usual, strict=True)
        )
        assert same == (setting in idle), f"{setting} with {name}"


def test_a_training_refuses_settings_without_effect() -> None:
    with pytest.raises(ConfigError, match=r"model\.least_prior_std means nothing with free coefficients: leave it at"):
        TrainConfig(model=UnrolledConfig(coefficients="free", least_prior_std=0.1))
    with pytest.raises(ConfigError, match=r"model\.regularizer\.depth means nothing for a regularizer of kind unet"):
        TrainConfig(model=UnrolledConfig(regularizer=RegularizerConfig(depth=3)))
    with pytest.raises(ConfigError, match=r"model\.source_motion_std means nothing with source zero-filled"):
        TrainConfig(model=UnrolledConfig(source="zero-filled", source_motion_std=0.1))


def test_a_cine_brings_no_setting_without_effect() -> None:
    config = TrainConfig(model=UnrolledConfig(source="zero-filled"), data=DataConfig(geometry="cine"))
    assert isinstance(config.model, UnrolledConfig)
    assert (config.model.source_motion_std, config.model.geometry) == (0.0, "cine")
