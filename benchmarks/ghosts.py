"""Bright small structures, as a sinus, fat, a vessel or a lesion: do they leave ghosts, do they stay bright?

    python -m benchmarks.ghosts [--corpus FILE] [--model default] [--quick] [--figures DIR] [--out FILE]

A disc twice as bright as anything else is put into an object (validation persons and phantoms, simulated scans:
benchmarks/persons.py), which is scanned with and without it, with the same coils, noise and mask: every R-th line, so
that its ghosts stand at the fold distances m N / R, m = 1 .. R - 1. With d the difference of the two images of a method
and s that of the truth, both problems with the maps of the first:

    ghost   max |d| over discs at the fold distances, over max |s|: how bright the brightest ghost is, 0 is none
    energy  sum |d - s|^2 over these discs, over sum |s|^2
    kept    Re <s, d> / <s, s> over the disc itself: 1 is all of the brightness

CG-SENSE and L1-wavelet have the weight of a grid that is best for the scan inside the object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.persons import Condition, Subject, matrix_of, persons, phantoms, scan_of, seed_of_text, undersampled
from benchmarks.record import write_record
from benchmarks.rivals import OURS, ScoreBook, Scores, Solve, best_names, options, over_grids, scored, solved
from laminar.data.cases import image_of
from laminar.data.preparation import Problem, prepare
from laminar.figures import comparison_figure
from laminar.methods import open_method
from laminar.runtime import keep_freed_memory

ACCELERATIONS = (2, 3, 4, 5, 6, 8)
BRIGHTNESS, RADIUS = 2.0, 2.5  # over the object's maximum; in pixels of the scan
RIVALS = ("CG-SENSE", "L1-wavelet")
METHODS = (*RIVALS, OURS)
MARGIN = 1.5  # of a disc that is looked at over the one that was put there


Family = Mapping[str, Solve]
"""A method at every weight of its grid."""


@dataclass(frozen=True, eq=False)
class Case:
    """An object (y, x) that gets a disc at a `place` of its grid, and is scanned at every R-th line."""

    subject: str
    index: int
    thing: Tensor
    place: tuple[int, int]
    acceleration: int

    @property
    def seed(self) -> int:
        return seed_of_text(f"{self.subject} {self.index} {self.acceleration}")

    @property
    def center(self) -> tuple[float, float]:
        """The place in pixels of the scan."""
        sizes = zip(self.place, matrix_of(self.thing), self.thing.shape, strict=True)
        y, x = (n // 2 + (p - m // 2) * n / m for p, n, m in sizes)
        return y, x

    @property
    def where(self) -> dict[str, Any]:
        """What a table says of it."""
        place = [round(c, 1) for c in self.center]
        return {"subject": self.subject, "slice": self.index, "R": self.acceleration, "place": place}


@dataclass(frozen=True, eq=False)
class Experiment:
    """The problems with and without the disc, both with the maps of the first, and their true images (1, y, x)."""

    problem: Problem
    bare: Problem
    truth: Tensor
    bare_truth: Tensor


def disc(shape: tuple[int, ...], center: tuple[float, float], radius: float, acceleration: int = 0) -> Tensor:
    """A soft disc (y, x) in [0, 1]; with an `acceleration` its folds along x instead, which wrap."""
    height, width = shape[-2:]
    soft = torch.zeros(height, width)
    for fold in range(1, acceleration) if acceleration else [0]:
        x = torch.arange(width) - center[1] - (fold * width / acceleration if fold else 0)
        x = (x + width / 2) % width - width / 2
        y = torch.arange(height)[:, None] - center[0]
        soft = torch.maximum(soft, (radius + 0.5 - torch.hypot(y, x[None])).clamp(0, 1))
    return soft


def places(thing: Tensor, count: int, seed: int) -> list[tuple[int, int]]:
    """Points of an object, away from its dark parts, drawn at random."""
    magnitude = thing.abs()
    inside = (magnitude > 0.25 * magnitude.max()).nonzero()
    chosen = torch.randint(len(inside), (count,), generator=torch.Generator().manual_seed(seed))
    return [(int(y), int(x)) for y, x in inside[chosen].tolist()]


def experiment(case: Case) -> Experiment:
    thing, condition = case.thing, Condition(float(case.acceleration))
    bright = BRIGHTNESS * thing.abs().max() * torch.exp(1j * thing[case.place].angle())
    fine = RADIUS * thing.shape[-1] / matrix_of(thing)[1]
    spot = bright * disc(thing.shape, case.place, fine)
    with_it, without_it = (scan_of(thing + amount * spot, condition, case.seed) for amount in (1, 0))
    scan = undersampled(with_it, condition, case.seed, "equispaced")
    problem = prepare(replace(scan, noise_std=condition.noise_std))
    bare = replace(problem, y=without_it.kspace * problem.encoding.mask[:, None] / problem.scale)
    return Experiment(problem, bare, *(image_of(one.clean[None], problem) for one in (with_it, without_it)))


def best_image(family: Family, made: Experiment) -> tuple[str, Tensor]:
    """The member of a family that is best inside the object with the disc, and its complex image (1, y, x)."""
    found = solved(made.problem, family)
    scores = scored({name: image.abs() for name, image in found.items()}, made.truth.abs())
    [best] = best_names(scores, "object_psnr").values()
    return best, found[best]


def measures(case: Case, families: Mapping[str, Family]) -> dict[str, dict[str, float]]:
    """What each family makes of the disc."""
    made, found = experiment(case), {}
    s = made.truth - made.bare_truth
    for name, family in families.items():
        best, image = best_image(family, made)
        d = image - solved(made.bare, {best: family[best]})[best]
        found[name] = measured(d[0], s[0], case.center, case.acceleration)
    return found


def measured(d: Tensor, s: Tensor, center: tuple[float, float], acceleration: int) -> dict[str, float]:
    """The three measures of a difference of images (y, x) against the true one."""
    own = disc(d.shape, center, MARGIN * RADIUS) > 0.5
    folds = (disc(d.shape, center, MARGIN * RADIUS, acceleration) > 0.5) & ~own
    energy = s.abs().square().sum()
    return {
        "ghost": float(d.abs()[folds].max() / s.abs().max()),
        "energy": float((d - s)[folds].abs().square().sum() / energy),
        "kept": float((s.conj() * d)[own].real.sum() / s[own].abs().square().sum()),
    }


def cases(subjects: list[Subject], accelerations: tuple[int, ...], count: int) -> Iterator[Case]:
    for subject in subjects:
        for index, thing in enumerate(subject.objects):
            for acceleration in accelerations:
                somewhere = Case(subject.name, index, thing, (0, 0), acceleration)
                for place in places(thing, count, somewhere.seed):
                    yield replace(somewhere, place=place)


def measured_once(case: Case, families: Mapping[str, Family], book: ScoreBook) -> dict[str, dict[str, float]]:
    """As `measures`, of what does not stand in the book."""
    sizes = ", ".join(str(len(family)) for family in families.values())
    place = f"{case.subject} {case.index} R {case.acceleration} at {case.place} best of {sizes}"
    known = {name: next(iter(family.values())) for name, family in families.items()}

    def compute(missing: Mapping[str, Solve]) -> dict[str, Scores]:
        return {"disc": measures(case, {name: families[name] for name in missing})}

    return book.scores(place, known, compute)["disc"]


def picture(case: Case, families: Mapping[str, Family], path: Path) -> None:
    made = experiment(case)
    images = {name: best_image(family, made)[1].abs() for name, family in families.items()}
    title = ", ".join(f"{key} {value}" for key, value in case.where.items())
    comparison_figure(images, made.truth.abs(), {}, path, title)


def summary(found: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Of each method the worst and the mean ghost and energy, the least and the mean brightness that is kept."""
    entry: dict[str, dict[str, float]] = {}
    for name in METHODS:
        values = {key: [one[name][key] for one in found] for key in ("ghost", "energy", "kept")}
        worst = {f"worst {key}": (min if key == "kept" else max)(v) for key, v in values.items()}
        entry[name] = worst | {f"mean {key}": sum(v) / len(v) for key, v in values.items()}
    return entry


