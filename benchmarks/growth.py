"""How `A^H A`, a regularized solve and the shipped network grow with the coils and with the matrix.

    python -m benchmarks.growth [--rounds 3] [--device cuda]

Coils 1 to 32 at 320 x 320, and matrices 128 to 640 with 15 coils; simulated slices, R = 4, maps by ESPIRiT (not
counted). Processor seconds (of the clock on a GPU), the least of the rounds; peak memory of a first run over what was
held before. The exponents are least-squares slopes of the logarithms, of the seconds and of the memory, over coils and
over pixels. The solve is that of the first cascade with what it prepares once a slice.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.operators import Task, timed
from benchmarks.record import write_record
from benchmarks.same_weights import start_peak
from laminar.data.masks import make_mask
from laminar.data.preparation import Problem, prepare
from laminar.data.simulation import simulate_slice
from laminar.models import load
from laminar.operators import Encoding
from laminar.runtime import keep_freed_memory

COILS, SIZES = (1, 4, 8, 16, 32), (128, 256, 320, 512, 640)
WEIGHT, ITERATIONS, TOLERANCE = 0.0024, 12, 1e-3


def problem(coils: int, size: int, device: str) -> Problem:
    sample = simulate_slice("brain", (size, size), coils, 0.01, torch.Generator().manual_seed(0))
    mask = make_mask("equispaced-fraction", (size, size), 4.0, 26, 0)
    return prepare(sample.scan.undersample(mask)).to(device)


def tasks(problem: Problem, network: torch.nn.Module) -> dict[str, Task]:
    image = problem.operator.adjoint(problem.y)

    def fresh() -> Encoding:
        return Encoding(problem.encoding.mask, problem.encoding.sensitivities)

    def solve() -> Any:
        rhs = (1 + WEIGHT) * image
        return fresh().solve_regularized(rhs, WEIGHT, image, iterations=ITERATIONS, tolerance=TOLERANCE)

    return {
        "A^H A": lambda: problem.operator.gram(image),
        "solve": solve,
        "network": lambda: network(problem.y, fresh(), problem.noise_level),
    }


def measure(task: Task, rounds: int, device: str) -> dict[str, float]:
    peak = start_peak(device)
    task()
    memory, key = peak(), "processor_seconds" if device == "cpu" else "seconds"
    return {"seconds": min(timed(task, device)[key] for _ in range(rounds)), "memory_mb": memory}


def slope(sizes: list[int], values: list[float]) -> float | None:
    """The exponent p of the power law `size^p` through the values, None where one is zero."""
    if min(values) <= 0:
        return None
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def exponents(rows: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for axis, sizes in (("coils", [row["coils"] for row in rows]), ("pixels", [row["size"] ** 2 for row in rows])):
        if len(set(sizes)) > 1:
            names = [name for name in rows[0] if isinstance(rows[0][name], dict)]
            keys = ("seconds", "memory_mb")
            found[axis] = {n: {k: slope(sizes, [row[n][k] for row in rows]) for k in keys} for n in names}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = parser.parse_args()
    keep_freed_memory()
    network, results = load().to(args.device), dict[str, Any]()
    for axis, cases in (("coils", [(c, 320) for c in COILS]), ("matrix", [(15, n) for n in SIZES])):
        rows: list[dict[str, Any]] = []
        for coils, size in cases:
            with torch.inference_mode():
                works = tasks(problem(coils, size, args.device), network)
                measured = {name: measure(task, args.rounds, args.device) for name, task in works.items()}
            rows.append({"coils": coils, "size": size} | measured)
        results[axis] = {"rows": rows, "exponents": exponents(rows)}
    view = Table("coils", "matrix", *(f"{name}: ms, MB" for name in ("A^H A", "solve", "network")))
    for row in results["coils"]["rows"] + results["matrix"]["rows"]:
        cells = [f"{m['seconds'] * 1e3:.1f}, {m['memory_mb']:.0f}" for m in row.values() if isinstance(m, dict)]
        view.add_row(str(row["coils"]), str(row["size"]), *cells)
    Console(width=100).print(view)
    print({axis: found["exponents"] for axis, found in results.items()})
    print(write_record("growth" if args.device == "cpu" else "growth_cuda", {"device": args.device} | results))


if __name__ == "__main__":
    main()
