"""Checkpoints come back as they were, and anything else is refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from laminar.errors import CheckpointError, ConfigError, LaminarError
from laminar.models import (
    Model,
    Prior,
    PriorConfig,
    RegularizerConfig,
    UnrolledConfig,
    UnrolledNetwork,
    VarNet,
    VarNetConfig,
    build,
    load,
    load_any,
    load_prior,
    save,
)
from laminar.models.checkpoint import SETTINGS, WEIGHTS, _checksum, find, read_settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save(network(), tmp_path / "net", {"note": "a card"})
    return tmp_path / "net"


def network(**settings: object) -> UnrolledNetwork:
    return UnrolledNetwork(
        config=UnrolledConfig(n_cascades=2, regularizer=RegularizerConfig(channels=[4, 6])), **settings
    )


MODELS: dict[str, Callable[[], Model]] = {
    "flow": network,
    "learned": lambda: network(coefficients="learned", shared=True),
    "free": lambda: network(coefficients="free"),
    "varnet": lambda: VarNet(VarNetConfig(2, 3, 1, 2, 1)),
    "prior": lambda: Prior(PriorConfig(channels=[4, 6], embedding=8)),
}


def test_loading_leaves_the_random_state_alone(folder: Path) -> None:
    before = torch.random.get_rng_state()
    load_any(folder)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", MODELS)
def test_round_trip_and_same_bytes(tmp_path: Path, name: str) -> None:
    net = MODELS[name]()
    save(net, tmp_path / "a", {"note": 1})
    save(net, tmp_path / "b", {"note": 1})
    again = load_any(tmp_path / "a")
    assert type(again) is type(net)
    assert again.config == net.config
    assert not again.training
    for key, tensor in net.state_dict().items():
        assert torch.equal(again.state_dict()[key], tensor), key
    for file in (WEIGHTS, SETTINGS):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_prior_is_no_network_and_a_network_no_prior(folder: Path, tmp_path: Path) -> None:
    save(MODELS["prior"](), tmp_path / "prior")
    assert isinstance(load_prior(tmp_path / "prior"), Prior)
    with pytest.raises(CheckpointError, match="is a prior and no network: --method dds --prior"):
        load(tmp_path / "prior")
    with pytest.raises(CheckpointError, match="is a network and no prior: --model"):
        load_prior(folder)


def test_only_an_unrolled_network_takes_a_regularizer() -> None:
    with pytest.raises(ConfigError, match="part of an unrolled network; got one with a PriorConfig"):
        build(PriorConfig(), nn.Identity())


def test_the_network_that_ships_loads_under_its_format() -> None:
    assert isinstance(load(), UnrolledNetwork)
    assert read_settings(find("default"))["format"] == "laminar-unrolled-network"


def test_a_checkpoint_is_replaced_whole(folder: Path) -> None:
    save(network(coefficients="free"), folder)
    assert load(folder).config.coefficients == "free"
    assert [p.name for p in folder.parent.iterdir()] == ["net"]


class Mine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.rand(()))

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return self.gain * x


def test_a_module_of_the_user(tmp_path: Path) -> None:
    net = UnrolledNetwork(Mine(), n_cascades=3)
    save(net, tmp_path / "mine")
    again = load(tmp_path / "mine", regularizer=Mine())
    assert all(torch.equal(a.gain, b.gain) for a, b in zip(again.regularizers, net.regularizers, strict=True))
    with pytest.raises(CheckpointError, match="--regularizer MODULE:CLASS"):
        load(tmp_path / "mine")


def change_settings(folder: Path, **changes: object) -> None:
    settings = json.loads((folder / SETTINGS).read_text())
    settings.update(changes)
    (folder / SETTINGS).write_text(json.dumps(settings))


def change_config(folder: Path, **changes: object) -> None:
    """Change the configuration as somebody would who makes the checksum fit."""
    config = json.loads((folder / SETTINGS).read_text())["config"] | changes
    change_settings(folder, config=config, sha256=_checksum(config, (folder / WEIGHTS).read_bytes()))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no such model": lambda f: (f / WEIGHTS).unlink() or (f / SETTINGS).unlink() or f.rmdir(),
    "cannot be read": lambda f: (f / WEIGHTS).unlink(),
    "cannot be read as a model": lambda f: (f / SETTINGS).write_text("{"),
    "checksum": lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-1] + b"x"),
    "expected a file of format": lambda f: change_settings(f, format="other"),
    "expected version": lambda f: change_settings(f, version=99),
    "another configuration": lambda f: change_config(f, n_cascades=3),
    "unknown setting 'n_cascade' of UnrolledConfig; did you mean": lambda f: change_config(f, n_cascade=3),
    "configuration is not valid": lambda f: change_config(f, noise_floor="x"),
    "regularizer.channels": lambda f: change_config(f, regularizer={"channels": []}),
    "weights or configuration are not those that were saved": lambda f: change_settings(f, config={"n_cascades": 2}),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_damage_is_named(folder: Path, message: str) -> None:
    DAMAGE[message](folder)
    with pytest.raises(CheckpointError, match="no model" if message == "no such model" else message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_nan_weights_are_refused(tmp_path: Path) -> None:
    net = network()
    nn.init.constant_(net.regularizers[0].first.weight, float("nan"))
    save(net, tmp_path / "nan")
    with pytest.raises(CheckpointError, match="NaN"):
        load(tmp_path / "nan")


def test_an_unwritable_place_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LaminarError, match="cannot write"):
        save(network(), tmp_path / "file" / "net")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