def main() -> None:
    parser = options(__doc__, "ghosts")
    parser.add_argument("--figures", type=Path, help="folder for pictures of the worst")
    args = parser.parse_args()
    keep_freed_memory()
    subjects = [*persons(args.corpus, 1, 1 if args.quick else None), *phantoms(1 if args.quick else 3)]
    families: dict[str, Family] = {name: over_grids(name, quick=args.quick) for name in RIVALS}
    families[OURS] = {OURS: open_method(model=args.model)}
    accelerations = ACCELERATIONS[2:3] if args.quick else ACCELERATIONS
    book = ScoreBook(args.scores)
    tried = cases(subjects, accelerations, 1 if args.quick else 3)
    found = [(case, measured_once(case, families, book)) for case in tried]
    found.sort(key=lambda one: -one[1][OURS]["ghost"])
    by_acceleration = {str(r): summary([m for case, m in found if case.acceleration == r]) for r in accelerations}
    table = Table("R", *(f"{name}: ghost, kept" for name in METHODS), title="Worst ghost and least brightness")
    for acceleration, row in by_acceleration.items():
        table.add_row(acceleration, *(f"{row[n]['worst ghost']:.3f}, {row[n]['worst kept']:.3f}" for n in METHODS))
    Console(width=120).print(table)
    if args.figures:
        darkest = min(found, key=lambda one: one[1][OURS]["kept"])
        for name, (case, _) in [(f"ghost-{i}", one) for i, one in enumerate(found[:3])] + [("darkest", darkest)]:
            picture(case, families, args.figures / f"{name}.png")
    rows = [case.where | of_methods for case, of_methods in found]
    print(write_record("ghosts", {"by acceleration": by_acceleration, "worst first": rows}, args.out))


if __name__ == "__main__":
    main()
