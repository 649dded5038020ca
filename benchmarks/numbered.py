"""Attacks by number: attack number n is the same everywhere, so that one run goes on where another ended."""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.record import RESULTS, header
from laminar.files import write_json

KEPT_EVERY = 1000


class End(NamedTuple):
    """How attack `number` on a `kind` ended: a word, or "broken: why"."""

    number: int
    kind: str
    end: str

    @property
    def broke(self) -> bool:
        return self.end.startswith("broken")

    @property
    def counted(self) -> str:
        return f"{self.kind}, {self.end.split(':')[0]}"


Attack = Callable[[range], Iterable[End]]
"""The ends of the attacks of a range, in their order."""


def until(ends: Iterable[End], deadline: float) -> Iterator[End]:
    for end in ends:
        yield end
        if time.monotonic() > deadline:
            return


def run(name: str, description: str | None, attack: Attack, also: Mapping[str, Any]) -> int:
    """The command of such a benchmark, its record in results/NAME.json; the exit code is 1 if anything broke.

    Without `--first` it adds to the record: what broke is tried again, then come the numbers after the last.
    """
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--first", type=int, help="number of the first; default: where the last run ended")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--out", type=Path, default=RESULTS / f"{name}.json")
    args = parser.parse_args()
    before = json.loads(args.out.read_text()) if args.first is None and args.out.exists() else {}
    broke = [End(*entry) for entry in before.get("broken", [])]
    counts = Counter(before.get("counts", {})) - Counter(end.counted for end in broke)
    following, broken = args.first or before.get("next", 0), list[End]()
    again = (end for old in broke for end in attack(range(old.number, old.number + 1)))
    new = until(attack(range(following, following + args.count)), time.monotonic() + 60 * args.minutes)

    def keep() -> None:
        found = {"next": following, "tried": counts.total(), "broken": broken, "counts": dict(sorted(counts.items()))}
        write_json(args.out, header() | also | found)
        print(f"{counts.total()} tried, {len(broken)} broke something: {args.out}", flush=True)

    for tried, end in enumerate(itertools.chain(again, new), start=1):
        counts[end.counted] += 1
        following = max(following, end.number + 1)
        broken += [end] if end.broke else []
        if tried % KEPT_EVERY == 0:
            keep()
    keep()
    return 1 if broken else 0
