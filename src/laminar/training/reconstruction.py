"""How a reconstruction network is trained: by an objective on the trajectory that it takes from a measurement."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from laminar.data.cases import Case
from laminar.flow import Trajectory, interpolate, noisy
from laminar.flow.path import per_entry
from laminar.metrics import psnr, ssim
from laminar.models import Model, Network, Prior, UnrolledNetwork
from laminar.models.measurement import Measurement
from laminar.models.recompute import kept
from laminar.networks import ISTA
from laminar.operators import LinearOperator
from laminar.runtime import seed_of
from laminar.training.objectives import Norm, ObjectiveConfig, distance, objective


class Learner(nn.Module):
    """Network and objective in one forward pass, which is what can be spread over processes.

    `recompute` is that of the network's `trajectory`.
    """

    def __init__(self, network: Network, config: ObjectiveConfig, recompute: bool = False) -> None:
        super().__init__()
        self.network, self.config, self.recompute = network, config, recompute

    def forward(
        self,
        y: Tensor,
        operator: LinearOperator,
        noise_level: Tensor,
        target: Tensor,
        reference: tuple[list[Tensor], list[Tensor]] | None,
        seed: int,
    ) -> dict[str, Tensor]:
        """The terms of the loss; `seed` is that of the source's noise and of the times of flow matching."""
        generator = torch.Generator(target.device).manual_seed(seed)
        terms, trajectory = {"loss": target.real.new_zeros(())}, None
        if self.config.needs_trajectory:
            ideal = Trajectory(*reference, None, 0) if reference else None
            start = ideal.source if ideal else None
            trajectory = self.network.trajectory(
                y,
                operator,
                noise_level,
                source=start,
                generator=generator,
                n_cascades=self._drawn(seed),
                recompute=self.recompute,
            )
            terms |= objective(trajectory, target, self.config, ideal, operator.n_maps)
        if isinstance(self.network, UnrolledNetwork) and has_own_terms(self.network, self.config):
            scan = self.network.measure(y, operator, noise_level)
            terms = with_own_terms(
                terms, self.network, scan, trajectory, target, self.config, generator, self.recompute
            )
        return terms

    def _drawn(self, seed: int) -> int | None:
        """A number of cascades of the range that is asked for, if one is."""
        fewest, most = self.config.random_cascades
        return fewest + seed_of(seed) % (most - fewest + 1) if most else None


def has_own_terms(network: UnrolledNetwork, config: ObjectiveConfig) -> bool:
    """Whether `with_own_terms` has something to add."""
    return bool(config.flow_matching) or (bool(config.symmetry) and network.config.regularizer.kind == "ista")


def with_own_terms(
    terms: dict[str, Tensor],
    network: UnrolledNetwork,
    scan: Measurement,
    trajectory: Trajectory | None,
    target: Tensor,
    config: ObjectiveConfig,
    generator: torch.Generator,
    recompute: bool = False,
) -> dict[str, Tensor]:
    """`terms` and those that only an unrolled network has, in their sum under the key `loss` too."""
    own: dict[str, tuple[float, Tensor | None]] = {}
    if config.symmetry and trajectory:
        own["symmetry"] = config.symmetry, symmetry(network, scan, trajectory, recompute)
    if config.flow_matching:
        term = flow_matching(network, scan, target, config.flow_matching_norm, generator)
        own["flow_matching"] = config.flow_matching, term
    for name, (weight, value) in own.items():
        if value is not None:
            terms = terms | {name: value, "loss": terms["loss"] + weight * value}
    return terms


def symmetry(
    network: UnrolledNetwork, scan: Measurement, trajectory: Trajectory, recompute: bool = False
) -> Tensor | None:
    """ISTA-Net+'s constraint on its transforms, `mean |H~(H(D r)) - D r|^2`, averaged over the cascades.

    `r` is the image that each regularizer saw on the `trajectory` of this network from `scan`. None for a network
    whose regularizers are not of kind ista. arXiv 1706.07929, where it has the weight 0.01.
    """
    if network.config.regularizer.kind != "ista":
        return None

    def asymmetry(k: int, x: Tensor, c: Tensor) -> Tensor:
        regularizer = network.regularizer(k)
        assert isinstance(regularizer, ISTA)
        seen = network.data_step.seen(x, per_entry(c, x), scan)
        return regularizer.asymmetry(seen.reshape(-1, *scan.operator.image_shape(x)))

    data = network.coefficients(scan.noise_level, scan.conditions).data
    cascades = enumerate(zip(trajectory.states, data, strict=False))  # no regularizer sees the last state
    return torch.stack([kept(asymmetry, k, x, c, recompute=recompute) for k, (x, c) in cascades]).mean()


