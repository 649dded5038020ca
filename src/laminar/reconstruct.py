"""The one inference path: an acquisition and a method in, an image with its trajectory out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from laminar.acquisition import Acquisition
from laminar.data.preparation import Problem, prepare
from laminar.flow import Trajectory
from laminar.models import UnrolledNetwork
from laminar.operators import fft2c, ifft2c

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


@torch.inference_mode()
def reconstruct(
    scan: Acquisition,
    method: Method,
    *,
    keep_trajectory: bool = True,
    device: str | torch.device = "cpu",
    report: Callable[[int], None] = lambda slices_done: None,
) -> Reconstruction:
    """Reconstruct every slice of a scan with a network, or any callable from a Problem to a Trajectory.

    Readout oversampling is removed first, and the image is center-cropped to `scan.image_shape`. A slice
    without any signal is returned as zeros, and the log says so. Raises DataFormatError if the scan has neither
    sensitivities nor calibration lines.
    """
    started = time.perf_counter()
    solver = _as_callable(method, device)
    log = []
    scan = crop_readout(scan)
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
    seconds = time.perf_counter() - started
    return Reconstruction(stacked[-1], stacked if keep_trajectory else None, times, nfe, seconds, tuple(log))


def _as_callable(method: Method, device: str | torch.device) -> Callable[[Problem], Trajectory]:
    if not isinstance(method, UnrolledNetwork):
        return method
    network = method.to(device).eval()
    return lambda p: network.trajectory(p.kspace, p.operator, p.noise_level)


def reference_image(scan: Acquisition) -> Tensor:
    """Root-sum-of-squares image (slice, y, x) of a fully sampled scan, cropped as `reconstruct` crops."""
    scan = crop_readout(scan)
    return center_crop(ifft2c(scan.kspace).abs().square().sum(1).sqrt(), scan.image_shape)


def crop_readout(scan: Acquisition) -> Acquisition:
    """Remove readout oversampling: crop the image along every axis that is sampled without gaps.

    Exact, because such an axis can be transformed by itself; it saves half the work where a scanner oversamples twice.
    """
    if scan.image_shape is None:
        return scan
    for axis, size in zip((-2, -1), scan.image_shape, strict=True):
        lines = scan.mask.all(axis)
        whole = bool((lines == scan.mask.any(axis)).all())
        if whole and size < scan.kspace.shape[axis]:
            scan = _crop_axis(scan, axis, size)
    return scan


def _crop_axis(scan: Acquisition, axis: int, size: int) -> Acquisition:
    image = _narrow(ifft2c(scan.kspace, (axis,)), axis, size)
    maps = scan.sensitivities
    return replace(
        scan,
        kspace=fft2c(image, (axis,)),
        mask=_narrow(scan.mask, axis, size),
        sensitivities=None if maps is None else _narrow(maps, axis, size),
    )


def center_crop(image: Tensor, shape: tuple[int, int] | None) -> Tensor:
    """The central part (..., y, x) of an image; an axis that is shorter than asked for is left as it is."""
    if shape is None:
        return image
    for axis, size in zip((-2, -1), shape, strict=True):
        image = _narrow(image, axis, min(size, image.shape[axis]))
    return image


def _narrow(tensor: Tensor, axis: int, size: int) -> Tensor:
    return tensor.narrow(axis, tensor.shape[axis] // 2 - size // 2, size)
