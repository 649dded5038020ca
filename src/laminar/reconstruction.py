"""The one inference path: an acquisition and a method in, an image with its trajectory out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from laminar.acquisition import Acquisition
from laminar.data.cropping import center_crop, crop_readout
from laminar.data.preparation import Problem, prepare, without_oversampling
from laminar.errors import DataFormatError
from laminar.flow import Trajectory
from laminar.models import UnrolledNetwork
from laminar.operators import ifft2c

Method = UnrolledNetwork | Callable[[Problem], Trajectory]


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


@torch.no_grad()
def reconstruct(
    scan: Acquisition,
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
    device = device or _device(method)
    solver = _as_callable(method, device)
    log = []
    scan = without_oversampling(scan)
    states: list[Tensor] = []
    times, nfe = None, 0
    for index in range(scan.n_slices):
        part = scan.slice(index)
        if not bool(part.kspace.any()):
            log.append(f"slice {index} holds no signal: its image is zero")
            states.append(torch.zeros(1, 1, *scan.matrix, dtype=torch.complex64))
        else:
            problem = prepare(part)
            trajectory = solver(problem.to(device))
            kept = trajectory.states if keep_trajectory else trajectory.states[-1:]
            states.append(torch.stack(kept).cpu() * problem.scale[:, None, None])
            times, nfe = trajectory.times, trajectory.nfe
        report(index + 1)
    depth = max(len(state) for state in states)
    stacked = center_crop(torch.cat([s.expand(depth, *s.shape[1:]) for s in states], 1), scan.image_shape)
    if not bool(torch.isfinite(torch.view_as_real(stacked[-1])).all()):
        raise DataFormatError(f"{scan.name}: the image is not finite: is the model made for data like these?")
    seconds = time.perf_counter() - started
    return Reconstruction(stacked[-1], stacked if keep_trajectory else None, times, nfe, seconds, tuple(log))


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
