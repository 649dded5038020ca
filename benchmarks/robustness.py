"""The shipped model outside of the middle of its training: noise, coils, R, calibration lines.

    python -m benchmarks.robustness [--corpus FILE] [--data DIR] [--low-field FILE] [--model default]
                                    [--weights RECORD] [--quick] [--out FILE]

Validation persons with simulated coils (benchmarks/persons.py); each row changes one thing from R = 4, 8 coils, noise
0.01, 14 calibration lines. Then what no training saw, where its files are there: a liver (complex images) and the heart
of a rat (frames of a cine) under the same simulated coils, and **measured** k-space of brains at 0.055 T, one channel,
R = 2, against all of its samples with their noise. Each is dB inside the object against the best of CG-SENSE,
L1-wavelet and total variation at its best weight of a grid for that row (benchmarks/rivals.py). For another network,
`--weights` takes those weights from an earlier record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import torch
from rich.console import Console
from rich.table import Table
from scipy.io import loadmat
from torch import Tensor

from benchmarks.persons import MASK, Condition, Subject, persons, score, with_phase
from benchmarks.record import gain, write_record
from benchmarks.rivals import (
    GRIDS,
    OURS,
    ScoreBook,
    Scores,
    Solve,
    at_best_weights,
    earlier,
    images,
    options,
    over_grids,
    scored,
    settled,
)
from laminar.data.masks import make_mask
from laminar.methods import open_method
from laminar.reconstruction import reference_image
from laminar.runtime import keep_freed_memory
from laminar.scan import Scan, cartesian

CONDITIONS = [
    Condition(),
    *(Condition(noise_std=0.01 * factor) for factor in (0.1, 0.3, 3.0, 10.0)),
    *(Condition(coils=coils) for coils in (1, 2, 4, 32)),
    Condition(acceleration=2.0),
    Condition(acceleration=12.0, calibration_lines=8),
    Condition(calibration_lines=8),
]


LOW_FIELD_SCANS = ("fse_6a", "gre_6a", "flair_6a", "fse_4b_sagittal")
LOW_FIELD = Condition(acceleration=2.0, coils=1)


def foreign_subjects(data: Path) -> Iterator[Subject]:
    """A liver at its first, sixth and last echo, and the heart of a rat in two phases."""
    liver, rat = data / "liver_12echo.mat", data / "rat_cine.mat"
    if liver.exists():
        echoes = torch.from_numpy(loadmat(liver)["data"]).to(torch.complex64)
        yield Subject("liver", [_normalized(echoes[..., i]) for i in (0, 5, 11)])
    if rat.exists():
        frames = torch.from_numpy(loadmat(rat)["image0"]).float()
        yield Subject("rat heart", [with_phase(_normalized(frames[..., i]), f"rat {i}") for i in (0, 4)])


def _normalized(image: Tensor) -> Tensor:
    return image / image.abs().max()


def low_field(path: Path, methods: Mapping[str, Solve], book: ScoreBook) -> list[Scores]:
    """Scores of the middle slice of a few scans at 0.055 T."""
    found = []
    with h5py.File(path) as file:
        slices = {name: torch.from_numpy(file[name][len(file[name]) // 2]) for name in LOW_FIELD_SCANS}
    for name, kspace in slices.items():
        full = cartesian(kspace[None, None], torch.ones(kspace.shape, dtype=torch.bool), name=name)
        lines = LOW_FIELD.calibration_lines
        mask = make_mask(MASK, full.matrix, LOW_FIELD.acceleration, lines, 0, full.grid.phase_axis)

        def compute(some: Mapping[str, Solve], full: Scan = full, mask: Tensor = mask) -> dict[str, Scores]:
            return {"measured": scored(images(full.undersample(mask), some), reference_image(full))}

        found.append(book.scores(f"{name} R {LOW_FIELD.acceleration:g}", methods, compute)["measured"])
    return found


def main() -> None:
    parser = options(__doc__, "robustness", weights=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/raw"))
    parser.add_argument("--low-field", type=Path, default=Path("../shared/data/corpus/ulf_kspace.h5"))
    args = parser.parse_args()
    keep_freed_memory()
    book = ScoreBook(args.scores)
    subjects = persons(args.corpus, *(1, 1 if args.quick else None))
    methods: dict[str, Solve] = {**over_grids(quick=args.quick), OURS: open_method(model=args.model)}
    known = earlier(args.weights)["rows"] if args.weights else None
    rows: list[dict[str, Any]] = []
    for condition in CONDITIONS[::5] if args.quick else CONDITIONS:
        some = at_best_weights(known, methods, condition=condition.name)
        found = settled([one for subject in subjects for one in score(subject, condition, some, book)])
        rows.append({"condition": condition.name, **vars(condition), **found})
    for subject in foreign_subjects(args.data):
        name = f"{subject.name}, simulated coils"
        found = settled(score(subject, Condition(), at_best_weights(known, methods, condition=name), book))
        rows.append({"condition": name, **vars(Condition()), **found})
    if args.low_field.exists():
        name = "0.055 T, measured, R 2, one channel"
        found = settled(low_field(args.low_field, at_best_weights(known, methods, condition=name), book))
        rows.append({"condition": name, **vars(LOW_FIELD), **found})
    table = Table("condition", *GRIDS, OURS, f"{OURS} - best [95 %]", title="PSNR in the object (dB)")
    for row in rows:
        cells = [f"{row[name]['object_psnr']:.2f}" for name in (*GRIDS, OURS)]
        table.add_row(row["condition"], *cells, gain(row[f"{OURS} - best, object (dB)"]))
    Console(width=140).print(table)
    print(write_record("robustness", {"persons": [s.name for s in subjects], "rows": rows}, args.out))


if __name__ == "__main__":
    main()
