"""What is measured on one slice: the trajectory itself, then what happens when it is disturbed.

Image quality is that of magnitudes against the magnitude of the case's image, data range = its maximum. States are
numbered 0 ... N from the source to the result; a value that does not exist is NaN, never a substitute.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from laminar.data.cases import Case
from laminar.data.preparation import Problem
from laminar.errors import ConfigError
from laminar.flow import Trajectory
from laminar.flow.path import per_entry
from laminar.flow.straightness import implied_endpoint, implied_time, line_deviation, straightness
from laminar.methods import Coefficients, Method
from laminar.metrics import psnr, ssim

PERTURBATION = 1e-3
"""Size of an injected perturbation relative to the state that it disturbs."""
NOISE_CONDITIONS = ((1.0, 1.0), (0.5, 1.0), (2.0, 1.0), (2.0, 2.0), (1.0, 2.0))
"""Noise level that the subject is told, and that the data have, both relative to that of the slice."""
NEAREST_TO_SOURCE = 0.01
"""An implied endpoint divides by 1 - t: closer to t = 1 than this it is not formed."""


@dataclass(frozen=True, eq=False)
class Measured:
    """The measurements of one slice.

    `curves`: name to (N + 1,), one value a state; `reference`: the data residuals of the target itself (1,);
    `gains`: kind of perturbation to (N,), by the cascade whose input was
    disturbed; `noise`: PSNR for each of `NOISE_CONDITIONS`; `depths`: number of cascades to PSNR; `times`: the
    subject's own times (N + 1,). What the subject does not offer is None. `states` float32 (N + 1, y, x) and `target`
    (y, x) are magnitudes for pictures. `nfe` network evaluations and `seconds` of one undisturbed run.
    """

    name: str
    curves: dict[str, Tensor]
    reference: dict[str, Tensor]
    straightness: float
    gains: dict[str, Tensor] | None
    noise: Tensor | None
    depths: dict[int, float] | None
    times: Tensor | None
    coefficients: Coefficients | None
    states: Tensor
    target: Tensor
    nfe: int
    seconds: float


def audited_depths(n_cascades: int) -> list[int]:
    """The numbers of cascades that are tried: every one below the trained depth, it, and three past it."""
    return sorted({*range(1, n_cascades + 1), n_cascades + 1, n_cascades + 2, 2 * n_cascades})


@torch.no_grad()
def measure(method: Method, case: Case, seed: int) -> Measured:
    """Everything about one slice. Same subject, case and seed: same numbers."""
    started = time.perf_counter()
    trajectory = method(case.problem)
    seconds = time.perf_counter() - started
    coefficients = method.coefficients(case.problem)
    _check_lengths(method.name, trajectory, coefficients)
    view = _View(case, trajectory)
    generator = torch.Generator().manual_seed(seed)
    return Measured(
        name=case.name,
        curves=view.curves(),
        reference=view.residuals(case.image),
        straightness=float(straightness(trajectory.states)),
        gains=_gains(method, case, trajectory, generator) if "edit" in method.offers else None,
        noise=_noise(method, case, generator) if bool((case.problem.noise_level > 0).all()) else None,
        depths=_depths(method, case, len(trajectory.states) - 1) if "n_cascades" in method.offers else None,
        times=None if trajectory.times is None else trajectory.times.detach().double(),
        coefficients=coefficients,
        states=_shown(case.problem.magnitude(torch.cat(trajectory.states))),
        target=_shown(case.problem.magnitude(case.image))[0],
        nfe=trajectory.nfe,
        seconds=seconds,
    )


def _check_lengths(name: str, trajectory: Trajectory, stated: Coefficients | None) -> None:
    """Raise ConfigError unless there are a step a cascade and a time a state, where there are any."""
    count = len(trajectory.states) - 1
    if count < 1:
        raise ConfigError(f"{name}: an audit needs at least two images, the source first; got {count + 1}")
    lengths = {"times": None if trajectory.times is None else len(trajectory.times) - 1}
    if stated is not None:
        lengths |= {
            "steps": len(stated.steps),
            "prior_std": None if stated.prior_std is None else len(stated.prior_std),
        }
    for what, length in lengths.items():
        if length not in (None, count):
            raise ConfigError(f"{name}: {what} are those of {length} cascades; its trajectory has {count}")


@dataclass(frozen=True, eq=False)
class _View:
    """A trajectory beside the image that it should reach."""

    case: Case
    trajectory: Trajectory

    @cached_property
    def states(self) -> Tensor:
        return torch.cat(self.trajectory.states)

    def curves(self) -> dict[str, Tensor]:
        image, source = self.case.image.expand(self.states.shape), self.states[:1].expand(self.states.shape)
        times = implied_time(self.states, image, source).double()
        own, implied = self._own_endpoints(), self._implied_endpoints(times)
        return {
            **{
                f"{name}{score}": of(images, self.case)
                for name, images in (("", self.states), ("endpoint_", implied), ("own_endpoint_", own))
                for score, of in (("psnr", quality), ("ssim", similarity))
            },
            "implied_time": times,
            "line_deviation": line_deviation(self.states, image, source).double(),
            **self.residuals(self.states),
        }

    def _own_endpoints(self) -> Tensor:
        """The endpoints that the cascades aimed at, NaN for the source and where the subject has none."""
        missing = torch.full_like(self.states, torch.nan)
        if len(self.trajectory.endpoints) != len(self.states) - 1:
            return missing
        return torch.cat([missing[:1], *self.trajectory.endpoints])

    def _implied_endpoints(self, measured: Tensor) -> Tensor:
        """`(x^(k) - t_k x1) / (1 - t_k)`, with the subject's own times where it has them, else the measured ones."""
        own = self.trajectory.times
        times = (measured if own is None else own).to(self.states.real)
        formed = 1 - times > NEAREST_TO_SOURCE
        endpoints = implied_endpoint(self.states, self.states[:1], torch.where(formed, times, 0))
        return torch.where(per_entry(formed, endpoints), endpoints, torch.nan)

    def residuals(self, images: Tensor) -> dict[str, Tensor]:
        """`||A x - y|| / ||y||`, and the same norm over the `sigma sqrt(samples)` that noise alone would leave."""
        problem = self.case.problem
        residual = torch.stack([_norm(problem.operator(state[None]) - problem.y) for state in images])
        expected = problem.noise_level.double() * problem.samples**0.5
        multiple = torch.where(expected > 0, residual / expected, torch.nan)
        return {"data_residual": residual / _norm(problem.y), "data_residual_noise": multiple}


