"""The settings of the networks; `laminar.models.presets` names the published ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self, get_args

from laminar.errors import ConfigError
from laminar.flow import DATA_STEPS, TABLEAUX, make_schedule
from laminar.models.checks import MOST_CHANNELS, check_channels, check_positive, check_whole
from laminar.networks.channels import Padding
from laminar.registry import nearest

Kind = Literal["unet", "cnn", "normunet", "ista", "separable", "custom"]
TIMED_KINDS = ("unet", "cnn", "separable", "custom")
SERIES_REGULARIZERS = ("separable", "custom")
SEEING_KINDS = ("unet", "custom")
CONDITIONS = 2
"""Numbers of a scan that `Measurement.probed` finds: of its noise level and its acceleration."""


@dataclass(frozen=True)
class Settings:
    """What the settings of every model can do."""

    @classmethod
    def of(cls, given: Settings | None, changes: dict[str, Any]) -> Self:
        """The settings `given`, by default those of the class, with `changes`. Raises ConfigError for another class."""
        given = cls() if given is None else given
        if not isinstance(given, cls):
            raise ConfigError(f"expected a {cls.__name__}; got {type(given).__name__}")
        return given.changed(**changes)

    def changed(self, **settings: Any) -> Self:
        """These settings with some replaced; an unknown name is a ConfigError that names the nearest valid one."""
        return replace(self, **_known(type(self), settings))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict`, with the checks of `changed`."""
        made = dict(_known(cls, values))
        for group in fields(cls):
            kind: Any = group.default_factory
            if group.name in made and isinstance(kind, type) and issubclass(kind, Settings):
                made[group.name] = kind.from_dict(made[group.name])
        return cls(**made)


@dataclass(frozen=True)
class RegularizerConfig(Settings):
    """A built-in regularizer.

    Args:
        kind: unet | cnn | normunet (the published U-Net with instance normalization) | ista (the transforms and
            threshold of ISTA-Net+) | separable (convolutions in the plane and along the third axis of a series);
            custom stands for a module of the user's own.
        channels: features of the U-Nets at each level, from fine to coarse, twice as many at each for normunet; the
            others use the first number.
        fold: the unet works on pixels folded fold x fold into channels, 1 does not fold.
        depth: convolutions of the CNN, or pairs of them.
        neighbors: images are series (batch, frame, y, x), and the unet sees so many frames on either side of each;
            None: images are planar, or the regularizer takes series itself.
        padding: what the unet sees beyond the edge of the image: zeros | circular, its other side, where the image of a
            Fourier grid goes on. States that are mostly noise want circular.
    """

    kind: Kind = "unet"
    channels: list[int] = field(default_factory=lambda: [32, 64, 64])
    fold: int = 2
    depth: int = 5
    neighbors: int | None = None
    padding: Padding = "zeros"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ConfigError(f"regularizer.kind must be one of {', '.join(get_args(Kind))}; got {self.kind!r}")
        if self.padding not in get_args(Padding):
            raise ConfigError(f"regularizer.padding must be zeros or circular; got {self.padding!r}")
        if self.neighbors is not None:
            check_whole(self, "regularizer.", neighbors=(0, 16))
            if self.neighbors and self.kind != "unet":
                raise ConfigError(f"regularizer.neighbors above 0 needs the kind unet; got {self.kind}")
            if self.kind in SERIES_REGULARIZERS:
                raise ConfigError(f"a regularizer of kind {self.kind} takes series itself: leave neighbors out")
        check_channels("regularizer.channels", self.channels)
        check_whole(self, "regularizer.", fold=(1, 64), depth=(2, 1000))
        doubled = [self.channels[0] * 2**level for level in range(max(2, len(self.channels)))]
        if self.kind == "normunet" and self.channels != doubled:
            raise ConfigError(f"a normunet doubles its channels at each level, as {doubled}; got {self.channels}")


