"""One image in bounded time: the network, or when it fails what is simpler, and whether it agrees with the data."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import torch
from torch import Tensor

from laminar.data.preparation import Problem, noise_std_of
from laminar.errors import LaminarError, failure
from laminar.flow import Trajectory
from laminar.methods import Method, classical_method
from laminar.methods.wrapped import WrappedMethod
from laminar.operators import solve, squared_norm
from laminar.reconstruction import SliceReconstruction, reconstruct_slices, reference_image
from laminar.scan import Scan

T = TypeVar("T")
FALLBACKS = ("l1-wavelet", "cg-sense")
LONGEST = 2 + len(FALLBACKS)
"""Deadlines that an image may take: of the method, of each of them, and of what is left then."""
DEPARTURE = 3.0
"""How much larger than that of noise and of least squares the residual of an image may be."""
_LEAST_SQUARES_ITERATIONS = 10


class TooSlow(Exception):
    """The deadline has passed."""


@dataclass(frozen=True, eq=False)
class Solved:
    """An image, the name of the method that made it, and why the one that was asked for did not, if so.

    `departure` is the residual of the data, over the larger of what noise and what least squares leave; None if it is
    not known.
    """

    done: SliceReconstruction
    method: str
    reason: str | None
    departure: float | None
    seconds: float

    @property
    def departs(self) -> bool:
        return self.departure is not None and self.departure > DEPARTURE


class Device:
    """One computation at a time, in the order in which they come; whoever waits, waits no longer than it said."""

    def __init__(self) -> None:
        self._free = threading.Semaphore()
        self._since: float | None = None

    @property
    def busy(self) -> float:
        """The seconds for which the computation in hand has run."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def run(self, work: Callable[[], T], seconds: float) -> T:
        """What `work` returns or raises. Raises TooSlow after `seconds`; then `work` keeps the device until it ends."""
        started = time.monotonic()
        if not self._free.acquire(timeout=seconds):
            raise TooSlow(f"the device was busy for {seconds:g} s")
        result: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

        self._since = time.monotonic()

        def worked() -> None:
            try:
                result.put((work(), None))
            except BaseException as error:
                result.put((None, error))
            finally:
                self._since = None
                self._free.release()

        try:
            threading.Thread(target=worked, daemon=True, name="device").start()
        except RuntimeError:  # no thread is free, and nobody else would give the device back
            self._since = None
            self._free.release()
            raise
        try:
            value, error = result.get(timeout=max(0.0, seconds - (time.monotonic() - started)))
        except Empty:
            raise TooSlow(f"more than {seconds:g} s") from None
        if error is not None:
            raise error
        return value  # type: ignore[return-value]


@dataclass(eq=False)
class Watch:
    """Ends a method at the first cascade after its deadline, and keeps how far its image departs from the data."""

    until: float
    departure: float | None = None

    def tick(self, k: int, image: Tensor) -> Tensor:
        if time.monotonic() > self.until:
            raise TooSlow(f"stopped after cascade {k}")
        return image


@dataclass(frozen=True, eq=False)
class Watched(WrappedMethod):
    """A method under a watch."""

    watch: Watch

    @property
    def draws(self) -> bool:  # type: ignore[override]
        return self.of.draws

    def estimate(self, problem: Problem, generator: torch.Generator, **offered: Any) -> Trajectory:
        told = {"edit": self.watch.tick} if "edit" in self.of.offers else {}
        return self._measured(self.of.estimate(problem, generator, **told), problem)

    def draw(self, problem: Problem, generator: torch.Generator) -> Trajectory:
        drawn = self.of.draw(problem, generator)
        self.watch.tick(0, drawn.image)
        return self._measured(drawn, problem)

    def _measured(self, trajectory: Trajectory, problem: Problem) -> Trajectory:
        self.watch.departure = departure(trajectory.image, problem)
        return trajectory


def departure(image: Tensor, problem: Problem) -> float:
    """`||A x - y|| / max(sigma sqrt(m), ||A x_ls - y||)` for m samples and the least-squares image of a few iterations.

    What the sensitivities do not explain, no image does: the least-squares image shows how much this is.
    """
    operator = problem.operator
    least = solve(operator.gram, operator.adjoint(problem.y), iterations=_LEAST_SQUARES_ITERATIONS)
    residual, floor = (math.sqrt(float(squared_norm(operator.forward(x) - problem.y).sum())) for x in (image, least))
    noise = math.sqrt(float(problem.noise_level.square().mean()) * problem.samples)
    return residual / max(floor, noise, 1e-30)


def solved(
    scan: Scan, method: Method, device: Device, deadline: float, *, samples: int = 0, where: str = "cpu"
) -> Solved:
    """The one image of `scan` by `method` within `deadline` seconds, else by the first of FALLBACKS that succeeds.

    Each of these has the deadline to itself; the last resort, the root of the sum of squares of zero-filled coil
    images, needs neither calibration nor iterations. Raises LaminarError if even that fails.
    """
    started, reasons = time.monotonic(), []
    scan = scan if scan.noise_covariance is not None else replace(scan, noise_std=_noise_of(scan))
    for attempt in (method, *(classical_method(name) for name in FALLBACKS if name != method.kind)):
        watch = Watch(time.monotonic() + deadline)
        drawn = samples if attempt is method and method.draws else 0
        try:
            done = device.run(_work(scan, Watched(attempt, watch), drawn, where), deadline)
        except Exception as error:  # a method may raise anything
            reasons.append(f"{attempt.name} failed: {_line(error)}")
            continue
        departed = None if done.is_empty else watch.departure
        return Solved(done, attempt.name, "; ".join(reasons) or None, departed, time.monotonic() - started)
    image = reference_image(scan)[0]
    if not bool(torch.isfinite(image).all()):
        raise LaminarError("; ".join(reasons))
    last = SliceReconstruction(image.to(torch.complex64), None, None, 0)
    return Solved(last, "zero-filled", "; ".join(reasons), None, time.monotonic() - started)


def _noise_of(scan: Scan) -> float:
    return scan.noise_std if scan.noise_std is not None else noise_std_of(scan)


def _work(scan: Scan, method: Method, samples: int, where: str) -> Callable[[], SliceReconstruction]:
    return lambda: next(reconstruct_slices(scan, method, keep_trajectory=False, samples=samples, device=where))


def _line(error: BaseException) -> str:
    """The error in one line."""
    if isinstance(error, TooSlow | LaminarError):
        return str(error)
    return failure(error) or f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
