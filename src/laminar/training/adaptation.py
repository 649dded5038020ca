"""Adapting a network to one scan: minutes of training without ground truth on the samples of the scan itself.

Samples that no step ever sees decide when to stop, and whether anything was gained (zero-shot self-supervised
learning, Yaman et al. 2022, arXiv 2102.07737; for a shift between training and scan, arXiv 2204.07204).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor

from laminar.data.formats import LazyScan
from laminar.data.preparation import Problem, noise_std_of, prepare, without_oversampling
from laminar.errors import ConfigError, TrainingError
from laminar.models import Network, UnrolledNetwork
from laminar.runtime import seed_of
from laminar.training.config import OptimizerConfig, check_least
from laminar.training.interrupt import stop_on_interrupt
from laminar.training.objectives import HeldOutNorm, ObjectiveConfig
from laminar.training.optimizer import make_optimizer
from laminar.training.self_supervision import SelfSupervisedLearner, held_out_loss
from laminar.training.splitting import SplittingConfig, held_out, without

Parts = Literal["all", "last", "coefficients"]
Slices = Callable[[int], Problem]
Report = Callable[[int, float, float], None]
"""What is told after a step: its number, the loss of the judge at the last look, and the least of them."""

KEPT = 8
"""Slices that stay prepared in memory."""
JUDGED_SLICES = 8
"""Most slices that are looked at by the judge."""
COEFFICIENT_RATE, WARMUP, CLIP = 10.0, 10, 10.0
_JUDGE = 1  # makes the seeds of the samples that judge others than those of the steps


@dataclass(frozen=True)
class AdaptationConfig:
    """How a network is adapted to a scan.

    Args:
        minutes: no step begins later.
        steps: most steps of the optimizer, one slice each.
        learning_rate: of Adam, after a warm-up of ten steps.
        parts: all | last (the coefficients of the cascades and the last layers of the regularizers) | coefficients.
        judged: share of the samples outside the calibration region that no step sees, which judge.
        look_every: steps from one look of the judge to the next.
        patience: looks without a gain before it stops.
        norm: db | l1+l2, of the loss that is trained and judged by.
        splitting: of the samples in training.
        seed: of the slices and the splits.
    """

    minutes: float = 5.0
    steps: int = 200
    learning_rate: float = 3e-4
    parts: Parts = "all"
    judged: float = 0.15
    look_every: int = 10
    patience: int = 4
    norm: HeldOutNorm = "db"
    splitting: SplittingConfig = field(default_factory=lambda: SplittingConfig(masks=1))
    seed: int = 0

    def __post_init__(self) -> None:
        check_least("", self, minutes=0, steps=1, learning_rate=0, look_every=1, patience=1, seed=0)
        if self.parts not in get_args(Parts):
            raise ConfigError(f"parts must be {' or '.join(get_args(Parts))}; got {self.parts!r}")
        if not 0 < self.judged < 1:
            raise ConfigError(f"judged must be above 0 and below 1; got {self.judged}")


@dataclass(frozen=True, eq=False)
class Adaptation:
    """The adapted network; the judge's loss `before` and `after`; the `step` it is of, of `steps` that were made."""

    network: UnrolledNetwork
    before: float
    after: float
    step: int
    steps: int
    seconds: float
    stopped: str
    interrupted: bool


def slices_of(scan: LazyScan) -> tuple[list[int], Slices]:
    """The numbers of the slices with signal, and what makes their problems, as `laminar.reconstruct` poses them."""
    noise_std = noise_std_of(scan)

    @lru_cache(KEPT)
    def problem(index: int) -> Problem:
        return prepare(without_oversampling(replace(scan.slice(index), noise_std=noise_std)), None)

    found = [index for index in range(scan.n_slices) if bool(scan.slice(index).kspace.any())]
    if not found:
        raise ConfigError(f"{scan.name}: a scan with signal is needed; every slice of this one is zero")
    return found, problem


