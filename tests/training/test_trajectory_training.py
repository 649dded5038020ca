"""Training of a network by its trajectory: what it does to the network, and what not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from laminar.data.cases import Case
from laminar.data.preparation import Problem
from laminar.errors import ConfigError
from laminar.models import (
    ModelConfig,
    RegularizerConfig,
    UnrolledConfig,
    UnrolledNetwork,
    VarNet,
    VarNetConfig,
    build,
)
from laminar.models.prior import Prior
from laminar.operators import Encoding
from laminar.training.config import TrainConfig
from laminar.training.objectives import ObjectiveConfig
from laminar.training.reconstruction import ReconstructionTask

UNROLLED = UnrolledConfig(n_cascades=2, regularizer=RegularizerConfig(kind="ista", channels=[4]))
VARNET = VarNetConfig(2, 3, 1, 2, 1)


def one_batch() -> Case:
    generator = torch.Generator().manual_seed(0)
    maps, image = (torch.randn(2, n, 16, 20, dtype=torch.complex64, generator=generator) for n in (3, 1))
    maps, image = maps / maps.norm(dim=1, keepdim=True), image[:, 0]
    mask = (torch.arange(20) % 2 == 0).expand(2, 16, 20)
    problem = Problem(Encoding(mask, maps).forward(image), Encoding(mask, maps), torch.full((2,), 0.1), torch.ones(2))
    return Case(problem, image)


@pytest.mark.parametrize("config", [UNROLLED, VARNET])
def test_training_leaves_nothing_behind_but_weights(config: ModelConfig) -> None:
    """Recomputing is that of the training alone, with the same gradient; validation gives the network back its mode."""
    batch, gradients, calls = one_batch(), [], list[None]()
    torch.manual_seed(0)
    network = build(config)
    assert not isinstance(network, Prior)
    blocks = network.cascades if isinstance(network, VarNet) else network.regularizers
    blocks[0].register_forward_pre_hook(lambda *_: calls.append(None))
    before = {name: value for name, value in vars(network).items() if not name.startswith("_")}
    for recompute, count in ((False, 1), (True, 2)):
        task = ReconstructionTask(network, ObjectiveConfig(symmetry=0.1), recompute)
        network.zero_grad()
        calls.clear()
        task.learner(*task.inputs(batch), seed=0)["loss"].backward()
        assert len(calls) == count
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain, rtol=1e-5, atol=1e-7)
    network.eval()
    task.evaluate(network, [batch])
    assert not network.training
    assert {name: value for name, value in vars(network).items() if not name.startswith("_")} == before | {
        "training": False
    }
    calls.clear()
    problem = batch.problem
    network.trajectory(problem.y, problem.operator, problem.noise_level).image.abs().sum().backward()
    assert len(calls) == 1


def test_a_network_with_a_velocity_is_trained_at_numbers_of_cascades_of_a_range() -> None:
    config = UnrolledConfig(n_cascades=4, shared=True, regularizer=RegularizerConfig(channels=[4, 6]))
    torch.manual_seed(0)
    network, calls, depths = build(config), list[None](), set[int]()
    assert isinstance(network, UnrolledNetwork)
    network.regularizers[0].register_forward_pre_hook(lambda *_: calls.append(None))
    task = ReconstructionTask(network, ObjectiveConfig(random_cascades=(2, 5)), recompute=False)
    for seed in range(20):
        calls.clear()
        task.learner(*task.inputs(one_batch()), seed=seed)["loss"].backward()
        depths.add(len(calls))
    assert depths == {2, 3, 4, 5}
    with pytest.raises(ConfigError, match="velocity at every time"):
        TrainConfig(model=replace(config, shared=False), objective=ObjectiveConfig(random_cascades=(2, 5)))
    with pytest.raises(ConfigError, match="a range such as"):
        ObjectiveConfig(random_cascades=(5, 2))
