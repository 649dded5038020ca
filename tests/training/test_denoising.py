"""How a prior is trained: its noise levels, its loss, its averaged weights, and what it learns of a Gaussian world."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.models import Prior, PriorConfig, UnrolledConfig, VarNetConfig
from laminar.theory.laws import deviation
from laminar.theory.learned import PRIOR, drawn, fit_prior, heun_samples
from laminar.theory.world import GaussianWorld
from laminar.training.average import Average
from laminar.training.config import DataConfig, ReferenceConfig, TrainConfig
from laminar.training.denoising import DenoisingConfig, DenoisingLearner, weighted_error
from laminar.training.objectives import ObjectiveConfig

SMALL = PriorConfig(sigma_data=0.3, channels=[4, 6], embedding=8)


@pytest.mark.parametrize("place", [0.5, torch.rand(1000, generator=torch.Generator().manual_seed(0))])
def test_levels_are_log_normal_one_in_each_equally_likely_interval(place: float | Tensor) -> None:
    config = DenoisingConfig(log_mean=-1.3, log_std=0.7)
    normal = (config.levels(1000, place).log().double() + 1.3) / 0.7
    cumulative = 0.5 * (1 + torch.erf(normal / math.sqrt(2)))
    edges = torch.arange(1001) / 1000
    assert bool(((cumulative > edges[:-1] - 1e-5) & (cumulative < edges[1:] + 1e-5)).all())


@torch.no_grad()
def test_the_loss_is_the_squared_error_of_the_network() -> None:
    """lambda |D - x0|^2 = |F - (x0 - c_skip z) / c_out|^2, EDM eq. 8."""
    torch.manual_seed(0)
    prior, level = Prior(SMALL).double(), torch.tensor([0.01, 0.3, 9.0], dtype=torch.float64)
    torch.nn.init.normal_(prior.network.last.weight)
    shapes: list[Tensor] = []
    prior.network.register_forward_hook(lambda module, inputs, result: shapes.append(result))
    x0, noise = torch.randn(2, 3, 8, 8, dtype=torch.complex128)
    z, wide = x0 + level[:, None, None] * noise, level[:, None, None]
    loss = weighted_error(prior(z, level), x0, level, 0.3)
    total = (wide**2 + 0.09).sqrt()
    goal = (x0 - 0.09 / total**2 * z) / (wide * 0.3 / total)
    torch.testing.assert_close(loss, (shapes[0] - goal).abs().square().mean((1, 2)), rtol=1e-10, atol=0)


@pytest.mark.parametrize("turned", [False, True])
@torch.no_grad()
def test_before_training_the_loss_of_white_images_is_one(turned: bool) -> None:
    """The goal of the network has unit variance; 40 000 samples of it miss one by 1/200."""
    images = 0.3 * torch.randn(16, 50, 50, dtype=torch.complex64, generator=torch.Generator().manual_seed(2))
    learner = DenoisingLearner(Prior(SMALL), DenoisingConfig(random_phase=turned))
    losses = [float(learner(images, seed=seed)["loss"]) for seed in (0, 1, 0)]
    assert losses == pytest.approx([1, 1, 1], abs=0.03)
    assert losses[0] == losses[2] != losses[1]


def test_averaged_weights_follow_the_sum() -> None:
    """a_K = sum_k (1 - d_k) w_k prod_{j > k} d_j, with d_k = min(decay, (1 + k) / (10 + k))."""
    prior = Prior(SMALL).double()
    average, expected = Average(prior, 0.5), prior.network.first.bias.detach().clone()
    for step in range(1, 30):
        torch.nn.init.normal_(prior.network.first.bias)
        average.update(prior, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * prior.network.first.bias.detach()
    torch.testing.assert_close(average.model.network.first.bias, expected, rtol=0, atol=1e-14)
    assert not any(parameter.requires_grad for parameter in average.model.parameters())


def test_a_trained_prior_knows_the_covariance_of_its_images(tmp_path: Path) -> None:
    """In a Gaussian world: far nearer to the truth than before, and near to what exact samples show."""
    world = GaussianWorld(size=4, batch_size=32)
    trained = fit_prior(world, 150, tmp_path)
    after, before = (
        deviation(drawn(heun_samples, prior.eval(), 15, 1024, world.size), world.prior)
        for prior in (trained, Prior(PRIOR))
    )
    floor = deviation(world.prior.sample(1024, torch.Generator().manual_seed(0)), world.prior)
    assert before.covariance > 0.7
    assert after.covariance < 0.4
    assert after.mean < floor.mean + 0.1


WRONG = {
    "objective means nothing": {"model": PriorConfig(), "objective": ObjectiveConfig(ssim=0)},
    "reference means nothing": {"model": PriorConfig(), "reference": ReferenceConfig(tolerance=1e-3)},
    "recompute means nothing": {"model": PriorConfig(), "recompute": True},
    "denoising means nothing": {"denoising": DenoisingConfig(log_std=1)},
    "ema must be below 1": {"ema": 1.0},
    "ema must be at least 0": {"ema": -0.1},
    "need an unrolled network; got a VarNetConfig": {
        "model": VarNetConfig(),
        "objective": ObjectiveConfig(flow_matching=1),
    },
}


@pytest.mark.parametrize("message", WRONG)
def test_settings_without_a_meaning_are_refused(message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**WRONG[message])


def test_wrong_noise_levels_are_refused() -> None:
    for name, value in {"log_mean": math.nan, "log_std": 0.0, "validation_levels": 0}.items():
        with pytest.raises(ConfigError, match=f"denoising.{name}"):
            replace(DenoisingConfig(), **{name: value})


def test_every_kind_of_model_has_defaults_that_suit_it() -> None:
    assert TrainConfig.suited(UnrolledConfig()) == TrainConfig()
    assert TrainConfig.suited(PriorConfig()).ema == 0.999
    assert "poisson" not in TrainConfig.suited(VarNetConfig()).data.sampling.kinds
    assert TrainConfig.suited(PriorConfig()).data == DataConfig()
