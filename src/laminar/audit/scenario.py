"""On what an audit is made: seeded simulated slices, or slices of fully sampled scans from files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from laminar.acquisition import Acquisition
from laminar.data.formats import read, scan_name
from laminar.data.masks import MASK_KINDS, make_mask
from laminar.data.preparation import Problem, prepare, without_oversampling
from laminar.data.simulation import simulate_slice
from laminar.data.stream import MOST_ACCELERATED
from laminar.errors import ConfigError
from laminar.operators import ifft2c

ANATOMIES, MATRIX, COILS = ("brain", "knee", "cardiac"), (160, 144), 6


@dataclass(frozen=True, eq=False)
class Case:
    """One slice to audit on: a problem of batch size 1, and its image complex64 (1, y, x) in the problem's units."""

    name: str
    problem: Problem
    image: Tensor


@dataclass(frozen=True)
class ScenarioConfig:
    """What an audit is made on.

    Args:
        data: files or folders of fully sampled scans; none stands for simulated slices.
        slices: number of slices, spread evenly over the files; fewer if they hold fewer.
        acceleration: nominal R of the masks.
        calibration_lines: fully sampled lines in the center.
        mask: kind of mask, see `laminar.data.masks.make_mask`.
        seed: of anatomy, coils, noise, and of the masks: slice i has the mask of seed + i.
        noise_std: noise of the simulated slices, relative to a magnetization of about one.
        variable, axes: the array of k-space and its axes where a file does not say, see `laminar.data.formats.read`.
    """

    data: tuple[Path, ...] = ()
    slices: int = 12
    acceleration: float = 4.0
    calibration_lines: int = 14
    mask: str = "equispaced-fraction"
    seed: int = 0
    noise_std: float = 0.01
    variable: str | None = None
    axes: str | None = None

    def __post_init__(self) -> None:
        if self.slices < 1:
            raise ConfigError(f"an audit needs at least 1 slice; got {self.slices}")
        if not 0 <= self.seed < 2**31:
            raise ConfigError(f"the seed must be from 0 to 2^31 - 1; got {self.seed}")
        if not 0 < self.noise_std < float("inf"):
            raise ConfigError(f"the noise level must be positive; got {self.noise_std}")
        if self.mask.replace("_", "-") not in MASK_KINDS:
            raise ConfigError(f"unknown mask {self.mask!r}: choose one of {', '.join(MASK_KINDS)}")


def make_cases(
    config: ScenarioConfig, accelerations: Sequence[float] | None = None
) -> tuple[list[Case], dict[str, Any]]:
    """The slices of an audit, and what they are as plain values for the record.

    `accelerations`, one for each of `config.slices`, take the place of the one in the settings. Raises LaminarError for
    files that cannot be read, are not fully sampled or hold no signal.
    """
    paths = [path for name in config.data for path in _expand(name)]
    scans = list(_from_files(paths, config) if paths else _simulated(config))
    each = accelerations or [config.acceleration] * len(scans)
    cases = [_case(*scan, replace(config, acceleration=each[index]), index) for index, scan in enumerate(scans)]
    flags = {_is_simulated(scan) for _, scan, _ in scans}
    sources = sorted({f"{scan.name}{' (simulated)' if _is_simulated(scan) else ''}" for _, scan, _ in scans})
    return cases, describe(cases) | {
        "simulated": flags.pop() if len(flags) == 1 else None,
        "source": "; ".join(sources) if paths else _SIMULATED,
        "files": [{"name": path.name, "sha256": _sha256(path)} for path in paths],
        "noise_std": None if paths else config.noise_std,
        "mask": config.mask.replace("_", "-"),
        "acceleration": config.acceleration,
        "calibration_lines": config.calibration_lines,
        "seed": config.seed,
    }


def _is_simulated(scan: Acquisition) -> bool:
    """Whether a scan says so: of ours, as it is made or from the file of `laminar simulate`."""
    return bool(scan.header.get("simulated")) or str(scan.header.get("acquisition", "")).startswith("SIMULATED")


