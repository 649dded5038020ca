"""Line masks against the fastmri package, bit by bit: 1000 random sizes, rates, fractions, seeds and offsets a kind.

    python -m benchmarks.mask_parity

writes results/mask_parity.json, with a checksum of the package's masks that the tests compare with. Refused by us and
left out are R and fractions that a kind cannot do, of which the package returns another R than was asked for or raises.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import torch
from torch import Tensor

from benchmarks.record import write_record
from laminar.data.masks import make_mask, seed_of_file

FASTMRI = {
    "random": "RandomMaskFunc",
    "equispaced": "EquiSpacedMaskFunc",
    "equispaced-fraction": "EquispacedMaskFractionFunc",
    "magic": "MagicMaskFunc",
    "magic-fraction": "MagicMaskFractionFunc",
}
TRIALS = 1000


@dataclass(frozen=True)
class Case:
    """N, R, the fraction of calibration lines, a seed as a number or made of a file name, and an offset if any."""

    n: int
    acceleration: int | float
    lines: float
    seed: int | tuple[int, ...]
    offset: int | None


def cases(kind: str) -> Iterator[Case]:
    """The trials of a kind, always the same."""
    random = np.random.default_rng(list(FASTMRI).index(kind))
    found = 0
    while found < TRIALS:
        n = int(random.integers(16, 513))
        rate = (
            float(random.uniform(1.5, 16)) if kind in ("random", "equispaced-fraction") else int(random.integers(2, 17))
        )
        rate = int(rate) if random.random() < 0.5 else rate
        lines = float(random.choice([0.04, 0.08, 0.16, float(random.uniform(0, 0.3))]))
        seed = (
            int(random.integers(2**32))
            if random.random() < 0.5
            else seed_of_file(f"file{random.integers(10**7):07}.h5")
        )
        offset = int(random.integers(2)) if kind != "random" and random.random() < 0.2 else None
        if rate == 1 or (kind in ("random", "equispaced-fraction") and round(n * lines) > n / rate):
            continue  # cannot be done, and is refused
        if kind == "equispaced-fraction" and round(n * lines) == n / rate:
            continue  # the package divides by zero
        if kind == "magic-fraction" and round(n / rate) <= max(round(n * lines), 1):
            continue  # the package divides by zero
        found += 1
        yield Case(n, rate, lines, seed, offset)


def checksum(masks: Iterable[Tensor]) -> str:
    """SHA-256 over the bits of all masks."""
    total = hashlib.sha256()
    for mask in masks:
        total.update(np.packbits(mask.numpy().ravel()).tobytes())
    return total.hexdigest()


def main() -> None:
    from fastmri.data import subsample

    kinds = {}
    for kind, name in FASTMRI.items():
        theirs, equal = [], 0
        for case in cases(kind):
            oracle = getattr(subsample, name)([case.lines], [case.acceleration])
            mask = oracle((1, case.n, 1), offset=case.offset, seed=case.seed)[0].bool().reshape(1, case.n)
            ours = make_mask(kind, (1, case.n), case.acceleration, case.lines, case.seed, offset=case.offset)
            equal += int(torch.equal(ours, mask))
            theirs.append(mask)
        kinds[kind] = {"trials": len(theirs), "equal": equal, "sha256": checksum(theirs)}
        print(kind, kinds[kind])
    write_record("mask_parity", {"fastmri": version("fastmri"), "kinds": kinds})


if __name__ == "__main__":
    main()
