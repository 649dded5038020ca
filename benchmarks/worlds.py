"""Two worlds of fully sampled 128 x 128 slices with eight simulated coils, for `benchmarks.comparison`.

`simulated`: brains of `laminar.data.simulation`. `brain_t2`: coil-combined complex T2-weighted brain slices (SIAT500,
yqx7150/SIAT500data-singlecoil) that are laid under simulated coils; 200 slices of five subjects to train, 40 of a sixth
to tune and to calibrate, 20 of a seventh to test. Neither has measured k-space: both are **simulated** scans, sampled
on half of a finer grid, so that coil images have Gibbs ringing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from laminar.data.cases import Case
from laminar.data.masks import make_mask
from laminar.data.preparation import Problem, prepare
from laminar.data.simulation import SimulatedSlice, simulate_slice
from laminar.data.simulation.receive import colored_noise, noise_covariance, sensitivities
from laminar.files import replacing
from laminar.operators import Encoding, fft2c, ifft2c
from laminar.scan import cartesian

SIZE, COILS, NOISE_STD, CALIBRATION_LINES = 128, 8, 0.01, 8
MASK = "equispaced-fraction"
COUNTS = {"train": 200, "validation": 40, "test": 20}
WORLDS = ("simulated", "brain_t2")


@dataclass(frozen=True, eq=False)
class Slices:
    """Fully sampled, normalized slices: everything of a `Problem` but its mask, and the images (slice, y, x)."""

    kspace: Tensor
    sensitivities: Tensor
    noise_level: Tensor
    target: Tensor

    def batch(self, indices: list[int], accelerations: list[float], seeds: list[int]) -> Case:
        """These slices, undersampled. The maps and the scale come from the calibration lines, which all masks have."""
        masks = torch.stack(
            [
                make_mask(MASK, (SIZE, SIZE), acceleration, CALIBRATION_LINES, seed)
                for acceleration, seed in zip(accelerations, seeds, strict=True)
            ]
        )
        problem = Problem(
            self.kspace[indices] * masks[:, None],
            Encoding(masks, self.sensitivities[indices]),
            self.noise_level[indices],
            torch.ones(len(indices)),
        )
        return Case(problem, self.target[indices])

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True, eq=False)
class Undersampled:
    """A training stream: random slices, each with a mask of its own and an R between 4 and 8.

    `readout` of the 128 rows are kept, at a random place: lines along y have no gaps there, so that the part is a
    complete problem of less work.
    """

    slices: Slices
    batch_size: int
    seed: int
    readout: int = SIZE

    def batch(self, index: int) -> Case:
        random = np.random.default_rng((self.seed, index))
        chosen = random.integers(len(self.slices), size=self.batch_size).tolist()
        accelerations = random.uniform(4, 8, self.batch_size).tolist()
        whole = self.slices.batch(chosen, accelerations, random.integers(2**31, size=self.batch_size).tolist())
        return _rows_of(whole, int(random.integers(SIZE - self.readout + 1)), self.readout)


def _rows_of(batch: Case, start: int, rows: int) -> Case:
    """The same problem in `rows` rows of its field of view."""
    if rows == SIZE:
        return batch
    problem = batch.problem
    kspace = fft2c(ifft2c(problem.y, (-2,)).narrow(-2, start, rows), (-2,))
    mask, maps = (part.narrow(-2, start, rows) for part in (problem.encoding.mask, problem.encoding.sensitivities))
    part = replace(problem, y=kspace, operator=Encoding(mask, maps))
    return Case(part, batch.image.narrow(-2, start, rows))


def fixed_batches(slices: Slices, acceleration: float, batch_size: int, seed: int = 0) -> list[Case]:
    """All slices once, each with a mask of its own seed."""
    groups = [list(range(len(slices)))[start : start + batch_size] for start in range(0, len(slices), batch_size)]
    return [slices.batch(group, [acceleration] * len(group), [1000 * seed + i for i in group]) for group in groups]


def load_world(world: str, part: str, cache: Path, data: Path) -> Slices:
    """The slices of a part, `train`, `validation` or `test`; made once and kept in `cache`."""
    path = cache / f"{world}-{part}.safetensors"
    if not path.exists():
        slices = _simulated(part) if world == "simulated" else _brain_t2(part, data)
        with replacing(path) as temporary:
            save_file(vars(slices), temporary)
    return Slices(**load_file(path))


def _simulated(part: str) -> Slices:
    first = {"train": 0, "validation": 100_000, "test": 200_000}[part]
    scans = [
        simulate_slice("brain", (SIZE, SIZE), COILS, NOISE_STD, torch.Generator().manual_seed(first + index))
        for index in range(COUNTS[part])
    ]
    return _normalized(scans)


def _brain_t2(part: str, data: Path) -> Slices:
    name, rows = {
        "train": ("train", slice(0, 200)),
        "validation": ("train", slice(200, 240)),
        "test": ("val", slice(0, 20)),
    }[part]
    with h5py.File(data / f"brain_t2_{name}.h5") as file:
        stored = file["image"]
        pairs = torch.from_numpy(stored[rows].astype(np.float32)) * float(stored.attrs["scale"])
    first = {"train": 300_000, "validation": 400_000, "test": 500_000}[part]
    images = torch.view_as_complex(pairs.contiguous())
    return _normalized([_scanned(image, first + index) for index, image in enumerate(images)])


def _scanned(image: Tensor, seed: int) -> SimulatedSlice:
    """A scan of a known image (2 SIZE, 2 SIZE), as `simulate_slice` scans a phantom."""
    generator = torch.Generator().manual_seed(seed)
    maps = sensitivities(COILS, (image.shape[0], image.shape[1]), generator)
    margin = (image.shape[-1] - SIZE) // 2
    clean = fft2c(maps * image)[:, margin : margin + SIZE, margin : margin + SIZE] / (image.shape[-1] / SIZE)
    covariance = NOISE_STD**2 * noise_covariance(COILS, generator)
    return SimulatedSlice(clean + colored_noise((COILS, SIZE, SIZE), covariance, generator), clean, covariance)


def _normalized(scans: list[SimulatedSlice]) -> Slices:
    center = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    start = SIZE // 2 - CALIBRATION_LINES // 2
    center[:, start : start + CALIBRATION_LINES] = True
    parts: dict[str, list[Tensor]] = {"kspace": [], "sensitivities": [], "noise_level": [], "target": []}
    for scan in scans:
        problem = prepare(cartesian(scan.kspace[None] * center, center, noise_std=NOISE_STD))
        parts["kspace"].append(scan.kspace[None] / problem.scale)
        parts["sensitivities"].append(problem.encoding.sensitivities)
        parts["noise_level"].append(problem.noise_level)
        parts["target"].append((problem.encoding.sensitivities.conj() * scan.coil_images).sum(1) / problem.scale)
    return Slices(**{name: torch.cat(tensors).contiguous() for name, tensors in parts.items()})
