"""The tables of what the shipped model may be trusted with, from `results/*.json`."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.record import markdown, result
from benchmarks.rivals import GRIDS, OURS


def ghosts() -> str:
    """Of each acceleration the worst and the mean ghost, and the least brightness that is kept."""
    found = result("ghosts")["by acceleration"]
    methods = list(next(iter(found.values())))
    rows = [
        [
            acceleration,
            *(
                f"{row[m]['worst ghost']:.3f} / {row[m]['mean ghost']:.3f} / {row[m]['worst kept']:.3f}"
                for m in methods
            ),
        ]
        for acceleration, row in found.items()
    ]
    return markdown(["R", *(m.replace(OURS, "FLAT (shipped)") for m in methods)], rows)


def persons() -> str:
    """A row a validation person and R."""
    found = result("validation_persons")
    rows = []
    for row in found["rows"]:
        gain = row[f"{OURS} - best, object (dB)"]["mean"]
        scores = (f"{row[m]['object_psnr']:.2f} / {row[m]['ssim']:.3f}" for m in (*GRIDS, OURS))
        rows.append([row["person"], f"{row['R']:g}", *scores, f"{gain:+.2f}"])
    for acceleration, gain in found["mean over persons"].items():
        said = f"{gain['mean']:+.2f} [{gain['low']:+.2f}, {gain['high']:+.2f}]"
        rows.append(["mean over persons", acceleration, *[""] * (len(GRIDS) + 1), said])
    return markdown(["person", "R", *GRIDS, "FLAT (shipped)", "FLAT − best, dB"], rows)


TRUST_TABLES: dict[str, Callable[[], str]] = {"ghosts": ghosts, "persons": persons}
