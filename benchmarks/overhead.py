"""Seconds of a training step of the shipped configuration with and without alignment.

python -m benchmarks.overhead [--rounds 40]                -> results/alignment_overhead.json
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from benchmarks.record import write_record
from laminar.models import UnrolledNetwork, load, preset
from laminar.runtime import keep_freed_memory
from laminar.study.cell import train_config
from laminar.study.folder import make_plan
from laminar.study.reading import load_study
from laminar.training.data import training_stream
from laminar.training.objectives import ObjectiveConfig
from laminar.training.reconstruction import Learner, learner_inputs


def overhead(rounds: int) -> None:
    """Seconds of one training step of the shipped configuration, the forms in turn, step by step."""
    network = UnrolledNetwork(config=preset("flat"))
    network.load_state_dict(UnrolledNetwork(config=load().config).state_dict())
    plan = make_plan(load_study(Path(__file__).parent / "studies" / "alignment.yaml"))
    batch = training_stream(train_config(next(iter(plan.cells.values())))).batch(0)
    forms = {
        "none": ObjectiveConfig(alignment=0),
        **{
            f"line, {form}": ObjectiveConfig(alignment=0.1, alignment_form=form)
            for form in ("state", "velocity", "endpoint")
        },
    }
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, objective in forms.items():
            learner = Learner(network, objective)
            start = time.perf_counter()
            learner(*learner_inputs(batch), seed=0)["loss"].backward()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {name: [a / b for a, b in zip(values, seconds["none"], strict=True)] for name, values in seconds.items()}
    for name, value in medians.items():
        low, middle, high = (100 * (q - 1) for q in statistics.quantiles(ratios[name], n=4))
        print(f"{name}: {1000 * value:.0f} ms, {middle:+.1f} % (quartiles {low:+.1f} to {high:+.1f})")
    print(write_record("alignment_overhead", {"seconds": medians, "ratios": {k: sorted(v) for k, v in ratios.items()}}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    args = parser.parse_args()
    keep_freed_memory()
    overhead(args.rounds)


if __name__ == "__main__":
    main()
