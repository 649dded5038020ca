"""First do no harm: is the network anywhere worse than its own source, or than L1-wavelet, by more than 0.1 dB?

    python -m benchmarks.do_no_harm [--corpus FILE] [--model default] [--quick] [--accelerations R ...] [--out FILE]

PSNR inside the object, of every scan for itself, at R from 1.5 up, at some of them with coils, noise and contrast
changed one at a time; validation persons and phantoms, simulated (benchmarks/persons.py). L1-wavelet has its best
weight of a grid for each scan. **Exit code 1 if any scan is worse**; the worst stand first in the file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.persons import Condition, Subject, persons, phantoms, score
from benchmarks.record import write_record
from benchmarks.rivals import OURS, ScoreBook, Solve, options, over_grids, settled
from laminar.data.preparation import Problem
from laminar.flow import Trajectory
from laminar.methods import NetworkMethod
from laminar.models import UnrolledNetwork, load
from laminar.runtime import keep_freed_memory

ALLOWED = 0.1  # dB
ACCELERATIONS = (1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
VARIED = (1.5, 4.0, 8.0)
OTHERS: tuple[dict[str, Any], ...] = (
    {"coils": 4},
    {"coils": 16},
    {"noise_std": 0.002},
    {"noise_std": 0.04},
    {"contrast": 0.5},
    {"contrast": 2.0},
)
SOURCE, SPARSE = "source", "L1-wavelet"


def conditions(accelerations: Iterable[float], quick: bool) -> Iterator[Condition]:
    for acceleration in accelerations:
        yield Condition(acceleration)
        for other in OTHERS if acceleration in VARIED and not quick else ():
            yield replace(Condition(acceleration), **other)


def source_method(network: UnrolledNetwork) -> Solve:
    """The image that the network starts from."""

    def source(problem: Problem) -> Trajectory:
        image = network.source(network.measure(problem.y, problem.operator, problem.noise_level))
        return Trajectory([image], [], None, nfe=0)

    return source


def harms(
    subject: Subject, condition: Condition, methods: dict[str, Solve], book: ScoreBook
) -> Iterator[dict[str, Any]]:
    """One row a scan, with what the network is better by."""
    for index, scores in enumerate(score(subject, condition, methods, book)):
        row = settled([scores])
        quality = {name: row[name]["object_psnr"] for name in (SOURCE, SPARSE, OURS)}
        gain = quality[OURS] - max(quality[SOURCE], quality[SPARSE])
        yield {"subject": subject.name, "slice": index, **vars(condition), **quality, "gain": gain}


def main() -> int:
    parser = options(__doc__, "do_no_harm")
    parser.add_argument("--accelerations", nargs="+", type=float, metavar="R", help="default: all of them")
    args = parser.parse_args()
    keep_freed_memory()
    book = ScoreBook(args.scores)
    network = load(args.model)
    assert isinstance(network, UnrolledNetwork)
    methods: dict[str, Solve] = {
        **over_grids(SPARSE, quick=args.quick),
        SOURCE: source_method(network),
        OURS: NetworkMethod(network),
    }
    subjects = [*persons(args.corpus, 1, 1 if args.quick else None), *phantoms(1 if args.quick else 4)]
    tried = args.accelerations or (ACCELERATIONS[::3] if args.quick else ACCELERATIONS)
    rows = [
        row for c in conditions(tried, args.quick) for subject in subjects for row in harms(subject, c, methods, book)
    ]
    rows.sort(key=lambda row: row["gain"])
    worse = [row for row in rows if row["gain"] < -ALLOWED]
    table = Table("subject", "condition", SOURCE, SPARSE, OURS, "gain", title="The worst: PSNR in the object (dB)")
    for row in rows[:12]:
        condition = Condition(**{key: row[key] for key in vars(Condition())})
        cells = [f"{row[name]:.2f}" for name in (SOURCE, SPARSE, OURS)]
        table.add_row(row["subject"], f"R {condition.acceleration:g}, {condition.name}", *cells, f"{row['gain']:+.2f}")
    Console(width=140).print(table)
    print(
        write_record(
            "do_no_harm",
            {
                "allowed_db": ALLOWED,
                "accelerations": list(tried),
                "scans": len(rows),
                "worse": len(worse),
                "rows": rows,
            },
            args.out,
        )
    )
    if worse:
        print(f"HARM: {len(worse)} of {len(rows)} scans are worse by more than {ALLOWED} dB", file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
