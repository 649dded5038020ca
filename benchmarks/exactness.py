"""The noise that the data of a scan show, and solves that follow it, against the measured level and one tolerance.

    python -m benchmarks.exactness [--corpus FILE] [--out FILE]

PSNR inside the object on simulated scans of validation persons and phantoms, of little noise and of an ordinary one:
`default` as it is (`model.scan_noise`), and told the measured level, with a tolerance of 1e-3 and 12 iterations, which
is what it was trained with.
"""

from __future__ import annotations

from typing import Any

from benchmarks.persons import Condition, options, persons, phantoms, score
from benchmarks.record import markdown, write_record
from benchmarks.rivals import ScoreBook
from laminar.methods import NetworkMethod
from laminar.models import UnrolledNetwork, load
from laminar.runtime import keep_freed_memory

NOISES = (0.0005, 0.001, 0.002, 0.005, 0.01)
ACCELERATIONS = (2.0, 4.0, 8.0)
HEADER = ("noise", "R", "persons", "least", "most", "phantoms", "least", "most")


def gains(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Mean, least and most of what following gains (dB), of persons and of phantoms."""
    found = {}
    for kind in ("persons", "phantoms"):
        values = [row["following"] - row["fixed"] for row in rows if row["kind"] == kind]
        found[kind] = sum(values) / len(values)
        found |= {f"{kind}, least": min(values), f"{kind}, most": max(values)}
    return found


def lines(summary: list[dict[str, float]]) -> list[list[str]]:
    """The rows of its table."""
    told = ("persons", "persons, least", "persons, most", "phantoms", "phantoms, least", "phantoms, most")
    return [[f"{row['noise_std']:g}", f"{row['R']:g}", *(f"{row[name]:+.2f}" for name in told)] for row in summary]


def main() -> None:
    args = options(__doc__).parse_args()
    keep_freed_memory()
    following, fixed = load("default"), load("default")
    assert isinstance(fixed, UnrolledNetwork)
    fixed.config = fixed.config.changed(scan_noise=False)
    methods = {"following": NetworkMethod(following), "fixed": NetworkMethod(fixed)}
    of_kinds = {"persons": persons(args.corpus, 1), "phantoms": phantoms(4)}
    subjects = [(kind, subject) for kind, some in of_kinds.items() for subject in some]
    rows: list[dict[str, Any]] = []
    for noise in NOISES:
        for rate in ACCELERATIONS:
            for kind, subject in subjects:
                [found] = score(subject, Condition(rate, noise_std=noise), methods, ScoreBook(None))
                quality = {name: found[name]["object_psnr"] for name in methods}
                rows.append({"noise_std": noise, "R": rate, "kind": kind, "subject": subject.name, **quality})
    summary = [
        {"noise_std": noise, "R": rate, **gains([r for r in rows if (r["noise_std"], r["R"]) == (noise, rate)])}
        for noise in NOISES
        for rate in ACCELERATIONS
    ]
    print(markdown(HEADER, lines(summary)))
    print(write_record("exactness", {"gains (dB)": summary, "rows": rows}, args.out))


if __name__ == "__main__":
    main()
