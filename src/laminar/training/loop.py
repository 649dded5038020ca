"""One plain training loop over Lightning Fabric: exact resume, honest failure."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from laminar.data.stream import Batch, Stream
from laminar.errors import ConfigError, LaminarError, MissingExtraError, TrainingError
from laminar.flow import Trajectory, interpolate, noisy
from laminar.metrics import psnr, ssim
from laminar.models import UnrolledNetwork, save
from laminar.models.data_steps import Measurement
from laminar.operators import Encoding
from laminar.training.config import OptimizerConfig, TrainConfig
from laminar.training.objectives import Norm, ObjectiveConfig, distance, objective
from laminar.training.state import RunFolder

if TYPE_CHECKING:
    from lightning.fabric import Fabric

Report = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the last step, whether it was interrupted, and the last validation."""

    step: int
    interrupted: bool
    validation: dict[str, Any] = field(default_factory=dict)


class Learner(nn.Module):
    """Network and objective in one forward pass, which is what can be spread over processes."""

    def __init__(self, network: UnrolledNetwork, config: ObjectiveConfig) -> None:
        super().__init__()
        self.network, self.config = network, config

    def forward(
        self,
        kspace: Tensor,
        mask: Tensor,
        sensitivities: Tensor,
        noise_level: Tensor,
        target: Tensor,
        reference: tuple[list[Tensor], list[Tensor]] | None,
        seed: int,
    ) -> dict[str, Tensor]:
        """The terms of the loss; `seed` is that of the source's noise and of the times of flow matching."""
        generator = torch.Generator(target.device).manual_seed(seed)
        operator, terms = Encoding(mask, sensitivities), {"loss": torch.zeros((), device=target.device)}
        if self.config.needs_trajectory:
            ideal = Trajectory(*reference, None, 0) if reference else None
            start = ideal.source if ideal else None
            trajectory = self.network.trajectory(kspace, operator, noise_level, source=start, generator=generator)
            terms |= objective(trajectory, target, self.config, ideal)
        if self.config.flow_matching:
            scan = self.network.measure(kspace, operator, noise_level)
            term = flow_matching(self.network, scan, target, self.config.flow_matching_norm, generator)
            terms |= {"flow_matching": term, "loss": terms["loss"] + self.config.flow_matching * term}
        return terms


def flow_matching(
    network: UnrolledNetwork, scan: Measurement, target: Tensor, norm: Norm, generator: torch.Generator
) -> Tensor:
    """The distance of `x0_hat(x_t, t, y)` to `x0` at `x_t = (1 - t) x0 + t x1`, with t uniform and x1 the noisy source.

    Its L2 minimum over all functions is the conditional mean, hence the velocity of the flow. arXiv 2210.02747.
    """
    source = noisy(network.source(scan), network.config.source_noise, generator)
    uniform = torch.rand(len(target), generator=generator, device=target.device)
    time = (1 - uniform).to(target.real)  # in (0, 1]
    x = interpolate(target, source, time[:, None, None])
    return distance(network.endpoint(x, time, scan), target, norm)


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
    network: UnrolledNetwork,
    stream: Stream,
    validation: list[Batch],
    config: TrainConfig,
    folder: RunFolder,
    *,
    resume: bool = False,
    card: dict[str, Any] | None = None,
    report: Report = lambda step, losses: None,
) -> Outcome:
    """Minimize the objective over `config.steps` batches of `stream`.

    Batch `(step - 1) * world_size + rank` is all the randomness there is, so a run that is interrupted and resumed
    ends in the same bits as one that was not. Raises TrainingError if the loss or a gradient is not finite.
    """
    network.recompute = config.recompute
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=config.optimizer.learning_rate)
    learner, optimizer = fabric.setup(Learner(network, config.objective), optimizer)
    progress: dict[str, Any] = {"step": 0, "best": None, "seconds": 0.0}
    if resume:
        progress = folder.restore(network, optimizer)
    elif fabric.is_global_zero:
        folder.clear()
    before, started = progress["seconds"], time.monotonic()
    step, scores, stop = progress["step"], dict[str, Any](), False
    with _stop_on_interrupt() as interrupted:
        for step, batch in _batches(stream, config, fabric, progress["step"]):
            losses = _step(fabric, learner, optimizer, batch.to(fabric.device), config, step, folder)
            report(step, losses)
            stop = fabric.broadcast(interrupted.is_set())
            due = step % config.validate_every == 0 or step == config.steps
            if fabric.is_global_zero and (due or stop):
                progress |= {"step": step, "seconds": before + time.monotonic() - started}
                said = {**(card or {}), "steps_done": step, "seconds": round(progress["seconds"], 1)}
                if due:
                    scores = evaluate(network, validation, config)
                    folder.log({**progress, "loss": losses["loss"], "validation": scores})
                    if progress["best"] is None or scores["psnr"] > progress["best"]:
                        progress["best"] = scores["psnr"]
                        save(network, folder.best, {**said, "validation": scores})
                folder.save_last(network, optimizer, progress, said)
            fabric.barrier()
            if stop:
                break
    return Outcome(step, stop, scores)


