"""Training without ground truth (SSDU): reconstruct from some of the acquired samples, compare with the others.

Sources: Yaman et al. 2020, doi:10.1002/mrm.28378; several splits of each scan, doi:10.1002/nbm.4798.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from laminar.data.cases import Case
from laminar.data.preparation import Problem
from laminar.errors import ConfigError
from laminar.models import Model, UnrolledNetwork
from laminar.operators import LinearOperator
from laminar.runtime import seed_of
from laminar.training.objectives import HeldOutNorm, ObjectiveConfig
from laminar.training.splitting import split


def held_out_loss(image: Tensor, problem: Problem, held: Tensor, norm: HeldOutNorm = "db") -> Tensor:
    """How far an image (batch, y, x), or (batch, map, y, x), is from the samples of a problem at `held`, on average.

        d = M (F S x - y),  M: the samples held out
        l1+l2:  ||d||_2 / ||M y||_2 + ||d||_1 / ||M y||_1
        db:     10 log10(||d||_2^2 / ||M y||_2^2)

    `held` is bool (batch, y, x). The samples of all coils count alike. Drawn uniformly they are an unbiased sample of
    the squared error at those acquired outside the calibration region, noise included, by Parseval a part of that of
    the image: its level in decibels is near to the loss that supervised training knows as `db`.
    """
    y = (problem.y * held[:, None]).flatten(1)
    d = problem.sensed.masked(held).forward(image).flatten(1) - y
    least = torch.finfo(y.real.dtype).tiny
    squares = d.abs().square().sum(1) / y.abs().square().sum(1).clamp_min(least)
    if norm == "db":
        return 10 * squares.clamp_min(least).log10().mean()
    return (squares.clamp_min(least).sqrt() + d.abs().sum(1) / y.abs().sum(1).clamp_min(least)).mean()


class SelfSupervisedLearner(nn.Module):
    """Network and held-out loss, averaged over `objective.splitting.masks` splits of the batch, in one forward pass."""

    def __init__(self, network: UnrolledNetwork, config: ObjectiveConfig, recompute: bool = False) -> None:
        super().__init__()
        self.network, self.config, self.recompute = network, config, recompute

    def forward(self, y: Tensor, operator: LinearOperator, noise_level: Tensor, seed: int) -> dict[str, Tensor]:
        """The loss; `seed` is that of the splits and of the source's noise."""
        generator = torch.Generator().manual_seed(seed)
        problem = Problem(y, operator, noise_level, torch.ones_like(noise_level))
        seeds = (seed_of(seed, index) for index in range(self.config.splitting.masks))
        losses = [self._of_a_split(problem, generator, seed) for seed in seeds]
        return {"loss": torch.stack(losses).mean()}

    def _of_a_split(self, problem: Problem, generator: torch.Generator, seed: int) -> Tensor:
        given, held = split(problem, self.config.splitting, generator)
        noise = torch.Generator(given.y.device).manual_seed(seed)
        trajectory = self.network.trajectory(
            given.y, given.operator, given.noise_level, generator=noise, recompute=self.recompute
        )
        return held_out_loss(trajectory.image, problem, held, self.config.held_out_norm)


class SelfSupervisedTask:
    """A network learns from acquired samples alone; the best has the lowest loss on those held out of fixed scans."""

    def __init__(self, network: Model, config: ObjectiveConfig, recompute: bool) -> None:
        if not isinstance(network, UnrolledNetwork):
            raise ConfigError(
                "objective.self_supervised compares an image with k-space through known sensitivities: it needs an "
                f"unrolled network; got a {type(network).__name__}"
            )
        self.learner = SelfSupervisedLearner(network, config, recompute)

    def inputs(self, batch: Case) -> tuple[Any, ...]:
        return batch.problem.y, batch.problem.operator, batch.problem.noise_level

    def merit(self, scores: dict[str, Any]) -> float:
        return -float(scores["loss"])

    @torch.no_grad()
    def evaluate(self, model: Model, validation: list[Case]) -> dict[str, Any]:
        """The mean loss over fixed batches and splits."""
        assert isinstance(model, UnrolledNetwork)
        learner = SelfSupervisedLearner(model, self.learner.config)
        device, mode = next(model.parameters()).device, model.training
        model.eval()
        batches = enumerate(batch.to(device) for batch in validation)
        losses = [float(learner(*self.inputs(batch), seed=index)["loss"]) for index, batch in batches]
        model.train(mode)
        return {"loss": sum(losses) / len(losses)}