def flow_matching(
    network: UnrolledNetwork, scan: Measurement, target: Tensor, norm: Norm, generator: torch.Generator
) -> Tensor:
    """The distance of `x0_hat(x_t, t, y)` to `x0` at `x_t = (1 - t) x0 + t x1`, with t uniform and x1 the noisy source.

    Its L2 minimum over all functions is the conditional mean, hence the velocity of the flow. arXiv 2210.02747.
    """
    source = noisy(network.source(scan), network.config.source_noise, generator)
    uniform = torch.rand(len(target), generator=generator, device=target.device)
    time = (1 - uniform).to(target.real)  # in (0, 1]
    x = interpolate(target, source, per_entry(time, target))
    return distance(network.endpoint(x, time, scan), target, norm, scan.operator.n_maps)


def learner_inputs(batch: Case) -> tuple[Any, ...]:
    """What `Learner` takes: its parts one by one, since Fabric does not look into frozen dataclasses."""
    problem, ideal = batch.problem, batch.reference
    reference = (ideal.states, ideal.endpoints) if ideal else None
    return problem.y, problem.operator, problem.noise_level, batch.image, reference


@torch.no_grad()
def evaluate(network: Network, validation: list[Case], config: ObjectiveConfig) -> dict[str, Any]:
    """Mean loss, PSNR and SSIM of the magnitude, and the PSNR after each cascade, over fixed batches.

    The data range is the maximum of each target; the mean is over images. The alignment in the loss is that with the
    line, whatever the training is aligned with.
    """
    losses: list[float] = []
    psnrs: list[Tensor] = []
    ssims: list[Tensor] = []
    device = next(network.parameters()).device
    mode = network.training
    network.eval()
    for index, batch in enumerate(b.to(device) for b in validation):
        problem, target = batch.problem, batch.problem.magnitude(batch.image).flatten(0, -3)
        trajectory = network.trajectory(problem.y, problem.operator, problem.noise_level)
        terms = objective(trajectory, batch.image, config, n_maps=problem.n_maps)
        if isinstance(network, UnrolledNetwork) and has_own_terms(network, config):
            generator = torch.Generator(device).manual_seed(index)
            scan = network.measure(problem.y, problem.operator, problem.noise_level)
            terms = with_own_terms(terms, network, scan, trajectory, batch.image, config, generator)
        losses.append(float(terms["loss"]))
        data_range, states = target.flatten(1).amax(1), problem.magnitude(trajectory.stacked()).flatten(1, -3)
        psnrs.append(torch.stack([psnr(state, target, data_range, per_slice=True) for state in states], 1).cpu())
        ssims.append(ssim(states[-1], target, data_range, per_slice=True).cpu())
    network.train(mode)
    per_cascade = torch.cat(psnrs).mean(0).tolist()
    return {
        "loss": sum(losses) / len(losses),
        "psnr": per_cascade[-1],
        "ssim": torch.cat(ssims).mean().item(),
        "psnr_per_cascade": per_cascade,
    }


class ReconstructionTask:
    """A network learns to reconstruct; the best has the highest PSNR, or the lowest loss if that asks for no image.

    Samples of a flow have the better PSNR the less they differ, so that of one sample is no merit.
    """

    def __init__(self, network: Network, config: ObjectiveConfig, recompute: bool) -> None:
        self.config, self.learner = config, Learner(network, config, recompute)

    def inputs(self, batch: Case) -> tuple[Any, ...]:
        return learner_inputs(batch)

    def merit(self, scores: dict[str, Any]) -> float:
        return float(scores["psnr"]) if self.config.needs_trajectory else -float(scores["loss"])

    def evaluate(self, model: Model, validation: list[Case]) -> dict[str, Any]:
        assert not isinstance(model, Prior)
        return evaluate(model, validation, self.config)
