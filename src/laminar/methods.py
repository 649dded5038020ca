"""Every way to solve a problem behind one name: classical methods, trained networks, posterior samplers.

A `Method` is a callable from a Problem to a Trajectory, so that reconstruction, audit and study treat all alike.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from laminar import classical, samplers
from laminar.data.preparation import Problem
from laminar.errors import ConfigError
from laminar.flow import Trajectory, noisy
from laminar.models import Network, Prior, UnrolledNetwork, VarNet, load, load_prior
from laminar.models.config import nearest
from laminar.samplers import Number, Setting

Solver = Callable[[Problem, torch.Generator], Trajectory]


class Entry(NamedTuple):
    """A posterior sampler and the noise level, in units of the image, from which it starts unless told otherwise.

    Guidance through the Jacobian of a trained denoiser is only as good as that Jacobian, whose error grows with the
    level over the width of the image: such samplers start lower, though noise alone then lacks the prior's mean.
    """

    sampler: type[samplers.Sampler]
    start_level: float


SAMPLERS = {
    "score-mri": Entry(samplers.ScoreMRI, 5.0),
    "dds": Entry(samplers.DDS, 5.0),
    "dps": Entry(samplers.DPS, 5.0),
    "pigdm": Entry(samplers.PiGDM, 1.5),
    "mc-ddpm": Entry(samplers.MCDDPM, 5.0),
    "ot-ode": Entry(samplers.OTODE, 1.5),
    "pnp-flow": Entry(samplers.PnPFlow, 5.0),
    "flower": Entry(samplers.Flower, 5.0),
}
"""Posterior samplers with a trained prior, by the name they have on the command line."""

DEFAULT_NFE, SMALLEST_LEVEL = 50, 0.002


@dataclass(frozen=True)
class Method:
    """One way to reconstruct, `method(problem, generator=None) -> Trajectory`.

    `estimate` gives its best single image; `draw` a sample of the posterior, another one with another generator, or
    None if the method has no randomness. `module` holds its weights; `kind` is the name that `open_method` takes and
    `name` what a reader calls it; `settings` what else decides the result. Without a generator that of seed 0 is taken.
    """

    name: str
    estimate: Solver
    draw: Solver | None = None
    module: nn.Module | None = None
    kind: str = "network"
    settings: Mapping[str, Number] = field(default_factory=dict)

    def __call__(self, problem: Problem, generator: torch.Generator | None = None) -> Trajectory:
        return self.estimate(problem, generator or torch.Generator(problem.y.device).manual_seed(0))

    @property
    def parameters(self) -> int:
        """The number of trained weights."""
        return 0 if self.module is None else sum(p.numel() for p in self.module.parameters())

    @property
    def fingerprint(self) -> str | None:
        """SHA-256 of the trained weights and of what they are the weights of."""
        return None if self.module is None else fingerprint(self.module, repr(getattr(self.module, "config", "")))

    @property
    def device(self) -> torch.device:
        """Where the weights are; the CPU if there are none."""
        some = None if self.module is None else next(self.module.parameters(), None)
        return torch.device("cpu") if some is None else some.device

    def to(self, device: str | torch.device) -> Method:
        if self.module is not None:
            self.module.to(device)
        return self


def open_method(
    name: str = "network",
    *,
    model: str | None = None,
    prior: str | None = None,
    nfe: int | None = None,
    settings: Mapping[str, Number] | None = None,
) -> Method:
    """The method of a name: `network`, one of `classical.METHODS`, or one of `SAMPLERS`.

    `model` is the checkpoint of a network, `prior` that of a sampler's prior (default: those that ship), `nfe` the
    network evaluations a sampler may make for an image. `settings` are fields of the sampler, or keywords of the
    classical method. Raises ConfigError for a name or setting that does not exist, or that this method has no use for,
    and CheckpointError.
    """
    given = {"model": model, "prior": prior, "nfe": nfe, "settings": settings or None}
    if name == "network":
        _refuse(name, given, "model")
        return of_network(load(model or "default"), model or "default")
    if name in classical.METHODS:
        _refuse(name, given, "settings")
        function = classical.METHODS[name]
        chosen = _settled(name, _settings(function), settings)
        return Method(name, lambda problem, generator: function(problem, **chosen), kind=name, settings=chosen)
    if name in SAMPLERS:
        _refuse(name, given, "prior", "nfe", "settings")
        nfe = DEFAULT_NFE if nfe is None else nfe
        if nfe < 1:
            raise ConfigError(f"nfe must be at least 1; got {nfe}")
        return of_sampler(name, load_prior(prior or "prior"), nfe, settings)
    raise ConfigError(f"unknown method {name!r}{nearest(name, list(names()))}")


def names() -> tuple[str, ...]:
    """Every name that `open_method` knows."""
    return ("network", *classical.METHODS, *SAMPLERS)


def of_network(network: Network, name: str = "network") -> Method:
    """A trained network. One with a noisy source draws samples; its estimate starts from the source without noise.

    That is not the posterior mean, but near it where the posterior is nearly Gaussian, and the flow takes as many
    evaluations as for a sample; `posterior_mean` is the mean in one evaluation, if the network is as good in one.
    """
    if isinstance(network, VarNet) or not network.config.source_noise:
        return Method(name, partial(_run, network), module=network)
    return Method(name, partial(_from_quiet_source, network), partial(_run, network), network)


def posterior_mean(network: UnrolledNetwork, name: str = "network") -> Method:
    """A network with a velocity at every time and a noisy source, whose estimate is `x0_hat(x1, t = 1)`.

    Since the noise of the source tells nothing of the image, this is `E[x0 | y]` in one evaluation, of a network that
    has learned it. Raises ConfigError for another network.
    """
    if not network.config.continuous:
        raise ConfigError(f"no endpoint at t = 1: {network.config.needs_continuous()}")
    return replace(of_network(network, name), estimate=partial(_first_endpoint, network))


def of_sampler(name: str, prior: Prior, nfe: int, settings: Mapping[str, Number] | None = None) -> Method:
    """One of `SAMPLERS` with a trained prior; its estimate is a single draw.

    All walk along the levels of `samplers.edm`, from the setting `start_level` down. Raises ConfigError.
    """
    kind, start_level = SAMPLERS[name]
    chosen = _settled(name, kind.settings() | {"start_level": Setting(start_level)}, settings)
    if not chosen["start_level"] > SMALLEST_LEVEL:
        raise ConfigError(f"start_level must be above {SMALLEST_LEVEL}; got {chosen['start_level']}")
    sampler = kind(**{key: value for key, value in chosen.items() if key != "start_level"})
    schedule = samplers.edm(chosen["start_level"], SMALLEST_LEVEL)

    def draw(problem: Problem, generator: torch.Generator) -> Trajectory:
        return samplers.sample(
            sampler,
            prior,
            problem.operator,
            problem.y,
            noise_level=problem.noise_level,
            prior_std=prior.config.sigma_data,
            nfe=nfe,
            generator=generator,
            schedule=schedule,
        )

    return Method(name, draw, draw, prior, kind=name, settings={"nfe": nfe, **chosen})


def fingerprint(module: nn.Module, also: str = "") -> str:
    """SHA-256 of names, types, shapes and values of a module's state, after the text `also`."""
    digest = hashlib.sha256(also.encode())
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _run(network: Network, problem: Problem, generator: torch.Generator) -> Trajectory:
    return network.trajectory(problem.y, problem.operator, problem.noise_level, generator=generator)


