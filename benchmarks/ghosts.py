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

from benchmarks.persons import Condition, Subject, persons, phantoms, scan_of, seed_of_text, undersampled
from benchmarks.record import write_record
from benchmarks.rivals import OURS, Scores, Solve, best_names, family, options, over_grids, scored, solved
from laminar.data.cases import image_of
from laminar.data.preparation import prepare
from laminar.figures import comparison_figure
from laminar.methods import open_method
from laminar.runtime import keep_freed_memory

ACCELERATIONS = (2, 3, 4, 5, 6, 8)
BRIGHTNESS, RADIUS = 2.0, 2.5  # over the object's maximum; in pixels of the scan
RIVALS = ("CG-SENSE", "L1-wavelet")
METHODS = (*RIVALS, OURS)
MARGIN = 1.5  # of a disc that is looked at over the one that was put there


@dataclass(frozen=True, eq=False)
class Case:
    """What one structure did: `measures` of each method, and for a picture its images and the true one (1, y, x)."""

    where: dict[str, Any]
    measures: dict[str, dict[str, float]]
    images: dict[str, Tensor]
    truth: Tensor


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


def one_case(thing: Tensor, place: tuple[int, int], acceleration: int, seed: int, methods: Mapping[str, Solve]) -> Case:
    """Scan an object with and without a disc at a `place` of its grid, and measure what each method makes of it."""
    condition = Condition(float(acceleration))
    bright = BRIGHTNESS * thing.abs().max() * torch.exp(1j * thing[place].angle())
    fine = RADIUS * thing.shape[-1] / scan_of(thing, condition, seed).matrix[1]
    shape = (thing.shape[0], thing.shape[1])
    with_it, without_it = (
        scan_of(thing + amount * bright * disc(shape, place, fine), condition, seed) for amount in (1, 0)
    )
    scan = undersampled(with_it, condition, seed, "equispaced")
    problem = prepare(replace(scan, noise_std=condition.noise_std))
    bare = replace(problem, y=without_it.kspace * problem.encoding.mask[:, None] / problem.scale)
    truths = [image_of(one.clean[None], problem) for one in (with_it, without_it)]
    found = solved(problem, methods)
    named = _best(scored({name: image.abs() for name, image in found.items()}, truths[0].abs()))
    differences = {name: found[one] - solved(bare, {one: methods[one]})[one] for name, one in named.items()}
    s = truths[0] - truths[1]
    center = tuple((n // 2 + (p - m // 2) * n / m) for p, n, m in zip(place, with_it.matrix, thing.shape, strict=True))
    measures = {name: measured(d[0], s[0], (center[0], center[1]), acceleration) for name, d in differences.items()}
    images = {name: found[one].abs() for name, one in named.items()}
    return Case({"R": acceleration, "place": [round(c, 1) for c in center]}, measures, images, truths[0].abs())


def _best(scores: Scores) -> dict[str, str]:
    return {family(one): one for one in best_names(scores, "object_psnr").values()}


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


def cases(
    subjects: list[Subject], accelerations: tuple[int, ...], count: int, methods: Mapping[str, Solve]
) -> Iterator[Case]:
    for subject in subjects:
        for index, thing in enumerate(subject.objects):
            for acceleration in accelerations:
                seed = seed_of_text(f"{subject.name} {index} {acceleration}")
                for place in places(thing, count, seed):
                    case = one_case(thing, place, acceleration, seed, methods)
                    yield replace(case, where={"subject": subject.name, "slice": index, **case.where})


def summary(found: list[Case]) -> dict[str, dict[str, float]]:
    """Of each method the worst and the mean ghost and energy, the least and the mean brightness that is kept."""
    entry: dict[str, dict[str, float]] = {}
    for name in METHODS:
        values = {key: [case.measures[name][key] for case in found] for key in ("ghost", "energy", "kept")}
        worst = {f"worst {key}": (min if key == "kept" else max)(v) for key, v in values.items()}
        entry[name] = worst | {f"mean {key}": sum(v) / len(v) for key, v in values.items()}
    return entry


def main() -> None:
    parser = options(__doc__, "ghosts")
    parser.add_argument("--figures", type=Path, help="folder for pictures of the worst")
    args = parser.parse_args()
    keep_freed_memory()
    subjects = [*persons(args.corpus, 1, 1 if args.quick else None), *phantoms(1 if args.quick else 3)]
    methods: dict[str, Solve] = {**over_grids(*RIVALS, quick=args.quick), OURS: open_method(model=args.model)}
    accelerations = ACCELERATIONS[2:3] if args.quick else ACCELERATIONS
    found = list(cases(subjects, accelerations, 1 if args.quick else 3, methods))
    found.sort(key=lambda case: -case.measures[OURS]["ghost"])
    by_acceleration = {str(r): summary([c for c in found if c.where["R"] == r]) for r in accelerations}
    table = Table("R", *(f"{name}: ghost, kept" for name in METHODS), title="Worst ghost and least brightness")
    for acceleration, row in by_acceleration.items():
        table.add_row(acceleration, *(f"{row[n]['worst ghost']:.3f}, {row[n]['worst kept']:.3f}" for n in METHODS))
    Console(width=120).print(table)
    darkest = min(found, key=lambda case: case.measures[OURS]["kept"])
    for name, case in [(f"ghost-{i}", case) for i, case in enumerate(found[:3])] + [("darkest", darkest)]:
        if args.figures:
            title = ", ".join(f"{key} {value}" for key, value in case.where.items())
            comparison_figure(case.images, case.truth, {}, args.figures / f"{name}.png", title)
    rows = [case.where | case.measures for case in found]
    print(write_record("ghosts", {"by acceleration": by_acceleration, "worst first": rows}, args.out))


if __name__ == "__main__":
    main()
