"""The settings of a training run."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, replace
from operator import attrgetter
from typing import Any, Literal

from laminar.data.acquisition import Acquisition, acquisition_of
from laminar.data.config import MaskKind, SamplingConfig, SimulationConfig
from laminar.data.formats import Request
from laminar.errors import ConfigError
from laminar.geometry import MOVING_KINDS, SERIES_KINDS
from laminar.models import ModelConfig, PriorConfig, UnrolledConfig, VarNetConfig
from laminar.models.effects import without_effect
from laminar.registry import CARTESIAN
from laminar.runtime import MOST_WORKERS
from laminar.training.denoising import DenoisingConfig
from laminar.training.objectives import ObjectiveConfig

MOTION_STD = 0.03
"""`model.source_motion_std` of a cine, unless another one is told: the best of a few on two simulated hearts."""


@dataclass(frozen=True)
class DataConfig:
    """Where training problems come from.

    Args:
        kind: simulation (phantoms, endless, no files needed) | images (scans simulated from images: HDF5, DICOM, NIfTI,
            pictures) | files (fully sampled scans, or
            any with objective.self_supervised) | problems (packed by `laminar simulate --problems`) | mixed.
        train: files or folders to train on.
        validation: files or folders to validate on.
        mixture: for kind mixed, the kinds and how often a batch is of each; `train` and `validation` serve all of them.
        variable: the variable in each file that holds k-space, where the file does not say it.
        axes: its axes, such as ky,kx,coil.
        domain: kspace | image, whether it holds k-space or the images of the coils, where that is doubtful.
        select: places of a series, or slices, to train on alone, such as repetition=2.
        maps: 1 | 2 | auto, sets of coil sensitivities; auto: 2 where the object is larger than its field of view. Two
            are for an unrolled network; packed problems have as many as they were packed with, or 1.
        simulation: settings of the simulation.
        sampling: how scans are undersampled.
        geometry: cartesian | cine | volume | radial | radial-cine | spiral | stack-of-stars | kooshball | ct | pet |
            deblurring | super-resolution | inpainting, what measures the simulated objects; `sampling` is for
            cartesian alone. The model is told its kind.
        geometry_settings: numbers of the geometry, such as views; see docs/geometries.md.
        batch_size: problems a batch and process.
        distinct_batches: train on this many batches again and again, kept in memory; 0 never repeats one.
        validation_batches: number of batches in the fixed validation set.
        workers: processes that prepare batches.
    """

    kind: Literal["simulation", "images", "files", "problems", "mixed"] = "simulation"
    train: list[str] = field(default_factory=list)
    validation: list[str] = field(default_factory=list)
    mixture: dict[str, float] = field(default_factory=lambda: {"images": 2.0, "simulation": 1.0})
    variable: str | None = None
    axes: str | None = None
    domain: Literal["kspace", "image"] | None = None
    select: list[str] = field(default_factory=list)
    maps: Literal[1, 2, "auto"] = 1
    simulation: SimulationConfig = field(default_factory=SimulationConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    geometry: str = CARTESIAN
    geometry_settings: dict[str, float] = field(default_factory=dict)
    batch_size: int = 4
    distinct_batches: int = 0
    validation_batches: int = 8
    workers: int = 1

    def __post_init__(self) -> None:
        check_least("data.", self, batch_size=1, distinct_batches=0, validation_batches=1, workers=(0, MOST_WORKERS))
        fits = self.mixture and set(self.mixture) <= {"simulation", "images", "files", "problems"}
        if not fits or not all(0 < weight < float("inf") for weight in self.mixture.values()):
            raise ConfigError(
                "data.mixture must give positive weights to simulation, images, files or problems; "
                f"got {self.mixture!r}"
            )
        if self.geometry == CARTESIAN and self.geometry_settings:
            raise ConfigError(f"data.geometry_settings mean nothing for cartesian; got {self.geometry_settings!r}")
        if self.geometry != CARTESIAN and self.kind not in ("simulation", "images"):
            raise ConfigError(
                f"data.geometry {self.geometry} is simulated: data.kind must be simulation or images; got {self.kind}"
            )
        if self.maps not in (1, 2, "auto"):
            raise ConfigError(f"data.maps must be 1, 2 or auto; got {self.maps!r}")
        if self.maps != 1 and self.geometry != CARTESIAN:
            raise ConfigError(f"data.maps are of planar Cartesian scans: {self.geometry} takes 1; got {self.maps}")
        self.acquisition  # a wrong setting is an error here and not later  # noqa: B018

    @property
    def request(self) -> Request:
        """How files of scans are read."""
        return Request(self.variable, self.axes, self.domain, tuple(self.select))

    @property
    def n_maps(self) -> int | None:
        """As `laminar.data.preparation.prepare` takes it."""
        return None if self.maps == "auto" else self.maps

    @property
    def acquisition(self) -> Acquisition | None:
        """What measures simulated objects; None for planar Cartesian scans. Raises ConfigError."""
        return None if self.geometry == CARTESIAN else acquisition_of(self.geometry, self.geometry_settings)


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam or Muon with a linear warm-up and a cosine decay to zero at the last step.

    Args:
        kind: adam | muon (orthogonalized momentum for the convolutions, Adam for everything else).
        learning_rate: peak learning rate.
        coefficient_rate: learning rate of the cascades' coefficients over that of everything else.
        warmup: steps of the linear warm-up.
        clip: largest norm of the gradient.
    """

    kind: Literal["adam", "muon"] = "adam"
    learning_rate: float = 1.5e-3
    coefficient_rate: float = 1.0
    warmup: int = 200
    clip: float = 0.1

    def __post_init__(self) -> None:
        check_least("optimizer.", self, learning_rate=0, coefficient_rate=0, warmup=0, clip=0)


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
        objective: the loss of a network.
        denoising: the loss of a prior.
        reference: what the alignment compares with.
        data: the problems.
        optimizer: the optimizer.
        start: checkpoint of the same model, or the name of one that ships, whose weights training starts from.
        steps: optimizer steps in all.
        seed: of weights and data.
        ema: decay of the averaged weights, which are then validated and become `best`; 0 does not average.
        validate_every: steps between validations; each also writes the checkpoint `last`.
        accelerator: cpu | cuda | auto.
        devices: number of processes (one for each device).
        precision: 32-true | bf16-mixed, of the regularizers.
        recompute: keep the states alone and compute each cascade again in the backward pass: less memory, more time.
        threads: CPU threads of each process; 0 leaves it to torch.
    """

    model: ModelConfig = field(default_factory=UnrolledConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    denoising: DenoisingConfig = field(default_factory=DenoisingConfig)
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    start: str | None = None
    steps: int = 4000
    seed: int = 0
    ema: float = 0.0
    validate_every: int = 100
    accelerator: Literal["cpu", "cuda", "auto"] = "auto"
    devices: int = 1
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    recompute: bool = False
    threads: int = 0

    def __post_init__(self) -> None:
        check_least("", self, steps=1, seed=0, ema=0, validate_every=1, devices=(1, 64), threads=(0, 1024))
        if self.ema >= 1:
            raise ConfigError(f"ema must be below 1, such as 0.999; got {self.ema}")
        for name in without_meaning(self.model):
            if getattr(self, name) != _default(name):
                raise ConfigError(f"{name} means nothing for the model, {type(self.model).__name__}: leave it out")
        if self.data.maps != 1 and not isinstance(self.model, UnrolledConfig):
            raise ConfigError(
                f"data.maps {self.data.maps}: two sets of sensitivities need an unrolled network; "
                f"got a {type(self.model).__name__} (model)"
            )
        self._suit_geometry()
        if isinstance(self.model, UnrolledConfig):
            self._check_unrolled(self.model)
        elif self.objective.flow_matching or self.objective.self_supervised or self.reference.kind == "ode":
            raise ConfigError(
                "objective.flow_matching, objective.self_supervised and reference.kind ode need an unrolled network; "
                f"got a {type(self.model).__name__} (model)"
            )

    def _suit_geometry(self) -> None:
        """Tell the model what it is for; in a series a planar U-Net sees neighbors, and the source of a cine moves."""
        acquisition, model = self.data.acquisition, self.model
        if acquisition is None:
            return
        if not isinstance(model, UnrolledConfig):
            raise ConfigError(
                f"data.geometry {self.data.geometry} needs an unrolled network; got a {type(model).__name__} (model)"
            )
        if self.objective.self_supervised:
            raise ConfigError("objective.self_supervised splits Cartesian samples: it needs data.geometry cartesian")
        regularizer = model.regularizer
        is_series = acquisition.kind in SERIES_KINDS
        if is_series and regularizer.neighbors is None and regularizer.kind in ("unet", "cnn", "normunet", "ista"):
            regularizer = replace(regularizer, neighbors=1 if regularizer.kind == "unet" else 0)
        moves = acquisition.kind in MOVING_KINDS and model.source == "cg-sense"
        motion = model.source_motion_std or (MOTION_STD if moves else 0.0)
        model = replace(model, geometry=acquisition.kind, regularizer=regularizer, source_motion_std=motion)
        object.__setattr__(self, "model", model)

    def _check_unrolled(self, model: UnrolledConfig) -> None:
        for name, reason in without_effect(model).items():
            value, usual = (attrgetter(name)(config) for config in (model, UnrolledConfig()))
            if value != usual:
                raise ConfigError(f"model.{name} means nothing {reason}: leave it at {usual!r}; got {value!r}")
        if self.objective.flow_matching and not model.continuous:
            raise ConfigError(
                f"objective.flow_matching trains a velocity at every time: {model.needs_continuous()} (model)"
            )
        if any(self.objective.random_cascades) and (not model.continuous or self.reference.kind == "ode"):
            raise ConfigError(
                "objective.random_cascades needs a velocity at every time, and reference.kind interpolant: "
                f"{model.needs_continuous()} (model)"
            )
        if self.objective.flow_matching and not model.source_noise:
            raise ConfigError("objective.flow_matching needs model.source_noise > 0: without it there is no flow")
        if self.reference.kind == "ode" and (model.coefficients != "flow" or not self.data.distinct_batches):
            raise ConfigError(
                "reference.kind ode is solved once a batch, at fixed times: it needs data.distinct_batches > 0 and "
                f"model.coefficients flow; got {self.data.distinct_batches} and {model.coefficients}"
            )
        if self.reference.kind == "ode" and self.data.acquisition is not None:
            raise ConfigError(
                f"reference.kind ode is of planar Cartesian scans; got data.geometry {self.data.geometry}"
            )
        if self.reference.kind == "ode" and self.objective.self_supervised:
            raise ConfigError("reference.kind ode aligns with images: it cannot go with objective.self_supervised")
        if self.recompute and model.solver != "euler":
            raise ConfigError(f"recompute works cascade by cascade: it needs solver euler; got {model.solver}")

    @classmethod
    def suited(cls, model: ModelConfig, preset: str | None = None) -> TrainConfig:
        """The defaults for a kind of model, with the loss that was published with a preset, or as the default's were.

        A sampling network learns its flow alone, for other losses narrow it.
        """
        objective = PUBLISHED.get(preset or "", ObjectiveConfig())
        if preset == "default":
            return cls(model=model, objective=objective, data=_WIDE, optimizer=_FAST, ema=0.999)
        if isinstance(model, PriorConfig):
            return cls(model=model, optimizer=OptimizerConfig(learning_rate=1e-3, clip=1.0), ema=0.999)
        if isinstance(model, VarNetConfig):
            kinds: list[MaskKind] = [kind for kind in SamplingConfig().kinds if kind != "poisson"]  # it needs lines
            return cls(model=model, objective=objective, data=DataConfig(sampling=SamplingConfig(kinds=kinds)))
        if model.source_noise and model.continuous:
            return cls(model=model, objective=ObjectiveConfig(image=0, ssim=0, alignment=0, flow_matching=1))
        return cls(model=model, objective=objective)


def without_meaning(model: ModelConfig) -> tuple[str, ...]:
    """The settings of TrainConfig that mean nothing for a kind of model."""
    return ("objective", "reference", "recompute") if isinstance(model, PriorConfig) else ("denoising",)


def _default(name: str) -> Any:
    setting = next(f for f in fields(TrainConfig) if f.name == name)
    return setting.default if setting.default_factory is MISSING else setting.default_factory()


def check_least(group: str, config: object, **least: float | tuple[float, float]) -> None:
    """Raise a ConfigError for the first setting below its least value or above its greatest, 2^53 if none is given."""
    for name, bound in least.items():
        value = getattr(config, name)
        low, high = bound if isinstance(bound, tuple) else (bound, 2.0**53)
        if not low <= value <= high:
            asked = f"at least {low}" if value < low else f"a number from {low} to {high:.16g}"
            raise ConfigError(f"{group}{name} must be {asked}; got {value}")


_WIDE = DataConfig(
    simulation=SimulationConfig(coils=(1, 16), noise_std=(0.0002, 0.05)),
    sampling=SamplingConfig(acceleration=(1.5, 12.0), calibration_lines=(8, 32)),
)
_FAST = OptimizerConfig(kind="muon", coefficient_rate=10.0, warmup=50, clip=10.0)
_SQUARED = ObjectiveConfig(image_norm="l2", ssim=0.0, alignment=0.0)
_SSIM = ObjectiveConfig(image=0.0, ssim=1.0, alignment=0.0)
PUBLISHED = {
    "default": ObjectiveConfig(image_norm="db", ssim=2.0, alignment=0.0),
    "varnet": _SSIM,
    "e2e-varnet": _SSIM,
    "modl": _SQUARED,
    "dc-cnn": _SQUARED,
    "dc-cnn-soft": _SQUARED,
    "ista-net-plus": _SQUARED,
    "unet": ObjectiveConfig(image_norm="l1", ssim=0.0, alignment=0.0),
}
"""The losses of the presets, where they are not the defaults."""
