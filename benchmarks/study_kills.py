"""Kill a study with all its processes at random moments: nothing is computed twice, nothing lost, the report the same.

    python -m benchmarks.study_kills [--kills 20] [--seed 0] [--out FILE]

A small study of twelve cells runs twice by `laminar study run`: once without a break, and once killed (SIGKILL, the
whole process group) so many times, each time after a random part of the time that the unbroken run took for a cell or
two, and started again. Counted are result files that changed after they were there once (`again`), results that differ
from those of the unbroken run but for what they cost (`different`), and whether the report, written from the costs of
the one run, is the same to the byte.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.record import write_record
from laminar.study.page import COSTS, REPORT, TABLES

STUDY: dict[str, Any] = {
    "name": "Killed",
    "base": {
        "steps": 30,
        "validate_every": 10,
        "accelerator": "cpu",
        "threads": 1,
        "data": {
            "workers": 0,
            "batch_size": 1,
            "validation_batches": 1,
            "simulation": {"anatomy": "brain", "matrices": [[40, 48]], "readout": 32, "coils": [3, 3]},
            "sampling": {"kinds": ["random"], "acceleration": [2, 3]},
        },
    },
    "axes": {
        "method": {
            name: {"preset": name, "model.n_cascades": 2, "model.regularizer.channels": [4, 6]}
            for name in ("flat", "modl")
        }
    },
    "seeds": 6,
    "tests": {"R 2": {"slices": 4}, "R 4": {"slices": 4, "data.sampling.acceleration": [4, 4]}},
    "reference": {"method": "flat"},
}


def started(plan: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "laminar", "study", "run", str(plan), "--out", str(out), "--quiet"]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)


def results(out: Path) -> dict[str, tuple[bytes, int]]:
    """The content of every result that there is, and when it was written."""
    return {path.stem: (path.read_bytes(), path.stat().st_mtime_ns) for path in (out / "cells").glob("*.json")}


def without_costs(out: Path) -> dict[str, Any]:
    found = {key: json.loads(content) for key, (content, _) in results(out).items()}
    return {key: {name: value for name, value in cell.items() if name != "costs"} for key, cell in found.items()}


def killed(plan: Path, out: Path, kills: int, longest: float, seed: int) -> tuple[int, int]:
    """How many kills fell on a running study, and how many results were written anew after they were there."""
    moments, before, hits, again = random.Random(seed), dict[str, tuple[bytes, int]](), 0, 0
    for number in range(kills + 1):
        process = started(plan, out)
        with suppress(subprocess.TimeoutExpired):
            process.wait(moments.uniform(0, longest) if number < kills else None)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            hits += 1
        process.wait()
        now = results(out)
        again += sum(now.get(key) != state for key, state in before.items())
        before = now
    return hits, again


def reports(out: Path) -> list[bytes]:
    subprocess.run([sys.executable, "-m", "laminar", "study", "report", str(out), "--quiet"], check=True)
    return [(out / name).read_bytes() for name in (REPORT, TABLES, COSTS)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plan, whole, cut = (Path(folder) / name for name in ("study.yaml", "whole", "cut"))
        plan.write_text(json.dumps(STUDY))  # JSON is YAML
        began = time.monotonic()
        assert started(plan, whole).wait() == 0
        seconds = time.monotonic() - began
        hits, again = killed(plan, cut, args.kills, 2 * seconds / args.kills + 3, args.seed)
        done, unbroken = without_costs(cut), without_costs(whole)
        different = sum(done.get(key) != cell for key, cell in unbroken.items())
        for key, (content, _) in results(whole).items():  # what no two runs share
            (cut / "cells" / f"{key}.json").write_bytes(content)
        same = reports(cut) == reports(whole)
    found: dict[str, Any] = {
        "cells": len(unbroken),
        "seconds": seconds,
        "kills": hits,
        "again": again,
        "different": different,
    }
    found |= {"same report": same}
    print(f"{found}: {write_record('study_kills', found, args.out)}")
    return 0 if same and not again and not different else 1


if __name__ == "__main__":
    sys.exit(main())
