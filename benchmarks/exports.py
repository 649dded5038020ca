"""The programs of `laminar export` against the network: how far their images are from its, and what they take.

    laminar export default --out default.pt2 [--to onnx --out default.onnx, --to aoti --out default.aoti.pt2]
    python -m benchmarks.exports FILE ... [--size 256] [--coils 8] [--rounds 5]

One simulated slice, R = 4, of another size and number of coils than those that were traced. They take turns.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.operators import summary, take_turns
from benchmarks.record import write_record
from laminar.data.masks import make_mask
from laminar.data.preparation import Problem, prepare
from laminar.data.simulation import simulate_slice
from laminar.export.files import ROUTES, compare, inputs_of
from laminar.models import UnrolledNetwork, load
from laminar.runtime import keep_freed_memory


def problem_of(size: int, coils: int) -> Problem:
    scan = simulate_slice("brain", (size, size), coils, 0.01, torch.Generator().manual_seed(1)).scan
    return prepare(scan.undersample(make_mask("equispaced", (size, size), 4, 14, 0)))


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--model", default="default")
    for name, default in {"size": 256, "coils": 8, "rounds": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    keep_freed_memory()
    network, problem = load(args.model), problem_of(args.size, args.coils)
    assert isinstance(network, UnrolledNetwork)
    tasks = {"network": lambda: network(problem.y, problem.operator, problem.noise_level)}
    differences: dict[str, float] = {}
    for path in args.files:
        fitting = [kind for kind, way in ROUTES.items() if path.name.endswith(way.ending)]
        name = max(fitting, key=lambda kind: len(ROUTES[kind].ending))  # .aoti.pt2 ends in .pt2, too
        way = ROUTES[name]
        run, inputs = way.open(path), inputs_of(problem, way.fourier)
        differences[name] = compare(run, way.fourier, network, problem)
        tasks[name] = lambda run=run, inputs=inputs: run(*inputs)  # type: ignore[misc]
    found = summary(take_turns(tasks, args.rounds), "network")
    for name, row in found.items():
        print(f"{name:8} {row['seconds'][0]:.2f} s, {differences.get(name, 0):.1e} from the network")
    settings = {"size": args.size, "coils": args.coils}
    print(write_record("exports", settings | {"difference": differences, "seconds": found}))


if __name__ == "__main__":
    main()
