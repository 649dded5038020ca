"""The shipped model outside of the middle of its training: noise, coils, R, calibration lines.

    python -m benchmarks.robustness [--corpus FILE] [--model default] [--quick] [--out FILE]

Validation persons with simulated coils (benchmarks/persons.py); each row changes one thing from R = 4, 8 coils, noise
0.01, 14 calibration lines. Each is dB inside the object against the best of CG-SENSE, L1-wavelet and total variation at
its best weight of a grid for that row (benchmarks/rivals.py).
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from benchmarks.persons import Condition, persons, score
from benchmarks.record import write_record
from benchmarks.rivals import GRIDS, OURS, ScoreBook, Solve, options, over_grids, settled
from laminar.methods import open_method
from laminar.runtime import keep_freed_memory

CONDITIONS = [
    Condition(),
    *(Condition(noise_std=0.01 * factor) for factor in (0.1, 0.3, 3.0, 10.0)),
    *(Condition(coils=coils) for coils in (1, 2, 4, 32)),
    Condition(acceleration=2.0),
    Condition(acceleration=12.0, calibration_lines=8),
    Condition(calibration_lines=8),
]


def main() -> None:
    args = options(__doc__, "robustness").parse_args()
    keep_freed_memory()
    book = ScoreBook(args.scores)
    subjects = persons(args.corpus, *(1, 1 if args.quick else None))
    methods: dict[str, Solve] = {**over_grids(quick=args.quick), OURS: open_method(model=args.model)}
    rows = []
    for condition in CONDITIONS[::5] if args.quick else CONDITIONS:
        found = settled([one for subject in subjects for one in score(subject, condition, methods, book)])
        rows.append({"condition": condition.name, **vars(condition), **found})
    table = Table("condition", *GRIDS, OURS, f"{OURS} - best [95 %]", title="PSNR in the object (dB)")
    for row in rows:
        gain = row[f"{OURS} - best, object (dB)"]
        cells = [f"{row[name]['object_psnr']:.2f}" for name in (*GRIDS, OURS)]
        table.add_row(row["condition"], *cells, f"{gain['mean']:+.2f} [{gain['low']:+.2f}, {gain['high']:+.2f}]")
    Console(width=140).print(table)
    print(write_record("robustness", {"persons": [s.name for s in subjects], "rows": rows}, args.out))


if __name__ == "__main__":
    main()
