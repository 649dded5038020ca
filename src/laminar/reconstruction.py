"""The one inference path: a scan and a method in, an image with its trajectory out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from laminar.data.coils import whitened
from laminar.data.cropping import center_crop, crop_readout
from laminar.data.formats import AnyScan, stream
from laminar.data.preparation import Problem, magnitude, noise_std_of, prepare
from laminar.errors import ConfigError, DataFormatError
from laminar.flow import Trajectory
from laminar.methods import Method, as_method
from laminar.operators import Encoding, SoftSense, combined, ifft2c
from laminar.runtime import seed_of
from laminar.scan import Placement, Scan, image_name
from laminar.uncertainty import Spread

Solvable = Method | nn.Module | Callable[[Problem], Any]
T = TypeVar("T")


@dataclass(frozen=True, eq=False, repr=False)
class Reconstruction:
    """The image of a scan and how it came about.

    `image` complex64, of real data float32, (slice, y, x), in the units of the scan; of images that are solved
    together (slice, frame, y, x), and so on; `trajectory` the states
    (state, slice, y, x) from the source to the image, or None if it was not kept; `times` of the states, or None if the
    method has none; `nfe` network evaluations a slice; `seconds` of computation; `log` what the reader of the image
    should know; `spread` mean and standard deviation (slice, y, x) of the magnitude of the samples, if any were drawn:
    then `image` is the mean of the complex samples, `magnitude` that of their magnitudes, and the trajectory leads to
    the first of them.
    """

    image: Tensor
    trajectory: Tensor | None
    times: Tensor | None
    nfe: int
    seconds: float
    log: tuple[str, ...]
    spread: Spread | None = None

    def __repr__(self) -> str:
        size, states = " x ".join(map(str, self.image.shape)), 0 if self.trajectory is None else len(self.trajectory)
        drawn = "" if self.spread is None else f", the mean of {self.spread.n} samples"
        return f"Reconstruction({size}, {states} states kept, {self.nfe} NFE, {self.seconds:.2g} s{drawn})"

    @property
    def magnitude(self) -> Tensor:
        """The image as float32, the center of its intervals: magnitudes are averaged where samples were drawn."""
        return self.image.abs() if self.spread is None else self.spread.mean


@dataclass(frozen=True, eq=False)
class SliceReconstruction:
    """One slice, without the first axis of a Reconstruction: `image` (y, x), `trajectory` (state, y, x), and so on.

    `is_empty` if it holds no signal: the image is zero, and so is the one state. `placement`, `spacing_mm` and
    `thickness_mm` are those of the scan, if it has any, `axes` the names of those of all images, (slice, y, x) or
    (slice, frame, y, x).
    """

    image: Tensor
    trajectory: Tensor | None
    times: Tensor | None
    nfe: int
    log: tuple[str, ...] = ()
    is_empty: bool = False
    spread: Spread | None = None
    placement: Placement | None = None
    spacing_mm: tuple[float, float] | None = None
    thickness_mm: float | None = None
    axes: tuple[str, ...] = ("slice", "y", "x")

    @property
    def magnitude(self) -> Tensor:
        return self.image.abs() if self.spread is None else self.spread.mean


def reconstruct(
    scan: AnyScan | str | Path,
    method: Solvable,
    *,
    keep_trajectory: bool = True,
    samples: int = 0,
    seed: int = 0,
    n_maps: int | None = None,
    device: str | torch.device | None = None,
    report: Callable[[int], None] = lambda slices_done: None,
) -> Reconstruction:
    """Reconstruct every slice of a scan with a method, a network, or any callable from a Problem to a Trajectory.

    A scan may be named by its file, a method or model by its name or folder: `reconstruct("scan.h5", "default")`.
    Readout oversampling is removed first, and the image is center-cropped to `scan.image_shape`. A slice
    without any signal is returned as zeros, and the log says so. `n_maps` sets of sensitivities, 1 or 2, are estimated;
    None takes two where the object reaches over the edge of its field of view and the method can: the image is then
    the root of the sum of squares of both, with the phase of the first (`laminar.operators.combined`). `device` is
    where the work is done; None is where the network is.

    With `samples` of two or more, that many posterior samples are drawn; the image is their mean, `spread` says how
    far they differ, and the trajectory is that of the first, which ends in the first and not in the mean. All
    randomness comes from `seed`, and sample i of slice j is the same however many there are.

    Raises DataFormatError if the scan has neither sensitivities nor calibration lines, or if the image is not finite,
    and ConfigError if samples are asked of a method that has none, or two maps of one that takes one.
    """
    started = time.perf_counter()
    scan = stream(scan) if isinstance(scan, str | Path) else scan
    slices = []
    for done in reconstruct_slices(
        scan, method, keep_trajectory=keep_trajectory, samples=samples, seed=seed, n_maps=n_maps, device=device
    ):
        slices.append(done)
        report(len(slices))
    image = torch.stack([done.image for done in slices])
    trajectories = [done.trajectory for done in slices if done.trajectory is not None]
    depth = max(map(len, trajectories), default=0)
    trajectory = torch.stack([one.expand(depth, *one.shape[1:]) for one in trajectories], 1) if trajectories else None
    times, nfe = next(((done.times, done.nfe) for done in reversed(slices) if not done.is_empty), (None, 0))
    log = tuple(line for done in slices for line in done.log)
    seconds = time.perf_counter() - started
    spread = Spread.stack([done.spread for done in slices if done.spread is not None]) if samples else None
    return Reconstruction(image, trajectory, times, nfe, seconds, log, spread)


@torch.no_grad()
def reconstruct_slices(
    scan: AnyScan,
    method: Solvable,
    *,
    keep_trajectory: bool = True,
    samples: int = 0,
    seed: int = 0,
    n_maps: int | None = None,
    device: str | torch.device | None = None,
) -> Iterator[SliceReconstruction]:
    """The slices of `reconstruct` one after the other, in the memory of one; of two where the device is no CPU.

    There the next slice is read and calibrated while the network runs. The noise level is one for the volume, from four
    of its slices. A slice without signal has a single state, zero.
    """
    method = as_method(method)
    device = device or method.device
    method = method.to(device)
    solver = _drawn(method, samples) if samples else _single(method)
    wanted = method.maps(n_maps)
    noise = noise_std_of(scan)  # before the readout is cropped: air shows it best

    def problem(index: int) -> tuple[Scan, Problem | None]:
        part = crop_readout(replace(scan.slice(index), noise_std=noise))
        return part, prepare(part, wanted) if bool(part.data.any()) else None

    # On a CPU the thread and the network would fight for the same cores: measured on two, it takes twice as long.
    on_cpu = torch.device(device).type == "cpu"
    problems = map(problem, range(scan.n_slices)) if on_cpu else _made_ahead(problem, scan.n_slices)
    solved = folded = False
    for index, (part, ready) in enumerate(problems):
        named = image_name(scan.series or {"slice": scan.n_slices}, index)
        if ready is None:
            yield _placed(_empty(part, named, samples, keep_trajectory), part)
            continue
        _check_maps(method, ready)
        trajectory, images, nfe = solver(ready.to(device), (seed, index))
        image = _in_units(images.mean(0), ready, part)
        if not bool(torch.isfinite(image).all()):
            raise DataFormatError(f"{scan.name}: the image is not finite: is the model made for data like these?")
        states = _in_units(torch.cat(trajectory.states), ready, part) if keep_trajectory else None
        spread = Spread.of(_in_units(images.abs(), ready, part)) if samples else None
        log: tuple[str, ...] = () if bool(image.any()) else (_why_empty(named, ready),)
        if not solved and method.geometry not in (None, part.geometry.kind):
            log += (f"{method.name} was trained for {method.geometry} scans; this one is {part.geometry.kind}",)
        solved = True
        if ready.n_maps > 1 and not folded:
            folded, log = True, (*log, _FOLDED.format(named))
        done = SliceReconstruction(image, states, trajectory.times, nfe, log, spread=spread)
        yield _placed(done, part)


Seeds = tuple[int, int]
Draws = Callable[[Problem, Seeds], tuple[Trajectory, Tensor, int]]
"""A trajectory, the images (sample, y, x), and the network evaluations for all of them."""


def _single(method: Method) -> Draws:
    def once(problem: Problem, seeds: Seeds) -> tuple[Trajectory, Tensor, int]:
        trajectory = method.estimate(problem, _generator(problem, *seeds))
        return trajectory, trajectory.image, trajectory.nfe

    return once


def _drawn(method: Method, samples: int) -> Draws:
    """`samples` of a method, each with a generator of its own; of the trajectories only the first is kept."""
    check_samples_of(method, samples)

    def several(problem: Problem, seeds: Seeds) -> tuple[Trajectory, Tensor, int]:
        first = method.draw(problem, _generator(problem, *seeds, 0))
        images, nfe = [first.image], first.nfe
        for sample in range(1, samples):
            one = method.draw(problem, _generator(problem, *seeds, sample))
            images.append(one.image)
            nfe += one.nfe
        return first, torch.cat(images), nfe

    return several


def check_samples_of(method: Method, samples: int) -> None:
    """Raise ConfigError if a method draws no samples, or for fewer than two."""
    if samples < 2:
        raise ConfigError(f"the spread of samples needs at least 2 of them; got {samples}")
    if not method.draws:
        raise method.no_samples()


_FOLDED = "two sets of sensitivities from {} on, where the object reaches over the edge of its field of view"


def _check_maps(method: Method, problem: Problem) -> None:
    if method.n_maps is not None and problem.n_maps > method.n_maps:
        raise method.too_many(problem.n_maps)


def _generator(problem: Problem, *seeds: int) -> torch.Generator:
    return torch.Generator(problem.y.device).manual_seed(seed_of(*seeds))


def _in_units(images: Tensor, problem: Problem, part: Scan) -> Tensor:
    """Images (..., y, x) of a problem of one slice in the units and the crop of the scan, one image a pixel."""
    images = combined(images) if problem.n_maps > 1 else images
    return center_crop(images.cpu() * problem.scale.cpu(), part.image_shape)


def _empty(part: Scan, named: str, samples: int, keep_trajectory: bool) -> SliceReconstruction:
    zero = center_crop(torch.zeros(1, *part.geometry.shape, dtype=part.data.dtype), part.image_shape)
    spread = Spread(zero[0].abs(), zero[0].abs(), samples) if samples else None
    log = (f"{named} holds no signal: its image is zero",)
    return SliceReconstruction(zero[0], zero if keep_trajectory else None, None, 0, log, is_empty=True, spread=spread)


def _placed(done: SliceReconstruction, part: Scan) -> SliceReconstruction:
    placement = None if part.placements is None else part.placements[0]
    done = replace(done, spacing_mm=part.spacing_mm, thickness_mm=part.thickness_mm)
    return replace(done, placement=placement, axes=part.geometry.stack_axes)


def _why_empty(named: str, problem: Problem) -> str:
    said = f"{named} has samples, but its image is zero everywhere"
    is_dark = isinstance(problem.operator, Encoding | SoftSense) and not bool(problem.operator.sensitivities.any())
    return f"{said}: all coil sensitivities are zero" if is_dark else said


def _made_ahead(make: Callable[[int], T], count: int) -> Iterator[T]:
    """make(0), make(1), ...: the next one is made in a thread while the last is used."""
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(make, 0)
        for index in range(count):
            made = following.result()
            if index + 1 < count:
                following = thread.submit(make, index + 1)
            yield made


def reference_image(scan: Scan) -> Tensor:
    """Root-sum-of-squares image (slice, y, x) of a fully sampled scan, cropped as `reconstruct` crops."""
    scan = crop_readout(whitened(scan))
    unit = magnitude(scan.kspace)
    image = ifft2c(scan.kspace / unit[:, None, None, None]).abs().square().sum(1).sqrt()
    return center_crop(image * unit[:, None, None], scan.image_shape)
