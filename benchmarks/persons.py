"""Simulated scans of validation persons and of phantoms, under a condition that a benchmark varies.

An object is an image of the corpus, as it is, with a random structured phase; or a phantom. It is scanned by simulated
coils with 0.75 of its k-space along each axis, so that coil images have Gibbs ringing and partial volume; the
reference is the root-sum-of-squares image without noise. All of it is **simulated**: magnitude images have no coils.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import h5py
import torch
from torch import Tensor

from benchmarks.rivals import ScoreBook, Scores, Solve, images, scored
from laminar.data.images import find_images
from laminar.data.masks import make_mask
from laminar.data.simulation.fields import Canvas
from laminar.data.simulation.phantoms import phantom, random_phase
from laminar.data.simulation.scan import SimulatedSlice, scan_object
from laminar.scan import Scan

KEPT = 0.75  # of the object's k-space along each axis
MASK = "equispaced-fraction"


@dataclass(frozen=True)
class Condition:
    """How an object is scanned; `contrast` is an exponent of its magnitude."""

    acceleration: float = 4.0
    coils: int = 8
    noise_std: float = 0.01
    contrast: float = 1.0
    calibration_lines: int = 14

    @property
    def name(self) -> str:
        """What is not as usual."""
        changed = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return ", ".join(f"{key} {value:g}" for key, value in changed.items()) or "as usual"


@dataclass(frozen=True, eq=False)
class Subject:
    """A person or phantom: complex objects (y, x) on grids finer than the scan."""

    name: str
    objects: list[Tensor]


def options(description: str | None) -> argparse.ArgumentParser:
    """The options of a benchmark of these scans alone."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("../shared/data/corpus/validation.h5"))
    parser.add_argument("--out", type=Path)
    return parser


def persons(corpus: Path, slices: int, most: int | None = None) -> list[Subject]:
    """The persons of a corpus file, each with about so many slices of all its volumes, evenly spaced."""
    with h5py.File(corpus) as file:
        owner = {group: str(file[group].attrs["person"]) for group in file}
    volumes: dict[str, list[str]] = {}
    for group, person in owner.items():
        volumes.setdefault(person, []).append(group)
    stacks = {stack.name.split(":")[1].split("/")[0]: stack for stack in find_images([corpus])}
    found = []
    for person, groups in list(volumes.items())[:most]:
        places = [(group, index) for group in groups for index in range(stacks[group].count)]
        chosen = places[len(places) // (2 * slices) :: max(1, len(places) // slices)][:slices]
        found.append(Subject(person, [with_phase(stacks[group].image(i), f"{group} {i}") for group, i in chosen]))
    return found


def phantoms(count: int, size: int = 256) -> list[Subject]:
    """Phantoms of seeds that no training uses."""
    made = [(kind, torch.Generator().manual_seed(2**40 + i)) for i, kind in zip(range(count), _kinds(), strict=False)]
    return [Subject(f"phantom {kind} {i}", [phantom(kind, (size, size), g)]) for i, (kind, g) in enumerate(made)]


def _kinds() -> Iterator[str]:
    while True:
        yield from ("brain", "knee", "cardiac", "abstract")


def seed_of_text(name: str) -> int:
    return zlib.crc32(name.encode())


def with_phase(image: Tensor, name: str) -> Tensor:
    """A magnitude (y, x) with a random structured phase, which the name seeds."""
    canvas = Canvas((image.shape[0], image.shape[1]), torch.Generator().manual_seed(seed_of_text(name)))
    return torch.polar(image, random_phase(canvas, image))


def matrix_of(thing: Tensor) -> tuple[int, int]:
    """The matrix of the scan of an object (y, x)."""
    return 2 * round(KEPT * thing.shape[0] / 2), 2 * round(KEPT * thing.shape[1] / 2)


def scan_of(thing: Tensor, condition: Condition, seed: int) -> SimulatedSlice:
    """The fully sampled scan of an object; coils and noise are those of the seed."""
    generator = torch.Generator().manual_seed(seed)
    magnitude = thing.abs()
    changed = thing if condition.contrast == 1 else torch.polar(magnitude**condition.contrast, thing.angle())
    return scan_object(changed, matrix_of(thing), condition.coils, condition.noise_std, generator)


def undersampled(scan: SimulatedSlice, condition: Condition, seed: int, kind: str = MASK) -> Scan:
    """The scan with a mask of the condition along x."""
    lines, acceleration = condition.calibration_lines, condition.acceleration
    return scan.scan.undersample(make_mask(kind, scan.matrix, acceleration, lines, seed % 2**32))


def score(subject: Subject, condition: Condition, methods: Mapping[str, Solve], book: ScoreBook) -> list[Scores]:
    """The metrics of all methods on each object of a subject."""
    found = []
    for index, thing in enumerate(subject.objects):
        seed = seed_of_text(f"{subject.name} {index} {condition.coils}")

        def compute(some: Mapping[str, Solve], thing: Tensor = thing, seed: int = seed) -> dict[str, Scores]:
            scan = scan_of(thing, condition, seed)
            return {"clean": scored(images(undersampled(scan, condition, seed), some), scan.target)}

        # Subjects keep their names when there are more slices of them, and not their slices.
        place = f"{subject.name} {index} of {len(subject.objects)} R {condition.acceleration:g} {condition.name}"
        found.append(book.scores(place, methods, compute)["clean"])
    return found