def _step(
    fabric: Fabric,
    learner: Any,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    config: TrainConfig,
    step: int,
    folder: RunFolder,
) -> dict[str, float]:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, config.steps, config.optimizer)
    terms = learner(
        *learner_inputs(batch), seed=_step_seed(config.seed, (step - 1) * fabric.world_size + fabric.global_rank)
    )
    optimizer.zero_grad()
    fabric.backward(terms["loss"])
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, config.optimizer.clip)
    losses = {name: term.item() for name, term in terms.items()}
    if not (math.isfinite(losses["loss"]) and bool(torch.isfinite(norm))):
        raise _not_finite(fabric, losses["loss"], float(norm), step, folder)
    optimizer.step()
    return losses


def _not_finite(fabric: Fabric, loss: float, norm: float, step: int, folder: RunFolder) -> TrainingError:
    """The error that names the batches to blame. Gradients are shared, so all processes come here together."""
    gathered = fabric.all_gather(torch.tensor([loss]))
    assert isinstance(gathered, Tensor)
    every_loss: list[float] = gathered.flatten().tolist()
    first = (step - 1) * fabric.world_size
    blamed = [first + rank for rank, value in enumerate(every_loss) if not math.isfinite(value)]
    blamed = blamed or list(range(first, first + fabric.world_size))
    good = folder.last if folder.last.exists() else "none yet"
    return TrainingError(
        f"the loss ({', '.join(f'{value:.3g}' for value in every_loss)}) or the gradient (norm {norm:.3g}) is not "
        f"finite at step {step}, batch {', '.join(map(str, blamed))} of the stream; last good checkpoint: {good}"
    )


def learner_inputs(batch: Batch) -> tuple[Any, ...]:
    """What `Learner` takes: plain tensors, since Fabric does not look into frozen dataclasses."""
    problem, ideal = batch.problem, batch.reference
    reference = (ideal.states, ideal.endpoints) if ideal else None
    return problem.kspace, problem.mask, problem.sensitivities, problem.noise_level, batch.target, reference


def _step_seed(seed: int, index: int) -> int:
    """A seed for each batch of a run, independent of those of other runs."""
    return int(np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)[0] >> 1)


def learning_rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """Linear warm-up, then a cosine to zero; `step` counts from 1."""
    warmup = min(1.0, step / max(1, config.warmup))
    return config.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * (step - 1) / steps))


@torch.no_grad()
def evaluate(network: UnrolledNetwork, validation: list[Batch], config: TrainConfig) -> dict[str, Any]:
    """Mean loss, PSNR and SSIM of the magnitude, and the PSNR after each cascade, over fixed batches.

    The data range is the maximum of each target; the mean is over images. The alignment in the loss is that with the
    line, whatever the training is aligned with.
    """
    losses: list[float] = []
    psnrs: list[Tensor] = []
    ssims: list[Tensor] = []
    device = next(network.parameters()).device
    network.eval()
    flow_only = replace(config.objective, image=0, ssim=0, alignment=0) if config.objective.flow_matching else None
    learner = Learner(network, flow_only or config.objective)
    for index, batch in enumerate(b.to(device) for b in validation):
        trajectory = network.trajectory(batch.problem.kspace, batch.problem.operator, batch.problem.noise_level)
        loss = objective(trajectory, batch.target, config.objective)["loss"]
        if flow_only:
            loss = loss + learner(*learner_inputs(batch), seed=index)["loss"]
        losses.append(float(loss))
        target = batch.target.abs()
        data_range = target.flatten(1).amax(1)
        states = trajectory.stacked().abs()
        psnrs.append(torch.stack([psnr(state, target, data_range, per_slice=True) for state in states], 1).cpu())
        ssims.append(ssim(states[-1], target, data_range, per_slice=True).cpu())
    network.train()
    per_cascade = torch.cat(psnrs).mean(0).tolist()
    return {
        "loss": sum(losses) / len(losses),
        "psnr": per_cascade[-1],
        "ssim": torch.cat(ssims).mean().item(),
        "psnr_per_cascade": per_cascade,
    }


class _Indexed(Dataset[Batch]):
    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __getitem__(self, index: int) -> Batch:
        return self.stream.batch(index)


def _batches(stream: Stream, config: TrainConfig, fabric: Fabric, done: int) -> Iterator[tuple[int, Batch]]:
    """`(step, batch)` from the step after `done` to the last, prepared ahead by worker processes."""
    steps = range(done + 1, config.steps + 1)
    order = [(step - 1) * fabric.world_size + fabric.global_rank for step in steps]
    loader = DataLoader(
        _Indexed(stream),
        batch_size=None,
        sampler=order,
        num_workers=config.data.workers,
        prefetch_factor=None,
    )
    try:
        yield from zip(steps, loader, strict=True)
    except LaminarError as error:
        # From a worker process it comes with the trace in its message; the last line is what was said.
        name = f"{type(error).__module__}.{type(error).__qualname__}: "
        raise type(error)(str(error).strip().splitlines()[-1].removeprefix(name)) from None


@contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """Ctrl-C (and SIGTERM) sets the event instead of breaking into a step; a second one breaks."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(number: int, frame: Any) -> None:
        event.set()
        signal.signal(number, handlers[signal.Signals(number)])

    for number in handlers:
        signal.signal(number, request)
    try:
        yield event
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
