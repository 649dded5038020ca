"""What FLAT optimizes, where the answer is known: the exact posterior mean of a Gaussian world."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from laminar.flow import interpolate, uniform_schedule
from laminar.models import UnrolledNetwork
from laminar.theory.learned import NETWORK, Linear, distance_from_the_mean, fit_network
from laminar.theory.world import GaussianWorld


def test_flat_optimizes_the_posterior_mean() -> None:
    """L2, cascades linear in (x, y), on-policy: the optimum is x^(k) = (1 - t_k) mu_y + t_k x1, at the end mu_y.

    The best cascades for M samples are least squares, one after the other. They miss by M^(-1/2).
    """
    world = GaussianWorld(size=3, batch_size=40_000)
    times = uniform_schedule(3)

    def least_squares(inputs: Tensor, goal: Tensor) -> Tensor:
        return torch.linalg.lstsq(inputs.mH @ inputs + 1e-12 * torch.eye(inputs.shape[1]), inputs.mH @ goal).solution

    def sample(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        batch = replace(world, seed=seed).batch(0)
        problem = batch.problem
        source = problem.operator.adjoint(problem.y).flatten(1).cdouble()
        y = problem.y[problem.encoding.mask[:, None]].view(len(source), -1).cdouble()
        return batch.image.flatten(1).cdouble(), source, y, world.posterior_mean(problem).flatten(1)

    image, source, y, _ = sample(0)
    _, new_source, new_y, mean = sample(1)
    errors = []
    for count in (400, 2_500, 40_000):
        x, new_x, worst = source[:count], new_source, 0.0
        for time in times[1:]:
            inputs = torch.cat([x, y[:count]], 1)
            weights = least_squares(inputs, interpolate(image[:count], source[:count], time))
            x, new_x = inputs @ weights, torch.cat([new_x, new_y], 1) @ weights
            worst = max(worst, float((new_x - interpolate(mean, new_source, time)).norm() / mean.norm()))
        errors.append(worst)
    slopes = [
        math.log(b / a) / math.log(n / m) for a, b, m, n in ((*errors[:2], 400, 2500), (*errors[1:], 2500, 40_000))
    ]
    assert slopes == pytest.approx([-0.5, -0.5], abs=0.1)
    assert errors[-1] < 0.03


def test_the_whole_pipeline_finds_the_posterior_mean(tmp_path: Path) -> None:
    """Simulate, train by FLAT with the training loop, reconstruct: near the exact answer, far from where it began."""
    world = GaussianWorld(size=7)
    network = fit_network(world, batches=120, steps=240, alignment=1.0, folder=tmp_path)
    image, states = distance_from_the_mean(network, replace(world, seed=2))
    untrained, _ = distance_from_the_mean(UnrolledNetwork(Linear(49), NETWORK), replace(world, seed=2))
    assert untrained > 0.25
    assert image < 0.06
    assert max(states) < 0.06
