"""The settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from laminar.data.stream import SamplingConfig, SimulationConfig
from laminar.errors import ConfigError
from laminar.models import UnrolledConfig
from laminar.training.objectives import ObjectiveConfig


@dataclass(frozen=True)
class DataConfig:
    """Where training problems come from.

    Args:
        kind: simulation (endless, no files needed) | files (fully sampled scans).
        train: files or folders to train on.
        validation: files or folders to validate on.
        variable: the variable in each file that holds k-space, where the file does not say it.
        axes: its axes, such as ky,kx,coil.
        simulation: settings of the simulation.
        sampling: how scans are undersampled.
        batch_size: problems a batch and process.
        distinct_batches: train on this many batches again and again; 0 never repeats one.
        validation_batches: number of batches in the fixed validation set.
        workers: processes that prepare batches.
    """

    kind: Literal["simulation", "files"] = "simulation"
    train: list[str] = field(default_factory=list)
    validation: list[str] = field(default_factory=list)
    variable: str | None = None
    axes: str | None = None
    simulation: SimulationConfig = field(default_factory=SimulationConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    batch_size: int = 4
    distinct_batches: int = 0
    validation_batches: int = 8
    workers: int = 1

    def __post_init__(self) -> None:
        check_least("data.", self, batch_size=1, distinct_batches=0, validation_batches=1, workers=0)


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam with a linear warm-up and a cosine decay to zero at the last step.

    Args:
        learning_rate: peak learning rate.
        warmup: steps of the linear warm-up.
        clip: largest norm of the gradient.
    """

    learning_rate: float = 1.5e-3
    warmup: int = 200
    clip: float = 0.1

    def __post_init__(self) -> None:
        check_least("optimizer.", self, learning_rate=0, warmup=0, clip=0)


@dataclass(frozen=True)
class ReferenceConfig:
    """What trajectories are aligned with.

    Args:
        kind: interpolant (the line from image to source) | ode (the flow of a teacher, from its noisy source).
        teacher: checkpoint of a continuous network trained with objective.flow_matching.
        cache: folder that keeps the trajectories; a batch is solved once.
        tolerance: of the solver, relative and absolute; a network in single precision is not smooth far below 1e-4.
    """

    kind: Literal["interpolant", "ode"] = "interpolant"
    teacher: str | None = None
    cache: str = "laminar-references"
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        check_least("reference.", self, tolerance=1e-12)
        if self.kind == "ode" and self.teacher is None:
            raise ConfigError("reference.kind is ode: reference.teacher must name the checkpoint of a teacher")


@dataclass(frozen=True)
class TrainConfig:
    """A training run. The defaults are those of the shipped model.

    Args:
        model: the network.
        objective: the loss.
        reference: what the alignment compares with.
        data: the problems.
        optimizer: the optimizer.
        steps: optimizer steps in all.
        seed: of weights and data.
        validate_every: steps between validations; each also writes the checkpoint `last`.
        accelerator: cpu | cuda | auto.
        devices: number of processes (one for each device).
        precision: 32-true | bf16-mixed, of the regularizers.
        recompute: keep the states alone and compute each cascade again in the backward pass: less memory, more time.
        threads: CPU threads of each process; 0 leaves it to torch.
    """

    model: UnrolledConfig = field(default_factory=UnrolledConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    steps: int = 4000
    seed: int = 0
    validate_every: int = 100
    accelerator: Literal["cpu", "cuda", "auto"] = "auto"
    devices: int = 1
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    recompute: bool = False
    threads: int = 0

    def __post_init__(self) -> None:
        check_least("", self, steps=1, seed=0, validate_every=1, devices=1, threads=0)
        if self.objective.flow_matching and not self.model.continuous:
            raise ConfigError(
                f"objective.flow_matching trains a velocity at every time: {self.model.needs_continuous()} (model)"
            )
        if self.objective.flow_matching and not self.model.source_noise:
            raise ConfigError("objective.flow_matching needs model.source_noise > 0: without it there is no flow")
        if self.reference.kind == "ode" and (self.model.coefficients != "flow" or not self.data.distinct_batches):
            raise ConfigError(
                "reference.kind ode is solved once a batch, at fixed times: it needs data.distinct_batches > 0 and "
                f"model.coefficients flow; got {self.data.distinct_batches} and {self.model.coefficients}"
            )
        if self.recompute and self.model.solver != "euler":
            raise ConfigError(f"recompute works cascade by cascade: it needs solver euler; got {self.model.solver}")


def check_least(group: str, config: object, **least: float) -> None:
    """Raise a ConfigError for the first setting that is smaller than it may be, or not a finite number."""
    for name, bound in least.items():
        value = getattr(config, name)
        if not bound <= value < float("inf"):
            raise ConfigError(f"{group}{name} must be at least {bound}; got {value}")