def quality(images: Tensor, case: Case) -> Tensor:
    """PSNR in dB (image,) of complex images against that of a case, of a series over all its frames."""
    a, b = (x.flatten(1, -2) for x in _magnitudes(images, case))
    return psnr(a, b, b.amax((1, 2)), per_slice=True)


def similarity(images: Tensor, case: Case) -> Tensor:
    """SSIM (image,), as `quality`; of a series the mean over its frames."""
    a, b = (x.flatten(0, -3) for x in _magnitudes(images, case))
    return ssim(a, b, b.max(), per_slice=True).reshape(len(images), -1).mean(1)


def _shown(magnitudes: Tensor) -> Tensor:
    """Those (image, y, x) that a page shows: of a series the first frame."""
    return magnitudes.float().reshape(len(magnitudes), -1, *magnitudes.shape[-2:])[:, 0]


def _magnitudes(images: Tensor, case: Case) -> tuple[Tensor, Tensor]:
    seen, target = (case.problem.magnitude(each).double() for each in (images, case.image))
    return seen, target.expand(seen.shape)


def _norm(x: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x)
    return norm.double()


def _gains(method: Method, case: Case, trajectory: Trajectory, generator: torch.Generator) -> dict[str, Tensor]:
    """Size at the result over size injected, for a perturbation of the input of each cascade."""
    count = len(trajectory.states) - 1
    shape, dtype = case.image.shape, torch.promote_types(case.image.dtype, torch.float64)
    patterns: dict[str, Callable[[], Tensor]] = {
        "white": lambda: torch.randn(shape, dtype=dtype, generator=generator),
        "smooth": lambda: _blob(shape).to(dtype),
    }
    if _gain(method, case, trajectory, count, patterns["white"]()) == 0:
        raise ConfigError(f"{method.name}: edit(k, image) must be applied to state k = 0 ... {count}; it is not")
    return {
        kind: torch.tensor([_gain(method, case, trajectory, k, draw()) for k in range(count)], dtype=torch.float64)
        for kind, draw in patterns.items()
    }


def _gain(method: Method, case: Case, trajectory: Trajectory, k: int, pattern: Tensor) -> float:
    state = trajectory.states[k]
    bump = (pattern / _norm(pattern) * PERTURBATION * _norm(state)).to(state)
    moved = method(case.problem, edit=lambda j, image: image + bump if j == k else image).states[-1]
    return float(_norm(moved - trajectory.states[-1]) / _norm(bump))


def _blob(shape: torch.Size) -> Tensor:
    """A Gaussian bump in the middle of the field of view, a twentieth of it wide, in every image of the shape."""
    y, x = (torch.linspace(-0.5, 0.5, size, dtype=torch.float64) for size in shape[-2:])
    return torch.exp(-(y[:, None].square() + x.square()) / (2 * 0.05**2)).expand(shape)


def _noise(method: Method, case: Case, generator: torch.Generator) -> Tensor:
    problem = case.problem
    draw = torch.randn(problem.y.shape, dtype=problem.y.dtype, generator=generator)
    images = []
    for told, actual in NOISE_CONDITIONS:
        extra = (actual**2 - 1) ** 0.5 * per_entry(problem.noise_level, draw) * draw
        sampled = problem.operator.sampled
        y = problem.y + (extra if sampled is None else extra * sampled)
        changed: Problem = replace(problem, y=y, noise_level=told * problem.noise_level)
        images.append(method(changed).states[-1])
    return quality(torch.cat(images), case)


def _depths(method: Method, case: Case, n_cascades: int) -> dict[int, float]:
    def at(depth: int) -> float:
        return float(quality(method(case.problem, n_cascades=depth).states[-1], case))

    return {depth: at(depth) for depth in audited_depths(n_cascades)}
