"""The tables of what the shipped model may be trusted with, from `results/*.json`."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.record import gain, markdown, result
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
        ahead = row[f"{OURS} - best, object (dB)"]["mean"]
        scores = (f"{row[m]['object_psnr']:.2f} / {row[m]['ssim']:.3f}" for m in (*GRIDS, OURS))
        rows.append([row["person"], f"{row['R']:g}", *scores, f"{ahead:+.2f}"])
    for acceleration, mean in found["mean over persons"].items():
        rows.append(["mean over persons", acceleration, *[""] * (len(GRIDS) + 1), gain(mean)])
    return markdown(["person", "R", *GRIDS, "FLAT (shipped)", "FLAT − best, dB"], rows)


def robustness() -> str:
    """A row a condition, with the best of the classical methods in it."""
    rows = []
    for row in result("robustness")["rows"]:
        scores = (f"{row[m]['object_psnr']:.2f} / {row[m]['ssim']:.3f}" for m in (*GRIDS, OURS))
        ahead = gain(row[f"{OURS} - best, object (dB)"])
        rows.append([row["condition"].replace("_", " "), *scores, ahead])
    return markdown(["what is not as usual", *GRIDS, "FLAT (shipped)", "FLAT − best, dB [95 %]"], rows)


def adaptation() -> str:
    """A row a measured scan: before and after `laminar adapt`."""
    rows = []
    for scan, row in result("adaptation")["results"].items():
        before, after, held = row["scores"]["before"], row["scores"]["after"], row["held out (dB)"]
        pairs = [(held["before"], held["after"], ".2f")]
        pairs += [(before[m], after[m], form) for m, form in (("object_psnr", ".2f"), ("ssim", ".4f"))]
        changes = [f"{a:{form}} → {b:{form}}" for a, b, form in pairs]
        rows.append([scan, *changes, f"{row['step']} of {row['steps']}", f"{row['minutes']:.1f}", row["stopped"]])
    return markdown(
        ["scan", "held-out samples (dB)", "object (dB)", "SSIM", "best step", "minutes", "what ended it"], rows
    )


TRUST_TABLES: dict[str, Callable[[], str]] = {
    "ghosts": ghosts,
    "persons": persons,
    "robustness": robustness,
    "adaptation": adaptation,
}
