"""The operators beside straightforward peers: FFT, sensitivities, `A`, `A^H A` and one regularized solve.

    python -m benchmarks.operators [--rounds 7] [--device cuda]

One simulated 15-coil 320 x 320 slice, R = 4 along one axis, maps by ESPIRiT. All in one process, taking turns; a
ratio compares two of the same round. "fastmri": that package's functions on real pairs, put together as its VarNet
does. "plain": the 2-D formulation in a few lines of torch. "bart": `bart pics`, a process of its own, start and files
included, with its own scaling and stopping. Beside the seconds of the clock stand those of the processor, summed over
threads; on a machine with other work, run with OMP_NUM_THREADS=1 and believe those.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.record import write_record
from benchmarks.varnet import scan
from laminar.data.preparation import prepare
from laminar.operators import Encoding, conjugate_gradient, fft2c, ifft2c
from laminar.runtime import keep_freed_memory

Task = Callable[[], Any]
Rounds = dict[str, list[dict[str, float]]]
# Of the first cascade of the shipped network on this slice; its denoised image is far from what it has measured.
WEIGHT, ITERATIONS, TOLERANCE = 0.0024, 12, 1e-3


def timed(task: Task, device: str = "cpu") -> dict[str, float]:
    start, processor = time.perf_counter(), processor_seconds()
    task()
    if device == "cuda":
        torch.cuda.synchronize()
    return {"seconds": time.perf_counter() - start, "processor_seconds": processor_seconds() - processor}


def processor_seconds() -> float:
    """Of this process and of the children that it has waited for."""
    used = os.times()
    return time.process_time() + used.children_user + used.children_system


def take_turns(tasks: dict[str, Task], rounds: int, device: str = "cpu") -> Rounds:
    """The seconds of every task in every round, after one round to warm up."""
    for task in tasks.values():
        timed(task, device)
    turns = [{name: timed(task, device) for name, task in tasks.items()} for _ in range(rounds)]
    return {name: [turn[name] for turn in turns] for name in tasks}


def summary(rounds: Rounds, base: str) -> dict[str, Any]:
    """Median, least and greatest of the seconds, and of their ratio to `base` in the same round."""
    table: dict[str, Any] = {}
    for name, turns in rounds.items():
        table[name] = {}
        for key in turns[0]:
            values = [turn[key] for turn in turns]
            ratios = [value / turn[key] for value, turn in zip(values, rounds[base], strict=True)]
            table[name] |= {key: spread(values), f"{key}_ratio": spread(ratios)}
    return table


def spread(values: list[float]) -> list[float]:
    return [statistics.median(values), min(values), max(values)]


def operations(device: str, folder: Path) -> tuple[dict[str, dict[str, Task]], Tensor]:
    """By operation and by who does it, a new operator first; and the converged solution of the solve."""
    problem = prepare(scan()).to(device)
    kspace, maps, mask = problem.y, problem.encoding.sensitivities, problem.encoding.mask
    operator, lines = Encoding(mask, maps), mask.unsqueeze(1)
    image = operator.adjoint(kspace)
    rhs = (1 + WEIGHT) * image

    def plain_gram(x: Tensor) -> Tensor:
        return (maps.conj() * ifft2c(fft2c(maps * x.unsqueeze(1)) * lines)).sum(1)

    def plain_solve(iterations: int = ITERATIONS, tolerance: float = TOLERANCE) -> Tensor:
        normal: Callable[[Tensor], Tensor] = lambda x: plain_gram(x) + WEIGHT * x  # noqa: E731
        return conjugate_gradient(normal, rhs, image, iterations=iterations, tolerance=tolerance)

    def our_solve(operator: Encoding, iterations: int = ITERATIONS, tolerance: float = TOLERANCE) -> Tensor:
        return operator.solve_regularized(rhs, WEIGHT, image, iterations=iterations, tolerance=tolerance)

    theirs = fastmri_operations(kspace, maps, lines, image)
    tasks: dict[str, dict[str, Task]] = {
        "FFT of all coils": {"Laminar": lambda: fft2c(kspace), "fastmri": theirs["fft"]},
        "A": {"Laminar": lambda: operator(image), "fastmri": theirs["forward"]},
        "A^H": {"Laminar": lambda: operator.adjoint(kspace), "fastmri": theirs["adjoint"]},
        "A^H A": {
            "Laminar": lambda: operator.gram(image),
            "plain": lambda: plain_gram(image),
            "fastmri": theirs["gram"],
        },
        "solve": {
            "Laminar": lambda: our_solve(Encoding(mask, maps)),
            "Laminar, again": lambda: our_solve(operator),
            "plain": plain_solve,
        },
    }
    if shutil.which("bart") and device == "cpu":
        tasks["solve"]["bart"] = bart_solve(kspace, maps, folder)
    exact = plain_solve(300, 1e-6)
    return tasks, exact


def fastmri_operations(kspace: Tensor, maps: Tensor, lines: Tensor, image: Tensor) -> dict[str, Task]:
    import fastmri

    pairs, coils, x = (torch.view_as_real(part).contiguous() for part in (kspace, maps, image.unsqueeze(1)))
    mask = lines.unsqueeze(-1)

    def expand(x: Tensor) -> Tensor:
        return fastmri.fft2c(fastmri.complex_mul(x, coils)) * mask

    def reduce(y: Tensor) -> Tensor:
        return fastmri.complex_mul(fastmri.ifft2c(y * mask), fastmri.complex_conj(coils)).sum(1, keepdim=True)

    return {
        "fft": lambda: fastmri.fft2c(pairs),
        "forward": lambda: expand(x),
        "adjoint": lambda: reduce(pairs),
        "gram": lambda: reduce(expand(x)),
    }


def bart_solve(kspace: Tensor, maps: Tensor, folder: Path) -> Task:
    """CG-SENSE with the same Tikhonov weight and number of iterations, from zero."""
    for name, array in (("kspace", kspace), ("maps", maps)):
        _, coils, y, x = array.shape
        (folder / f"{name}.hdr").write_text(f"# Dimensions\n{x} {y} 1 {coils}\n")
        array.numpy().tofile(folder / f"{name}.cfl")
    command = ["bart", "pics", "-S", "-w1", "-l2", f"-r{WEIGHT}", f"-i{ITERATIONS}", "kspace", "maps", "image"]
    return lambda: subprocess.run(command, check=True, capture_output=True, cwd=folder)


def errors(tasks: dict[str, dict[str, Task]], exact: Tensor) -> dict[str, float]:
    """Relative distances: of our `A^H A` from the plain one, of both solves from the converged solution."""
    distance: Callable[[Tensor, Tensor], float] = lambda x, y: float((x - y).norm() / y.norm())  # noqa: E731
    return {
        "A^H A": distance(tasks["A^H A"]["Laminar"](), tasks["A^H A"]["plain"]()),
        "solve, Laminar": distance(tasks["solve"]["Laminar"](), exact),
        "solve, plain": distance(tasks["solve"]["plain"](), exact),
    }


def show(results: dict[str, Any], rounds: int) -> None:
    view = Table("operation", "by", "ms", "processor ms", "ratio of processor", title=f"median of {rounds} (range)")
    for name, table in results.items():
        for who, row in table.items():
            cells = [(row[k], 1e3, 1) for k in ("seconds", "processor_seconds")] + [
                (row["processor_seconds_ratio"], 1, 2)
            ]
            view.add_row(name, who, *(f"{m * u:.{d}f} ({a * u:.{d}f} to {b * u:.{d}f})" for (m, a, b), u, d in cells))
    Console(width=120).print(view)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = parser.parse_args()
    keep_freed_memory()
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        tasks, exact = operations(args.device, Path(folder))
        difference = errors(tasks, exact)
        results = {
            name: summary(take_turns(turns, args.rounds, args.device), "plain" if name == "solve" else "fastmri")
            for name, turns in tasks.items()
        }
    show(results, args.rounds)
    print(difference)
    values = {"device": args.device, "errors": difference, "operations": results}
    print(write_record("operators" if args.device == "cpu" else "operators_cuda", values))


if __name__ == "__main__":
    main()
