"""What a training run needs to know of the kind of model that it trains."""

from __future__ import annotations

from typing import Any, Protocol

from torch import nn

from laminar.data.cases import Case
from laminar.models import Model, Prior
from laminar.training.config import TrainConfig
from laminar.training.denoising import DenoisingTask
from laminar.training.reconstruction import ReconstructionTask
from laminar.training.self_supervision import SelfSupervisedTask


class Task(Protocol):
    """The loss as a module, what it takes from a batch, and how a model is judged.

    `learner(*inputs(batch), seed=seed)` returns the terms of the loss, their sum under the key `loss`.
    """

    @property
    def learner(self) -> nn.Module: ...

    def inputs(self, batch: Case) -> tuple[Any, ...]: ...

    def evaluate(self, model: Model, validation: list[Case]) -> dict[str, Any]:
        """The scores of a model over fixed batches."""
        ...

    def merit(self, scores: dict[str, Any]) -> float:
        """The one figure that decides which model is best: the highest."""
        ...


def make_task(model: Model, config: TrainConfig) -> Task:
    """The task that trains `model` as `config` says."""
    if isinstance(model, Prior):
        return DenoisingTask(model, config.denoising)
    if config.objective.self_supervised:
        return SelfSupervisedTask(model, config.objective, config.recompute)
    return ReconstructionTask(model, config.objective, config.recompute)
