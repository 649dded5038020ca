"""Code of others as a method: any callable from a Problem to its images, the source first and the result last."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from laminar.data.preparation import Problem
from laminar.errors import ConfigError
from laminar.flow import DATA_STEPS, Trajectory
from laminar.methods.method import Coefficients, Method


@dataclass(frozen=True, eq=False)
class CallableMethod(Method):
    """`function(problem) -> Trajectory`, or a sequence of images complex (batch, y, x).

    It may offer more: a keyword `edit` or `n_cascades` as of `Method`; an attribute `coefficients`, an object or
    mapping with `steps` (N,), `data` (N,) and `data_step`, and perhaps `prior_std` (N,), or a function of the problem
    that returns one; attributes `name` and `description`.
    """

    function: Callable[..., Any]
    name: str
    kind = "callable"

    def __post_init__(self) -> None:
        if isinstance(self.function, nn.Module) and self.function.training:  # the user's own stays as it is
            object.__setattr__(self, "function", copy.deepcopy(self.function).eval())

    @property
    def module(self) -> nn.Module | None:  # type: ignore[override]
        return self.function if isinstance(self.function, nn.Module) else None

    @property
    def description(self) -> str:  # type: ignore[override]
        stated = getattr(self.function, "description", None) or inspect.getdoc(self.function) or ""
        return str(stated).partition("\n\n")[0]

    @property
    def offers(self) -> frozenset[str]:  # type: ignore[override]
        """The keywords that the callable names among its parameters; `**anything` promises nothing."""
        try:
            parameters = inspect.signature(self.function).parameters
        except (TypeError, ValueError):
            return frozenset()
        positional_only = inspect.Parameter.POSITIONAL_ONLY
        return frozenset(
            key for key in self.OFFERS if key in parameters and parameters[key].kind is not positional_only
        )

    def estimate(self, problem: Problem, generator: torch.Generator, **offered: Any) -> Trajectory:
        """Raises ConfigError if what came is no trajectory of images of the problem."""
        return _as_trajectory(self.function(problem, **offered), problem, self.name)

    def coefficients(self, problem: Problem) -> Coefficients | None:
        stated = getattr(self.function, "coefficients", None)
        if callable(stated) and not isinstance(stated, Mapping) and not hasattr(stated, "steps"):
            stated = stated(problem)
        return None if stated is None else _as_coefficients(stated, self.name)


def _as_trajectory(result: Any, problem: Problem, name: str) -> Trajectory:
    if isinstance(result, Tensor | Iterator):
        result = list(result)
    if isinstance(result, Trajectory):
        trajectory = result
    else:
        if not isinstance(result, Sequence) or not all(isinstance(state, Tensor) for state in result):
            raise ConfigError(
                f"{name}: a method returns a Trajectory or a sequence of images; got {type(result).__name__}"
            )
        trajectory = Trajectory(list(result), [], None, len(result) - 1)
    expected = tuple(problem.operator.adjoint(problem.y).shape)
    shapes = {tuple(image.shape) for image in (*trajectory.states, *trajectory.endpoints)}
    if shapes != {expected}:
        raise ConfigError(
            f"{name}: expected images (batch, y, x) = {expected}, the source first; "
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
