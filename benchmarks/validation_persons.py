"""The shipped model on validation persons with simulated coils: one row a person and R, never one a slice.

    python -m benchmarks.validation_persons [--corpus FILE] [--model default] [--weights RECORD] [--quick]
                                            [--out FILE]

Against CG-SENSE, L1-wavelet and total variation, each at its best weight of a grid for that row and metric
(benchmarks/rivals.py); what is scanned and how: benchmarks/persons.py. For another network, `--weights` takes those
weights from an earlier record instead of trying the whole grids again.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.persons import Condition, persons, score
from benchmarks.record import mean_interval, write_record
from benchmarks.rivals import GRIDS, OURS, ScoreBook, Solve, at_best_weights, earlier, options, over_grids, settled
from laminar.methods import open_method
from laminar.runtime import keep_freed_memory

ACCELERATIONS = (4.0, 6.0, 8.0)
SLICES = 3


def main() -> None:
    args = options(__doc__, "validation_persons", weights=True).parse_args()
    keep_freed_memory()
    book = ScoreBook(args.scores)
    subjects = persons(args.corpus, *((1, 2) if args.quick else (SLICES, None)))
    methods: dict[str, Solve] = {**over_grids(quick=args.quick), OURS: open_method(model=args.model)}
    known = earlier(args.weights)["rows"] if args.weights else None
    rows: list[dict[str, Any]] = []
    for acceleration in ACCELERATIONS[:1] if args.quick else ACCELERATIONS:
        for subject in subjects:
            some = at_best_weights(known, methods, person=subject.name, R=acceleration)
            found = settled(score(subject, Condition(acceleration), some, book))
            rows.append({"person": subject.name, "R": acceleration, "slices": len(subject.objects), **found})
    gains = {f"{r:g}": _over_persons(rows, r) for r in sorted({row["R"] for row in rows})}
    Console(width=140).print(_table(rows))
    print(write_record("validation_persons", {"rows": rows, "mean over persons": gains}, args.out))


def _over_persons(rows: list[dict[str, Any]], acceleration: float) -> dict[str, float]:
    """FLAT against the best classical method inside the object: mean over persons with its interval."""
    values = [row[f"{OURS} - best, object (dB)"]["mean"] for row in rows if row["R"] == acceleration]
    return dict(zip(("mean", "low", "high"), mean_interval(values), strict=True))


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("person", "R", *GRIDS, OURS, f"{OURS} - best", title="PSNR in the object (dB) / SSIM")
    for row in rows:
        cells = [f"{row[name]['object_psnr']:.2f} / {row[name]['ssim']:.3f}" for name in (*GRIDS, OURS)]
        table.add_row(row["person"], f"{row['R']:g}", *cells, f"{row[f'{OURS} - best, object (dB)']['mean']:+.2f}")
    return table


if __name__ == "__main__":
    main()
