"""On what an audit is made: seeded simulated slices, or slices of fully sampled scans from files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from laminar.data.acquisition import Acquisition
from laminar.data.acquisition.file import measure_phantom
from laminar.data.cases import Case, FullScans, case_of
from laminar.data.formats import UNSAID, Request, find_scans, scan_name, scan_sha256
from laminar.data.masks import MASK_KINDS, make_mask
from laminar.data.simulation import simulate_slice
from laminar.errors import ConfigError
from laminar.geometry import MOVING_KINDS
from laminar.operators import Encoding, SoftSense
from laminar.runtime import seed_of
from laminar.scan import Scan

ANATOMIES, MATRIX, COILS = ("brain", "knee", "cardiac"), (160, 144), 6
OTHER_MATRIX = (128, 128)
"""Of images in other geometries."""


@dataclass(frozen=True)
class ScenarioConfig:
    """What an audit is made on.

    Args:
        data: files or folders of fully sampled scans; none stands for simulated slices.
        slices: number of slices, spread evenly over the files; fewer if they hold fewer.
        acceleration: nominal R of the masks.
        calibration_lines: fully sampled lines in the center.
        mask: kind of mask, see `laminar.data.masks.make_mask`.
        seed: of anatomy, coils, noise and masks, for each slice by itself.
        noise_std: noise of the simulated slices, relative to a magnetization of about one.
        n_maps: sets of sensitivities, 1, 2 or None, see `laminar.data.preparation.prepare`.
        acquisition: what measures the simulated slices; None: coils on a Cartesian grid, with the masks above.
        request: how the files are read, where they do not say it, see `laminar.data.formats.read`.
    """

    data: tuple[Path, ...] = ()
    slices: int = 12
    acceleration: float = 4.0
    calibration_lines: int = 14
    mask: str = "equispaced-fraction"
    seed: int = 0
    noise_std: float = 0.01
    request: Request = UNSAID
    n_maps: int | None = 1
    acquisition: Acquisition | None = None

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
    if config.acquisition is not None:
        return _acquired(config, config.acquisition)
    paths = find_scans(config.data)
    each = accelerations or [config.acceleration] * config.slices
    found = _from_files(paths, config) if paths else _simulated(config)
    full = list(islice(found, config.slices))
    cases = [_case(*scan, replace(config, acceleration=each[index]), index) for index, scan in enumerate(full)]
    flags = {_is_simulated(scan) for _, scan, _ in full}
    sources = sorted({f"{scan.name}{' (simulated)' if _is_simulated(scan) else ''}" for _, scan, _ in full})
    return cases, describe(cases) | {
        "simulated": flags.pop() if len(flags) == 1 else None,
        "source": "; ".join(sources) if paths else _SIMULATED,
        "files": [{"name": path.name, "sha256": scan_sha256(path)} for path in paths],
        "noise_std": None if paths else config.noise_std,
        "mask": config.mask.replace("_", "-"),
        "acceleration": config.acceleration,
        "calibration_lines": config.calibration_lines,
        "seed": config.seed,
    }


def _acquired(config: ScenarioConfig, acquisition: Acquisition) -> tuple[list[Case], dict[str, Any]]:
    """Simulated images of another geometry."""
    anatomies = ("cardiac",) if acquisition.kind in MOVING_KINDS else ANATOMIES
    cases, rates = [], []
    for index in range(config.slices):
        anatomy = anatomies[index % len(anatomies)]
        seeds = (config.seed, index)
        measured = measure_phantom(acquisition, anatomy, OTHER_MATRIX, COILS, config.noise_std, *seeds)
        cases.append(measured.case(f"simulated {anatomy} {index // len(anatomies) + 1}"))
        rates.append(measured.scan.measured_acceleration)
    return cases, describe(cases) | {
        "simulated": True,
        "source": f"simulated {acquisition}: random procedural phantoms ({', '.join(anatomies)})",
        "noise_std": config.noise_std if acquisition.has_coils else None,
        "measured_acceleration": sum(rates) / len(rates),
        "seed": config.seed,
    }


def _is_simulated(scan: Scan) -> bool:
    """Whether a scan says so: of ours, as it is made or from the file of `laminar simulate`."""
    return bool(scan.header.get("simulated")) or str(scan.header.get("acquisition", "")).startswith("SIMULATED")


def describe(cases: Sequence[Case]) -> dict[str, Any]:
    """What the cases themselves say of the data of an audit; what they do not is None."""
    unknown = dict.fromkeys(("simulated", "source", "noise_std", "mask", "acceleration", "calibration_lines", "seed"))
    encodings = [case.problem.operator for case in cases if isinstance(case.problem.operator, Encoding | SoftSense)]
    rates = [float(1 / encoding.mask.float().mean()) for encoding in encodings]
    return unknown | {
        "files": [],
        "n_slices": len(cases),
        "matrices": [list(shape) for shape in sorted({tuple(case.image.shape[-2:]) for case in cases})],
        "coils": sorted({int(encoding.sensitivities.shape[-3]) for encoding in encodings}),
        "maps": sorted({case.problem.n_maps for case in cases}),
        "measured_acceleration": sum(rates) / len(rates) if rates else None,
    }


_SIMULATED = (
    "laminar simulate: random procedural phantoms (brain, knee, cardiac), rasterized twice as fine as they are "
    "sampled, simulated coils, colored complex Gaussian noise"
)


Full = tuple[str, Scan, Tensor | None]
"""Name, fully sampled scan of one slice, and its k-space (1, coil, y, x) without noise where that is known."""


def _simulated(config: ScenarioConfig) -> Iterator[Full]:
    for index in range(config.slices):
        anatomy = ANATOMIES[index % len(ANATOMIES)]
        generator = torch.Generator().manual_seed(seed_of(config.seed, index))
        scan = simulate_slice(anatomy, MATRIX, COILS, config.noise_std, generator)
        name = f"simulated {anatomy} {index // len(ANATOMIES) + 1}"
        yield name, replace(scan.scan, name=name), scan.clean[None]


def _from_files(paths: list[Path], config: ScenarioConfig) -> Iterator[Full]:
    """Slices with signal, spread evenly over the files and each of them."""
    scans = FullScans(paths, config.request)
    share, rest = divmod(config.slices, len(paths))
    for index, path in enumerate(paths[: config.slices]):
        numbers = scans.slices(path)
        count = min(share + (index < rest), len(numbers))
        for place in range(count):
            number = numbers[int((place + 0.5) * len(numbers) / count)]
            part = scans.slice(path, number)
            assert part is not None  # it has signal
            yield f"{scan_name(path)} slice {number}", part, None


def _case(name: str, scan: Scan, clean: Tensor | None, config: ScenarioConfig, index: int) -> Case:
    seed = (config.seed, index)
    mask = make_mask(
        config.mask, scan.matrix, config.acceleration, config.calibration_lines, seed, scan.grid.phase_axis
    )
    return case_of(scan, mask, clean, name, n_maps=config.n_maps)
