"""What a way to reconstruct is: one protocol for classical methods, networks, samplers and code of others."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from laminar.data.preparation import Problem
from laminar.errors import ConfigError
from laminar.flow import Trajectory
from laminar.models.config import Settings
from laminar.samplers import Number


@dataclass(frozen=True, eq=False)
class Coefficients:
    """The numbers of the cascades in the order of execution: `steps`, `data` and perhaps `prior_std`, each (N,).

    `data_step` is a name in `laminar.flow.DATA_STEPS`.
    """

    steps: Tensor
    data: Tensor
    data_step: str
    prior_std: Tensor | None = None


class Method(ABC):
    """One way to reconstruct, `method(problem, generator=None) -> Trajectory`.

    A subclass is a frozen dataclass with a `name`, and says what it has besides: `draw` and `draws`, weights in
    `module`, `settings` that decide the result, `coefficients`, and in `offers` which keywords `estimate` takes:

    * `edit`: `edit(k, image) -> image` is applied to state k = 0 ... N, in the order of execution, before the
      computation goes on;
    * `n_cascades`: run with another number of cascades, below or above the trained depth.

    What is not offered is not measured by an audit, and never guessed.
    """

    name: str
    kind: str = "method"
    description: str = ""
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Number] = {}
    module: nn.Module | None = None
    draws: bool = False
    geometry: str | None = None
    """The kind of scans that it is made for; None: any."""
    offers: frozenset[str] = frozenset()
    n_maps: int | None = None
    """The most sets of sensitivities that it takes, an image of a pixel each; None: not known, one unless told."""
    OFFERS: ClassVar = frozenset({"edit", "n_cascades"})

    @abstractmethod
    def estimate(self, problem: Problem, generator: torch.Generator, **offered: Any) -> Trajectory:
        """The best single image, with the states that lead to it."""

    def draw(self, problem: Problem, generator: torch.Generator) -> Trajectory:
        """A sample of the posterior, another one with another generator. Raises ConfigError if there are none."""
        raise self.no_samples()

    def no_samples(self) -> ConfigError:
        """Why nothing can be drawn."""
        return ConfigError(
            f"{self.name} draws no samples: it takes a sampler, or a network with a noisy source, such as the one "
            "that ships as sampler"
        )

    def maps(self, wanted: int | None) -> int | None:
        """The `n_maps` for `prepare` of its problems: None leaves it to the object, if it is known to take two.

        Raises ConfigError if more are wanted than it takes.
        """
        if wanted is None:
            return 1 if self.n_maps in (None, 1) else None
        if self.n_maps is not None and wanted > self.n_maps:
            raise self.too_many(wanted)
        return wanted

    def too_many(self, n_maps: int) -> ConfigError:
        """Why it does not take so many sets of sensitivities."""
        return ConfigError(
            f"{self.name} takes one set of sensitivities; the problem has {n_maps}: classical methods and unrolled "
            "networks take two"
        )

    def coefficients(self, problem: Problem) -> Coefficients | None:
        """Those that the method states for a problem; None if it states none."""
        return None

    def to(self, device: str | torch.device) -> Self:
        """The method on a device; weights that are elsewhere are copied, not moved."""
        return self

    def __call__(self, problem: Problem, generator: torch.Generator | None = None, **offered: Any) -> Trajectory:
        """`estimate`, without a generator with that of seed 0."""
        return self.estimate(problem, generator or torch.Generator(problem.y.device).manual_seed(0), **offered)

    @property
    def parameters(self) -> int:
        """The number of trained weights."""
        return 0 if self.module is None else sum(p.numel() for p in self.module.parameters())

    @property
    def fingerprint(self) -> str | None:
        """SHA-256 of the trained weights and of what they are the weights of."""
        return None if self.module is None else fingerprint(self.module)

    @property
    def device(self) -> torch.device:
        """Where the weights are; the CPU if there are none."""
        some = None if self.module is None else next(self.module.parameters(), None)
        return torch.device("cpu") if some is None else some.device


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of names, types, shapes and values of a module's state, and of those settings that are no defaults.

    So a setting that is new, and that no saved model has, changes the identity of none.
    """
    config = getattr(module, "config", None)
    digest = hashlib.sha256(json.dumps(_chosen(config), sort_keys=True).encode())
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _chosen(config: Any) -> dict[str, Any]:
    """The settings of ours that differ from the defaults of their class, and its name; of others nothing is known."""
    if not isinstance(config, Settings):
        return {}
    values, defaults = ({f.name: getattr(c, f.name) for f in fields(c)} for c in (config, type(config)()))
    changed = {key: value for key, value in values.items() if value != defaults[key]}
    return {"kind": type(config).__name__} | {k: _chosen(v) if is_dataclass(v) else v for k, v in changed.items()}