@dataclass(frozen=True)
class UnrolledConfig(Settings):
    """Settings of `UnrolledNetwork`.

    Args:
        n_cascades: number of cascades N.
        data_step: proximal | imex | gradient_endpoint | gradient | paper | soft | hard | ista | admm | none, see
            `laminar.flow.data_steps`. The closed forms of `gradient` and `paper` are explicit: with flow coefficients
            they are stable only where `h nu^2 / sigma^2 < 2` and `|delta| / sigma^2 < 2`.
        coefficients: free | flow (closed form) | learned (a learned schedule that stays a discretization).
        shared: one regularizer, and one of each free coefficient, for all cascades, instead of one each.
        time_embedding: a shared regularizer is told the time (unet, cnn).
        see_source: the regularizer sees the source, without noise, beside the state (unet, custom): what a sampler
            needs to know of the data where its state is mostly noise.
        phase_frame: the regularizer works on images without the smooth phase of the source, and its result gets it
            back: a global phase of the scan then changes nothing but the phase of the image.
        scan_embedding: the regularizer is told the noise level and the acceleration of the scan (unet).
        solver: euler | midpoint | heun | ralston | rk4 | bogacki_shampine | dormand_prince, the outer scheme. Any but
            Euler needs one shared regularizer that is told the time, flow or learned coefficients, and a data step
            that has a velocity (proximal, gradient_endpoint, none). The last step, whose stages may stand at t = 0,
            is Euler's.
        solver_tolerance: 0 takes one step of the solver a cascade; above 0 its steps are adaptive with this relative
            tolerance (solvers with an embedded estimate).
        solver_max_nfe: most evaluations of an adaptive solver in one cascade.
        source: zero-filled | pseudo-inverse | cg-sense, the image at t = 1.
        source_noise: tau, standard deviation of noise added to the source: the network then samples.
        source_std: image width in the weight of the CG-SENSE source, (sigma^2 + floor^2) / source_std^2.
        source_motion_std: image width of what differs from the mean over the frames in the CG-SENSE source of a series:
            what a frame did not measure then comes from the others; 0 leaves the frames apart.
        source_iterations: its conjugate-gradient iterations, and those of the pseudo-inverse.
        schedule: power | cosine | list, the times of the cascades.
        schedule_alpha: exponent of the power schedule, 0 is uniform.
        schedule_dense_at: image | start, where the power or cosine schedule is dense; the cosine one also at both.
        schedule_times: the times of a list schedule, from 1 to 0.
        prior_std: model of the prior width, nu_k = prior_std * t (flow, learned); in units of the image.
        learn_prior_std: let every nu_k be learned.
        least_prior_std: bound of every nu_k from below: the data never weigh less than that says.
        scan_prior_std: let every nu_k follow the noise level and the acceleration of the scan (flow, learned); the
            bound is then that of an ordinary one, and moves with it.
        noise_floor: model error added to the measured noise level, in units of the image.
        data_weight: initial coefficient of the data step (free).
        cg_iterations: most conjugate-gradient iterations of a proximal step.
        cg_tolerance: relative residual at which they stop.
        scan_noise: take what the source leaves of the data for the noise level where it is more than that, for then
            the operator is not quite theirs; and let both settings above follow the level: where there is less noise
            than usual, solves go further (`laminar.models.measurement.exactness`), of a batch, those of all images
            as far as any needs. Not for counts.
        regularizer: the network R.
        geometry: the kind of scans that the network was trained for: cartesian | cine | volume | noncartesian |
            noncartesian-cine | noncartesian-volume | tomography | emission | linear; a reconstruction of another kind
            says so.
    """

    n_cascades: int = 6
    data_step: str = "proximal"
    coefficients: Literal["free", "flow", "learned"] = "flow"
    shared: bool = False
    time_embedding: bool = True
    see_source: bool = False
    phase_frame: bool = False
    scan_embedding: bool = False
    solver: str = "euler"
    solver_tolerance: float = 0.0
    solver_max_nfe: int = 200
    source: Literal["zero-filled", "pseudo-inverse", "cg-sense"] = "cg-sense"
    source_noise: float = 0.0
    source_std: float = 0.3
    source_motion_std: float = 0.0
    source_iterations: int = 15
    schedule: Literal["power", "cosine", "list"] = "power"
    schedule_alpha: float = 0.0
    schedule_dense_at: Literal["image", "start", "both"] = "image"
    schedule_times: list[float] = field(default_factory=list)
    prior_std: float = 0.06
    learn_prior_std: bool = True
    least_prior_std: float = 0.0
    scan_prior_std: bool = False
    noise_floor: float = 0.005
    data_weight: float = 0.1
    cg_iterations: int = 6
    cg_tolerance: float = 1e-3
    scan_noise: bool = False
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    geometry: str = "cartesian"

    def __post_init__(self) -> None:
        for name, valid in CHOICES.items():
            if getattr(self, name) not in tuple(valid):
                raise ConfigError(f"{name} must be one of {', '.join(valid)}; got {getattr(self, name)!r}")
        check_whole(self, n_cascades=(1, 1000))
        check_whole(self, **dict.fromkeys(("cg_iterations", "source_iterations", "solver_max_nfe"), (1, 10**6)))
        check_positive(self, "prior_std", "source_std", "data_weight")
        check_positive(
            self,
            "least_prior_std",
            "noise_floor",
            "cg_tolerance",
            "schedule_alpha",
            "source_noise",
            "source_motion_std",
            "solver_tolerance",
            zero=True,
        )
        if not isinstance(self.regularizer, RegularizerConfig):
            raise ConfigError(f"regularizer must be a RegularizerConfig; got {type(self.regularizer).__name__}")
        for name in ("see_source", "scan_embedding"):
            if getattr(self, name) and self.regularizer.kind not in SEEING_KINDS:
                raise ConfigError(
                    f"{name} needs a regularizer of kind {' or '.join(SEEING_KINDS)}; got {self.regularizer.kind}"
                )
        if DATA_STEPS[self.data_step].absolute and self.coefficients == "free":
            raise ConfigError(f"data_step {self.data_step!r} is a closed form: it takes coefficients flow or learned")
        if self.solver != "euler" and not self.continuous:
            raise ConfigError(
                f"solver {self.solver!r} evaluates the flow between the cascades: {self.needs_continuous()}"
            )
        if self.solver_tolerance and self.coefficients == "learned":
            raise ConfigError("adaptive steps have no gradient to the times: solver_tolerance needs coefficients flow")
        if self.solver_tolerance and TABLEAUX[self.solver].embedded is None:
            adaptive = [name for name, tableau in TABLEAUX.items() if tableau.embedded is not None]
            raise ConfigError(f"solver_tolerance needs a solver with an embedded estimate: {', '.join(adaptive)}")
        self.times  # a wrong schedule is an error here and not later  # noqa: B018

    @property
    def times(self) -> tuple[float, ...]:
        """The schedule, N + 1 times from 1 to 0 in the order in which they are visited."""
        kind = self.schedule_times if self.schedule == "list" else self.schedule
        return make_schedule(kind, self.n_cascades, self.schedule_alpha, self.schedule_dense_at)

    @property
    def probes(self) -> bool:
        """Whether anything asks for the numbers of a scan."""
        follows = self.scan_prior_std and self.coefficients != "free" and DATA_STEPS[self.data_step].knows_width
        return self.scan_embedding or follows

    @property
    def timed(self) -> bool:
        """Whether one regularizer serves all cascades and is told the time."""
        return self.shared and self.time_embedding and self.regularizer.kind in TIMED_KINDS

    @property
    def continuous(self) -> bool:
        """Whether the network has a velocity at every time, and not at those of its cascades alone."""
        return self.timed and self.coefficients != "free" and DATA_STEPS[self.data_step].endpoint is not None

    def needs_continuous(self) -> str:
        """What a velocity at every time needs, and what these settings are, for an error message."""
        endpoint_steps = [name for name, step in DATA_STEPS.items() if step.endpoint]
        return (
            f"it needs shared=True, time_embedding=True, a regularizer of kind {' or '.join(TIMED_KINDS)}, "
            f"coefficients flow or learned, and data_step {' or '.join(endpoint_steps)}; got shared={self.shared}, "
            f"time_embedding={self.time_embedding}, {self.regularizer.kind}, {self.coefficients} and {self.data_step}"
        )