def _first_endpoint(network: UnrolledNetwork, problem: Problem, generator: torch.Generator) -> Trajectory:
    scan = network.measure(problem.y, problem.operator, problem.noise_level)
    source = noisy(network.source(scan), network.config.source_noise, generator)
    mean = network.endpoint(source, torch.ones_like(scan.noise_level), scan)
    return Trajectory([source, mean], [mean], _from_one_to_zero(mean), nfe=1)


def _from_quiet_source(network: UnrolledNetwork, problem: Problem, generator: torch.Generator) -> Trajectory:
    scan = network.measure(problem.y, problem.operator, problem.noise_level)
    return network.run(scan, source=network.source(scan))


def _from_one_to_zero(like: Tensor) -> Tensor:
    return torch.tensor([1.0, 0.0], device=like.device)


def _refuse(name: str, given: Mapping[str, Any], *used: str) -> None:
    for key, value in given.items():
        if value is not None and key not in used:
            raise ConfigError(f"{key} {value!r} does nothing with method {name!r}")


def _settings(function: Callable[..., Trajectory]) -> dict[str, Setting]:
    """The keywords of a classical method that are numbers."""
    parameters = inspect.signature(function).parameters
    return {key: Setting(p.default) for key, p in parameters.items() if isinstance(p.default, Number)}


def _settled(name: str, known: Mapping[str, Setting], given: Mapping[str, Number] | None) -> dict[str, Number]:
    """All settings of a method, those `given` among them. Raises ConfigError if one is unknown or out of range."""
    for key, value in (given or {}).items():
        if key not in known:
            hint = nearest(key, list(known)) if known else "; it has none"
            raise ConfigError(f"method {name!r} has no setting {key!r}{hint}")
        known[key].check(f"{key} of method {name!r}", value)
    return {key: setting.default for key, setting in known.items()} | dict(given or {})
