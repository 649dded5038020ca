"""What can be audited: any callable that yields its intermediate images, and what it may offer besides.

The protocol is `subject(problem) -> Trajectory`, or a sequence of images complex (batch, y, x), the source first and
the result last: that of a method of `laminar.reconstruct`. A subject may offer more, and is measured further
where it does:

* a keyword `edit`: `edit(k, image) -> image` is applied to state k = 0 ... N, in the order of execution, before the
  computation goes on;
* a keyword `n_cascades`: run with another number of cascades, below or above the trained depth;
* an attribute `coefficients`: an object or mapping with `steps` (N,), `data` (N,) and `data_step` (a name in
  `laminar.flow.DATA_STEPS`), and perhaps `prior_std` (N,), in the order of execution; or a function of the problem that
  returns one;
* attributes `name` and `description`.

What is not offered is not measured, and never guessed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from laminar import methods
from laminar.data.preparation import Problem
from laminar.errors import ConfigError
from laminar.flow import DATA_STEPS, Trajectory
from laminar.methods import Method, fingerprint
from laminar.models import UnrolledNetwork, VarNet

KEYWORDS = ("edit", "n_cascades")


@dataclass(frozen=True, eq=False)
class Coefficients:
    """The numbers of the cascades in the order of execution: `steps`, `data` and perhaps `prior_std`, each (N,)."""

    steps: Tensor
    data: Tensor
    data_step: str
    prior_std: Tensor | None = None


@dataclass(frozen=True)
class Subject:
    """Something to audit in one shape: `solve(problem, **keywords)`, its coefficients, who it is, what it offers."""

    solve: Callable[..., Any]
    name: str
    description: str
    kind: str
    coefficients: Callable[[Problem], Any] | None = None
    keywords: frozenset[str] = frozenset()
    sha256: str | None = None
    parameters: int | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)

    def trajectory(self, problem: Problem, **keywords: Any) -> Trajectory:
        """The trajectory for one problem. Raises ConfigError if what came is not one."""
        return _as_trajectory(self.solve(problem, **keywords), problem, self.name)

    def coefficients_for(self, problem: Problem) -> Coefficients | None:
        """The coefficients that the subject states for this problem; None if it states none."""
        stated = None if self.coefficients is None else self.coefficients(problem)
        return None if stated is None else _as_coefficients(stated, self.name)


def as_subject(thing: Any, name: str | None = None) -> Subject:
    """A network of ours, or a callable of the protocol, as a `Subject`. Raises ConfigError for anything else."""
    if isinstance(thing, Subject):
        return thing
    if isinstance(thing, UnrolledNetwork):
        return of_network(thing, name or "unrolled network")
    if isinstance(thing, VarNet):
        thing = methods.of_network(thing, name or "E2E-VarNet in k-space")
    if isinstance(thing, Method):
        return of_method(thing)
    if not callable(thing):
        raise ConfigError(f"a subject is a callable of a Problem; got {type(thing).__name__}")
    stated = getattr(thing, "coefficients", None)
    module = thing.eval() if isinstance(thing, nn.Module) else None
    return Subject(
        solve=thing,
        name=str(name or getattr(thing, "name", None) or getattr(thing, "__name__", type(thing).__name__)),
        description=str(getattr(thing, "description", None) or inspect.getdoc(thing) or "").partition("\n\n")[0],
        kind="callable",
        coefficients=stated if stated is None or _is_function(stated) else lambda problem: stated,
        keywords=accepted_keywords(thing),
        sha256=None if module is None else fingerprint(module),
        parameters=None if module is None else n_parameters(module),
    )


def of_network(network: UnrolledNetwork, name: str, sha256: str | None = None) -> Subject:
    """A network of ours, from its source without noise. Its coefficients are those for the noise of each problem."""
    network, config = network.eval(), network.config
    width = getattr(network.coefficients, "log_prior_std", None)

    def coefficients(problem: Problem) -> Coefficients:
        values = network.coefficients(problem.noise_level)
        return Coefficients(values.steps, values.data[:, 0], config.data_step, None if width is None else width.exp())

    def solve(problem: Problem, **more: Any) -> Trajectory:
        scan = network.measure(problem.y, problem.operator, problem.noise_level)
        return network.run(scan, source=network.source(scan), **more)

    return Subject(
        solve=solve,
        name=name,
        description=f"Laminar unrolled network, {config.n_cascades} cascades, data step {config.data_step}, "
        f"coefficients {config.coefficients}, regularizers {'shared' if config.shared else 'one in each cascade'}, "
        f"source {config.source}",
        kind="laminar",
        coefficients=coefficients,
        keywords=accepted_keywords(network.trajectory),
        sha256=sha256 or fingerprint(network),
        parameters=n_parameters(network),
    )


def of_method(method: Method) -> Subject:
    """Any method of ours: its estimate, with the generator of seed 0."""
    return Subject(
        solve=method,
        name=method.name,
        description=f"method {method.name} of Laminar",
        kind="method",
        sha256=method.fingerprint,
        parameters=method.parameters or None,
    )


def accepted_keywords(function: Callable[..., Any]) -> frozenset[str]:
    """Those of `KEYWORDS` that a callable names among its parameters; `**anything` promises nothing."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return frozenset()
    positional_only = inspect.Parameter.POSITIONAL_ONLY
    return frozenset(key for key in KEYWORDS if key in parameters and parameters[key].kind is not positional_only)


def n_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _is_function(stated: Any) -> bool:
    return callable(stated) and not isinstance(stated, Mapping) and not hasattr(stated, "steps")


def _as_trajectory(result: Any, problem: Problem, name: str) -> Trajectory:
    if isinstance(result, Tensor | Iterator):
        result = list(result)
    if isinstance(result, Trajectory):
        trajectory = result
    else:
        if not isinstance(result, Sequence) or not all(isinstance(state, Tensor) for state in result):
            raise ConfigError(
                f"{name}: a subject returns a Trajectory or a sequence of images; got {type(result).__name__}"
            )
        trajectory = Trajectory(list(result), [], None, len(result) - 1)
    expected = tuple(problem.operator.adjoint(problem.y).shape)
    shapes = {tuple(image.shape) for image in (*trajectory.states, *trajectory.endpoints)}
    if len(trajectory.states) < 2 or shapes != {expected}:
        raise ConfigError(
            f"{name}: expected at least two images (batch, y, x) = {expected}, the source first; "
            f"got {len(trajectory.states)} of {sorted(shapes)}"
        )
    return trajectory


def _as_coefficients(stated: Any, name: str) -> Coefficients:
    def get(key: str) -> Any:
        return stated.get(key) if isinstance(stated, Mapping) else getattr(stated, key, None)

    steps, data, width = (None if get(key) is None else _vector(get(key)) for key in ("steps", "data", "prior_std"))
    if steps is None or data is None or len(steps) != len(data) or get("data_step") not in DATA_STEPS:
        raise ConfigError(
            f"{name}: coefficients need steps (N,), data (N,) and data_step, one of {', '.join(DATA_STEPS)}; got "
            f"{steps if steps is None else tuple(steps.shape)}, {data if data is None else tuple(data.shape)} and "
            f"{get('data_step')!r}"
        )
    return Coefficients(steps, data, str(get("data_step")), width)


def _vector(values: Any) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64).detach().cpu().reshape(-1)