@dataclass(frozen=True)
class VarNetConfig(Settings):
    """Settings of `VarNet`.

    Args:
        n_cascades: number of cascades.
        channels: features of each cascade's U-Net at full resolution, twice as many at each coarser level.
        pools: its coarser levels.
        sensitivity_channels: features of the U-Net that estimates the sensitivities.
        sensitivity_pools: its coarser levels.
        root_sum_of_squares: make the image of its coil images alone, as published, and not with the scan's
            sensitivities.
    """

    n_cascades: int = 12
    channels: int = 18
    pools: int = 4
    sensitivity_channels: int = 8
    sensitivity_pools: int = 4
    root_sum_of_squares: bool = False

    def __post_init__(self) -> None:
        check_whole(self, n_cascades=(1, 1000), pools=(1, 10), sensitivity_pools=(1, 10))
        check_whole(self, **dict.fromkeys(("channels", "sensitivity_channels"), (1, MOST_CHANNELS)))


CHOICES: dict[str, Iterable[str]] = {
    "data_step": DATA_STEPS,
    "coefficients": ("free", "flow", "learned"),
    "source": ("zero-filled", "pseudo-inverse", "cg-sense"),
    "schedule": ("power", "cosine", "list"),
    "solver": TABLEAUX,
    "geometry": (
        "cartesian",
        "cine",
        "volume",
        "noncartesian",
        "noncartesian-cine",
        "noncartesian-volume",
        "tomography",
        "emission",
        "linear",
    ),
}


def _known(cls: type, values: dict[str, Any]) -> dict[str, Any]:
    valid = [f.name for f in fields(cls)]
    for key in values:
        if key not in valid:
            raise ConfigError(f"unknown setting {key!r} of {cls.__name__}{nearest(key, valid)}")
    return values
