"""One plain training loop over Lightning Fabric: exact resume, honest failure."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from laminar.data.cases import Case
from laminar.data.stream import Stream
from laminar.errors import ConfigError, MissingExtraError, TrainingError
from laminar.models import Model, save
from laminar.runtime import seed_of
from laminar.training.average import Average
from laminar.training.config import OptimizerConfig, TrainConfig
from laminar.training.data import prefetched
from laminar.training.interrupt import stop_on_interrupt
from laminar.training.optimizer import make_optimizer
from laminar.training.state import RunFolder
from laminar.training.tasks import make_task

if TYPE_CHECKING:
    from lightning.fabric import Fabric

Report = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the last step, whether it was interrupted, and the last validation."""

    step: int
    interrupted: bool
    validation: dict[str, Any] = field(default_factory=dict)


def make_fabric(config: TrainConfig) -> Fabric:
    """A launched Fabric of the configured devices; raises MissingExtraError without `lightning`."""
    try:
        from lightning.fabric import Fabric
        from lightning.fabric.utilities.exceptions import MisconfigurationException
    except ImportError as error:
        raise MissingExtraError("lightning", "train") from error
    if config.threads:
        torch.set_num_threads(config.threads)
    strategy = "auto" if config.devices == 1 else "ddp"
    try:
        fabric = Fabric(
            accelerator=config.accelerator, devices=config.devices, strategy=strategy, precision=config.precision
        )
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(f"accelerator {config.accelerator!r} with {config.devices} devices: {error}") from error
    fabric.launch()
    return fabric


def train(
    fabric: Fabric,
    model: Model,
    stream: Stream,
    validation: list[Case],
    config: TrainConfig,
    folder: RunFolder,
    *,
    resume: bool = False,
    card: dict[str, Any] | None = None,
    report: Report = lambda step, losses: None,
) -> Outcome:
    """Minimize the loss of the model's task over `config.steps` batches of `stream`.

    Case `(step - 1) * world_size + rank`, and its seed, is all the randomness there is, so a run that is interrupted
    and resumed ends in the same bits as one that was not. With `config.ema` the averaged weights are validated and
    become `best`. What the folder held stays until the first checkpoint. Raises TrainingError if the loss or a gradient
    is not finite.
    """
    task = make_task(model, config)
    learner, optimizer = fabric.setup(task.learner, make_optimizer(model, config.optimizer))
    average = Average(model, config.ema) if config.ema else None
    judged = average.model if average else model
    progress: dict[str, Any] = {"step": 0, "best": None, "seconds": 0.0}
    if resume:
        progress = folder.restore(model, optimizer, average)
    before, started = progress["seconds"], time.monotonic()
    step, scores, stop, saved = progress["step"], dict[str, Any](), False, resume
    with stop_on_interrupt() as interrupted:
        for step, index, batch in _batches(stream, config, fabric, progress["step"]):
            rate = learning_rate(step, config.steps, config.optimizer)
            _set_learning_rate(optimizer, rate)
            torch.manual_seed(seed_of(config.seed, index))  # for a module that draws, such as a dropout
            terms = learner(*task.inputs(batch.to(fabric.device)), seed=seed_of(config.seed, index))
            losses = _descend(fabric, optimizer, terms, config.optimizer.clip, step, folder.last if saved else None)
            if average:
                average.update(model, step)
            report(step, losses)
            stop = fabric.broadcast(interrupted.is_set())
            due = step % config.validate_every == 0 or step == config.steps
            if fabric.is_global_zero and (due or stop):
                progress |= {"step": step, "seconds": before + time.monotonic() - started}
                said = {**(card or {}), "steps_done": step, "seconds": round(progress["seconds"], 1)}
                if due:
                    scores = task.evaluate(judged, validation)
                with nullcontext() if saved else folder.renewing():
                    if due:
                        folder.log({**progress, **losses, "learning_rate": rate, "validation": scores})
                        best, merit = progress["best"], task.merit(scores)
                        if best is None or math.isnan(best) or merit > best:
                            progress["best"] = merit
                            save(judged, folder.best, {**said, "validation": scores})
                    if "config.yaml" in said:
                        folder.save_config(said["config.yaml"])
                    folder.save_last(model, optimizer, average, progress, said)
                saved = True
            fabric.barrier()
            if stop:
                break
    return Outcome(step, stop, scores)


def _batches(stream: Stream, config: TrainConfig, fabric: Fabric, done: int) -> Iterator[tuple[int, int, Case]]:
    """`(step, index, batch)` from the step after `done` to the last; the index counts through all processes."""
    steps, every = range(done + 1, config.steps + 1), fabric.world_size
    order = range(done * every + fabric.global_rank, config.steps * every, every)
    yield from zip(steps, order, prefetched(stream, order, config.data.workers), strict=True)


def _descend(
    fabric: Fabric,
    optimizer: torch.optim.Optimizer,
    terms: dict[str, Tensor],
    clip: float,
    step: int,
    good: Path | None,
) -> dict[str, float]:
    """One step of the optimizer down the loss; the terms as numbers."""
    optimizer.zero_grad()
    fabric.backward(terms["loss"])
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip)
    losses = {name: term.item() for name, term in terms.items()}
    if not (math.isfinite(losses["loss"]) and bool(torch.isfinite(norm))):
        raise _not_finite(fabric, losses["loss"], float(norm), step, good)
    optimizer.step()
    return losses


def _not_finite(fabric: Fabric, loss: float, norm: float, step: int, good: Path | None) -> TrainingError:
    """The error that names the batches to blame. Gradients are shared, so all processes come here together."""
    gathered = fabric.all_gather(torch.tensor([loss]))
    assert isinstance(gathered, Tensor)
    every_loss: list[float] = gathered.flatten().tolist()
    first = (step - 1) * fabric.world_size
    blamed = [first + rank for rank, value in enumerate(every_loss) if not math.isfinite(value)]
    blamed = blamed or list(range(first, first + fabric.world_size))
    return TrainingError(
        f"the loss ({', '.join(f'{value:.3g}' for value in every_loss)}) or the gradient (norm {norm:.3g}) is not "
        f"finite at step {step}, batch {', '.join(map(str, blamed))} of the stream; "
        f"last good checkpoint: {good or 'none yet'}"
    )


def _set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate"]


def learning_rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """Linear warm-up, then a cosine to zero; `step` counts from 1."""
    warmup = min(1.0, step / max(1, config.warmup))
    return config.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * (step - 1) / steps))
