"""Alignment with the conditional flow itself: its trajectories from a high-accuracy solver, kept on disk.

The line from source to image is one reference; the other is the solution of `dx/dt = (x - E[x0 | x, y]) / t` from the
same source, by a teacher that knows the conditional mean: an analytic prior, or a network trained by flow
matching. It needs a noisy source: from a deterministic one the ODE is 0/0 at t = 1 and gives just the line to the
posterior mean. Its end is a sample of the posterior and not the image of the scan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from laminar.data.cases import Case
from laminar.data.preparation import Problem
from laminar.data.stream import Stream
from laminar.errors import ConfigError
from laminar.files import replacing
from laminar.flow import Trajectory, Velocity, integrate_reference, noisy
from laminar.models import UnrolledConfig, UnrolledNetwork
from laminar.models.checkpoint import find, load, read_settings
from laminar.models.measurement import Measurement

# From here a last Euler step reaches t = 0, where the quotient (x - x0_hat) / t is 0/0; its error is of second order.
SMALLEST_TIME = 1e-3
CACHE_FORMAT = 1


class Teacher(Protocol):
    """Who knows the flow. `key` names everything that defines it: another key, another cache."""

    @property
    def key(self) -> str: ...

    def source(self, problem: Problem) -> Tensor:
        """The image at t = 1 without noise (batch, y, x)."""
        ...

    def velocity(self, problem: Problem) -> Velocity:
        """`v(x, t)` of the conditional flow, for 0 < t <= 1."""
        ...


@dataclass(frozen=True)
class NetworkTeacher:
    """A continuous network (`UnrolledConfig.continuous`) trained by flow matching. Raises ConfigError for any other.

    Its data steps are solved to 1e-4 at least: a looser solution is no smooth function of the state.
    """

    network: UnrolledNetwork
    key: str

    def __post_init__(self) -> None:
        config = self.network.config
        if not config.continuous or not config.source_noise:
            raise ConfigError(
                "a teacher has a velocity at every time and a noisy source: shared=True, coefficients flow or learned, "
                f"an endpoint data step and source_noise > 0; got shared={config.shared}, {config.coefficients}, "
                f"{config.data_step}, {config.source_noise}"
            )

    @classmethod
    def load(cls, model: str | Path) -> NetworkTeacher:
        """The teacher of a checkpoint, under the key of its checksum."""
        network = load(model)
        if not isinstance(network, UnrolledNetwork):
            raise ConfigError(f"a teacher is an unrolled network; {model} is a {type(network).__name__}")
        solver = _solver(network.config)
        return cls(
            network, f"{read_settings(find(model))['sha256']} {solver['cg_iterations']} {solver['cg_tolerance']}"
        )

    def source(self, problem: Problem) -> Tensor:
        return self.network.source(self._scan(problem))

    def velocity(self, problem: Problem) -> Velocity:
        return self.network.velocity(self._scan(problem))

    def _scan(self, problem: Problem) -> Measurement:
        scan = self.network.measure(problem.y, problem.operator, problem.noise_level)
        return replace(scan, **_solver(self.network.config))


def _solver(config: UnrolledConfig) -> dict[str, Any]:
    """The settings of the conjugate gradient in a teacher's data steps, none looser than its own."""
    return {"cg_iterations": max(12, config.cg_iterations), "cg_tolerance": min(1e-4, config.cg_tolerance)}


@dataclass(frozen=True)
class ReferenceStream:
    """A stream whose batches carry the trajectory of the teacher's flow at the `times` of the student.

    Each trajectory is computed once: the file in `cache` is named by a checksum of the batch's own numbers, the
    teacher, the times, the noise `tau` of the source, its seed and the tolerance. The noise comes from that checksum.
    """

    stream: Stream
    teacher: Teacher
    times: Sequence[float]
    tau: float
    cache: Path
    tolerance: float = 1e-4
    seed: int = 0

    def batch(self, index: int) -> Case:
        batch = self.stream.batch(index)
        key = self._key(batch)
        path = self.cache / f"{key}.safetensors"
        reference = self._load(path)
        if reference is None:
            reference = self._solve(batch.problem, key)
            tensors = {
                "states": torch.view_as_real(reference.stacked()),
                "endpoints": torch.view_as_real(torch.stack(reference.endpoints)),
            }
            with replacing(path) as temporary:
                temporary.write_bytes(save(tensors))
        return replace(batch, reference=reference)

    @cached_property
    def _times(self) -> Tensor:
        return torch.tensor(self.times, dtype=torch.float64)

    def _key(self, batch: Case) -> str:
        settings = (
            CACHE_FORMAT,
            self.teacher.key,
            tuple(self.times),
            self.tau,
            self.tolerance,
            self.seed,
            SMALLEST_TIME,
        )
        checksum = hashlib.sha256(repr(settings).encode())
        problem = batch.problem
        for part in (
            problem.y,
            problem.sensed.mask,
            problem.sensed.sensitivities,
            problem.noise_level,
            batch.image,
        ):
            checksum.update(repr((part.dtype, tuple(part.shape))).encode())
            checksum.update(part.detach().cpu().resolve_conj().contiguous().numpy().tobytes())
        return checksum.hexdigest()

    @torch.no_grad()
    def _solve(self, problem: Problem, key: str) -> Trajectory:
        generator = torch.Generator().manual_seed(int(key[:15], 16))
        source = noisy(self.teacher.source(problem), self.tau, generator)
        return conditional_flow(self.teacher.velocity(problem), source, self.times, self.tolerance)

    def _load(self, path: Path) -> Trajectory | None:
        if not path.exists():
            return None
        try:
            parts = load_file(path)
            states, endpoints = (torch.view_as_complex(parts[name]) for name in ("states", "endpoints"))
        except (OSError, KeyError, RuntimeError, SafetensorError):
            return None  # a damaged file of the cache is made anew
        return Trajectory(list(states), list(endpoints), self._times, 0)


def conditional_flow(velocity: Velocity, source: Tensor, times: Sequence[float], tolerance: float) -> Trajectory:
    """The solution at the falling `times`, which end at 0, with the endpoint that the flow expects at each of them.

    Integrated by an adaptive solver of order five with relative and absolute `tolerance` down to `SMALLEST_TIME`,
    from where one Euler step reaches t = 0. Raises MissingExtraError without torchdiffeq.
    """
    fine = [*times[:-1], SMALLEST_TIME]
    if fine[-2] <= SMALLEST_TIME:
        raise ConfigError(f"a reference needs times above {SMALLEST_TIME} before the last; got {list(times)}")
    states = integrate_reference(velocity, source, fine, rtol=tolerance, atol=tolerance)
    clocks = torch.tensor(fine, dtype=source.real.dtype, device=source.device)
    endpoints = [x - time * velocity(x, time) for x, time in zip(states, clocks, strict=True)]
    return Trajectory([*states[:-1], endpoints[-1]], endpoints[:-1], torch.tensor(times, dtype=torch.float64), 0)