def describe(cases: Sequence[Case]) -> dict[str, Any]:
    """What the cases themselves say of the data of an audit; what they do not is None."""
    unknown = dict.fromkeys(("simulated", "source", "noise_std", "mask", "acceleration", "calibration_lines", "seed"))
    return unknown | {
        "files": [],
        "n_slices": len(cases),
        "matrices": [list(shape) for shape in sorted({tuple(case.problem.mask.shape[-2:]) for case in cases})],
        "coils": sorted({int(case.problem.kspace.shape[1]) for case in cases}),
        "measured_acceleration": sum(float(1 / c.problem.mask.float().mean()) for c in cases) / len(cases),
    }


_SIMULATED = (
    "laminar simulate: random procedural phantoms (brain, knee, cardiac), rasterized twice as fine as they are "
    "sampled, simulated coils, colored complex Gaussian noise"
)


def _simulated(config: ScenarioConfig) -> Iterator[tuple[str, Acquisition, Tensor]]:
    """Name, fully sampled scan and noiseless k-space (1, coil, y, x) of each slice."""
    for index in range(config.slices):
        anatomy = ANATOMIES[index % len(ANATOMIES)]
        generator = torch.Generator().manual_seed(1_000_003 * config.seed + index)
        scan = simulate_slice(anatomy, MATRIX, COILS, config.noise_std, generator)
        name = f"simulated {anatomy} {index // len(ANATOMIES) + 1}"
        yield name, scan.sample(name).acquisition, scan.clean[None]


def _from_files(paths: list[Path], config: ScenarioConfig) -> Iterator[tuple[str, Acquisition, Tensor]]:
    """As `_simulated`, with all the samples in place of the noiseless ones."""
    share, rest = divmod(config.slices, len(paths))
    for index, path in enumerate(paths[: config.slices]):
        scan, numbers = _full_scan(path, config)
        count = min(share + (index < rest), scan.n_slices)
        for place in range(count):
            number = int((place + 0.5) * scan.n_slices / count)
            part = scan.slice(number)
            yield f"{scan_name(path)} slice {numbers[number]}", part, part.kspace


def _full_scan(path: Path, config: ScenarioConfig) -> tuple[Acquisition, list[int]]:
    """The slices with signal of a fully sampled scan, without readout oversampling, and their numbers in the file."""
    scan = read(path, variable=config.variable, axes=config.axes)
    if scan.measured_acceleration > MOST_ACCELERATED:
        raise ConfigError(
            f"{path}: an audit needs fully sampled scans (R up to {MOST_ACCELERATED}); "
            f"this one has R = {scan.measured_acceleration:.2f}"
        )
    numbers = (scan.kspace != 0).flatten(1).any(1).nonzero()[:, 0]
    if len(numbers) == 0:
        raise ConfigError(f"{path}: an audit needs signal; every slice of this scan is zero")
    maps = scan.sensitivities
    scan = replace(scan, kspace=scan.kspace[numbers], sensitivities=None if maps is None else maps[numbers])
    return without_oversampling(scan), numbers.tolist()


def _case(name: str, scan: Acquisition, clean: Tensor, config: ScenarioConfig, index: int) -> Case:
    """The undersampled problem and the image `S^H F^-1 y` of all samples, with the problem's own sensitivities."""
    mask = make_mask(
        config.mask, scan.matrix, config.acceleration, config.calibration_lines, config.seed + index, scan.phase_axis
    )
    problem = prepare(scan.undersample(mask))
    image = (problem.sensitivities.conj() * ifft2c(clean)).sum(1) / problem.scale[:, None, None]
    return Case(name, problem, image)


def _expand(path: Path) -> list[Path]:
    """The scans of a folder; of a BART pair .cfl and .hdr, the first."""
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.iterdir() if p.is_file() and p.suffix != ".hdr" and not p.name.startswith("."))
    if not found:
        raise ConfigError(f"{path}: no file in this folder")
    return found


def _sha256(path: Path) -> str:
    with (path if path.is_file() else path.with_name(f"{path.name}.cfl")).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