def adapt(
    network: Network,
    slices: Sequence[int],
    problem: Slices,
    config: AdaptationConfig,
    report: Report = lambda step, loss, best: None,
) -> Adaptation:
    """Adapt a copy of `network`, where it is, to the `slices` of a scan; `problem(i)` is that of slice i.

    It ends at the limits of `config`, when the judge finds no gain any more, or on Ctrl-C, and keeps the network that
    the judge found best: the start itself if no other is better. Raises ConfigError where a scan has too few samples to
    hold any out, TrainingError if a loss is not finite.
    """
    began, learner = time.monotonic(), SelfSupervisedLearner(*_trainable(network, config))
    judge = _Judge(slices, problem, config, next(network.parameters()).device)
    adapted = learner.network
    before = after = judge.loss(adapted)
    best, best_step, step, stopped = copy.deepcopy(adapted.state_dict()), 0, 0, "all steps are done"
    report(0, before, before)
    with stop_on_interrupt() as interrupted:
        for step in _steps(learner, judge, config):
            looking = step % config.look_every == 0 or step == config.steps
            late, asked = time.monotonic() > began + 60 * config.minutes, interrupted.is_set()
            if looking or late or asked:
                loss = judge.loss(adapted)
                if loss < after:
                    best, best_step, after = copy.deepcopy(adapted.state_dict()), step, loss
                report(step, loss, after)
            if asked or late or step >= best_step + config.patience * config.look_every:
                stopped = "interrupted" if asked else "its time is over" if late else "no gain any more"
                break
    adapted.load_state_dict(best)
    seconds = time.monotonic() - began
    return Adaptation(adapted.eval(), before, after, best_step, step, seconds, stopped, interrupted.is_set())


def _trainable(network: Network, config: AdaptationConfig) -> tuple[UnrolledNetwork, ObjectiveConfig]:
    """A copy of the network whose trained parts alone require a gradient, and its objective."""
    if not isinstance(network, UnrolledNetwork):
        raise ConfigError(f"an unrolled network can be adapted to a scan; got a {type(network).__name__}")
    adapted = copy.deepcopy(network).train()
    for name, parameter in adapted.named_parameters():
        coefficient, last = name.startswith("coefficients."), ".last." in name or ".synthesis." in name
        trained = config.parts == "all" or coefficient or (last and config.parts == "last")
        parameter.requires_grad_(trained and parameter.requires_grad)
    if not any(parameter.requires_grad for parameter in adapted.parameters()):
        raise ConfigError(f"parts {config.parts}: nothing of this network is trained; name other parts")
    objective = ObjectiveConfig(self_supervised=True, held_out_norm=config.norm, splitting=config.splitting)
    return adapted, objective


def _steps(learner: SelfSupervisedLearner, judge: _Judge, config: AdaptationConfig) -> Iterator[int]:
    """Make the steps of the optimizer; their numbers, from 1."""
    optimizer = make_optimizer(learner.network, OptimizerConfig(coefficient_rate=COEFFICIENT_RATE))
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    order = torch.Generator().manual_seed(config.seed)
    for step in range(1, config.steps + 1):
        index = judge.slices[int(torch.randint(len(judge.slices), (), generator=order))]
        given = judge.given(index)
        loss = learner(given.y, given.operator, given.noise_level, seed=seed_of(config.seed, step))["loss"]
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
            raise TrainingError(f"the loss ({loss.item():.3g}) or its gradient is not finite at step {step}")
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * config.learning_rate * min(1.0, step / WARMUP)
        optimizer.step()
        yield step


@dataclass(frozen=True, eq=False)
class _Judge:
    """Holds some samples out of all training, and measures networks by them."""

    slices: Sequence[int]
    problem: Slices
    config: AdaptationConfig
    device: torch.device

    def given(self, index: int) -> Problem:
        """Slice `index` without the samples that judge."""
        whole, held = self._split(index)
        return without(whole, held)

    @torch.no_grad()
    def loss(self, network: UnrolledNetwork) -> float:
        """The mean over slices, over eight of many, of the loss at the samples that judge."""
        network.eval()
        every = max(1, len(self.slices) // JUDGED_SLICES)
        losses = []
        for index in self.slices[every // 2 :: every][:JUDGED_SLICES]:
            whole, held = self._split(index)
            given = without(whole, held)
            image = network.trajectory(given.y, given.operator, given.noise_level).image
            losses.append(float(held_out_loss(image, whole, held, self.config.norm)))
        network.train()
        mean = sum(losses) / len(losses)
        if not math.isfinite(mean):
            raise TrainingError(f"the loss at the samples that judge is not finite ({mean:.3g})")
        return mean

    def _split(self, index: int) -> tuple[Problem, Tensor]:
        """The problem of a slice, and its samples that judge, bool (1, y, x): the same every time."""
        whole = self.problem(index).to(self.device)
        generator = torch.Generator().manual_seed(seed_of(self.config.seed, index, _JUDGE))
        splitting = replace(self.config.splitting, law="uniform", share=self.config.judged)
        return whole, held_out(whole.sensed.mask[0].cpu(), splitting, generator).to(self.device)[None]
