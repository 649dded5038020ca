"""The one inference path: an acquisition and a method in, an image with its trajectory out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from laminar.acquisition import Acquisition
from laminar.data.cropping import center_crop, crop_readout
from laminar.data.formats import LazyScan
from laminar.data.noise import estimate_noise_std, telling_slices
from laminar.data.preparation import Problem, prepare
from laminar.errors import DataFormatError
from laminar.flow import Trajectory
from laminar.models import UnrolledNetwork
from laminar.operators import ifft2c

Method = UnrolledNetwork | Callable[[Problem], Trajectory]
Scan = Acquisition | LazyScan
T = TypeVar("T")


@dataclass(frozen=True)
class Reconstruction:
    """The image of a scan and how it came about.

    `image` complex64 (slice, y, x), in the units of the scan; `trajectory` the states (state, slice, y, x) from the
    source to the image, or None if it was not kept; `times` of the states, or None if the method has none; `nfe`
    network evaluations a slice; `seconds` of computation; `log` what the reader of the image should know.
    """

    image: Tensor
    trajectory: Tensor | None
    times: Tensor | None
    nfe: int
    seconds: float
    log: tuple[str, ...]

    @property
    def magnitude(self) -> Tensor:
        return self.image.abs()


@dataclass(frozen=True)
class SliceReconstruction:
    """One slice: `states` complex64 (state, y, x), of which the last is the image; the rest as of a Reconstruction.

    `is_empty` if it holds no signal: there is one state, zero.
    """

    states: Tensor
    times: Tensor | None
    nfe: int
    log: tuple[str, ...] = ()
    is_empty: bool = False

    @property
    def image(self) -> Tensor:
        return self.states[-1]


def reconstruct(
    scan: Scan,
    method: Method,
    *,
    keep_trajectory: bool = True,
    device: str | torch.device | None = None,
    report: Callable[[int], None] = lambda slices_done: None,
) -> Reconstruction:
    """Reconstruct every slice of a scan with a network, or any callable from a Problem to a Trajectory.

    Readout oversampling is removed first, and the image is center-cropped to `scan.image_shape`. A slice
    without any signal is returned as zeros, and the log says so. `device` is where the work is done; None is where the
    network is. Raises DataFormatError if the scan has neither sensitivities nor calibration lines, or if the image
    is not finite.
    """
    started = time.perf_counter()
    slices = []
    for done in reconstruct_slices(scan, method, keep_trajectory=keep_trajectory, device=device):
        slices.append(done)
        report(len(slices))
    depth = max(len(done.states) for done in slices)
    states = torch.stack([done.states.expand(depth, -1, -1) for done in slices], 1)
    times, nfe = next(((done.times, done.nfe) for done in reversed(slices) if not done.is_empty), (None, 0))
    log = tuple(line for done in slices for line in done.log)
    seconds = time.perf_counter() - started
    return Reconstruction(states[-1], states if keep_trajectory else None, times, nfe, seconds, log)


@torch.no_grad()
def reconstruct_slices(
    scan: Scan, method: Method, *, keep_trajectory: bool = True, device: str | torch.device | None = None
) -> Iterator[SliceReconstruction]:
    """The slices of `reconstruct` one after the other, in the memory of one; of two where the device is no CPU.

    There the next slice is read and calibrated while the network runs. The noise level is one for the volume, from four
    of its slices. A slice without signal has a single state, zero.
    """
    device = device or _device(method)
    solver = _as_callable(method, device)
    noise = _noise_std(scan)

    def problem(index: int) -> tuple[Acquisition, Problem | None]:
        part = crop_readout(replace(scan.slice(index), noise_std=noise))
        return part, prepare(part) if bool(part.kspace.any()) else None

    # On a CPU the thread and the network would fight for the same cores: measured on two, it takes twice as long.
    on_cpu = torch.device(device).type == "cpu"
    problems = map(problem, range(scan.n_slices)) if on_cpu else _made_ahead(problem, scan.n_slices)
    for index, (part, ready) in enumerate(problems):
        if ready is None:
            zero = center_crop(torch.zeros(1, *part.matrix, dtype=torch.complex64), part.image_shape)
            yield SliceReconstruction(
                zero, None, 0, (f"slice {index} holds no signal: its image is zero",), is_empty=True
            )
            continue
        trajectory = solver(ready.to(device))
        kept = trajectory.states if keep_trajectory else trajectory.states[-1:]
        states = torch.cat(list(kept)).cpu() * ready.scale[:, None, None]
        states = center_crop(states, part.image_shape)
        if not bool(torch.isfinite(torch.view_as_real(states[-1])).all()):
            raise DataFormatError(f"{scan.name}: the image is not finite: is the model made for data like these?")
        yield SliceReconstruction(states, trajectory.times, trajectory.nfe)


def _made_ahead(make: Callable[[int], T], count: int) -> Iterator[T]:
    """make(0), make(1), ...: the next one is made in a thread while the last is used."""
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(make, 0)
        for index in range(count):
            made = following.result()
            if index + 1 < count:
                following = thread.submit(make, index + 1)
            yield made


def _noise_std(scan: Scan) -> float:
    """The noise level that the scan brings, or that some of its slices show before the readout is cropped."""
    known = scan.slice(0).noise_std
    if known is not None:
        return known
    some = [scan.slice(index).kspace for index in telling_slices(scan.n_slices)]
    return estimate_noise_std(torch.cat(some), scan.mask)


def _device(method: Method) -> torch.device:
    parameters = method.parameters() if isinstance(method, UnrolledNetwork) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))


def _as_callable(method: Method, device: str | torch.device) -> Callable[[Problem], Trajectory]:
    if not isinstance(method, UnrolledNetwork):
        return method
    network = method.to(device)
    return lambda p: network.trajectory(p.kspace, p.operator, p.noise_level)


def reference_image(scan: Acquisition) -> Tensor:
    """Root-sum-of-squares image (slice, y, x) of a fully sampled scan, cropped as `reconstruct` crops."""
    scan = crop_readout(scan)
    return center_crop(ifft2c(scan.kspace).abs().square().sum(1).sqrt(), scan.image_shape)
