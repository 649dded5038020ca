"""Alignment on and off, with the line and with the flow of a teacher, and a free network beside it.

    python -m benchmarks.alignment --teacher             train the teacher by flow matching, once
    python -m benchmarks.alignment --seed 0              train every arm of one seed
    python -m benchmarks.alignment --overhead            seconds a training step with and without alignment
    python -m benchmarks.alignment --collect             the table over the seeds that were trained

Simulated brains, 96 x 96 (40 points of the readout), 6 coils, R = 4 to 6. All arms have equal regularizers (4 cascades,
unshared), the same 200 batches of 4 slices in the same order, the same objective L1 + 0.05 (1 - SSIM) and
1000 steps; nothing was tuned for any of them. `tau` is the noise of the source; the arms with it get the same noise.
The shifted set has R = 8 and four times the noise, which no arm was trained for.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import presets
from benchmarks.presets import Kept
from benchmarks.record import RESULTS, mean_interval, write_record
from laminar.data.cases import Case
from laminar.data.config import SimulationConfig
from laminar.files import write_json
from laminar.flow.straightness import line_deviation
from laminar.models import RegularizerConfig, UnrolledConfig, UnrolledNetwork, load, preset
from laminar.runtime import keep_freed_memory
from laminar.training.config import TrainConfig
from laminar.training.data import Repeated, make_data
from laminar.training.loop import make_fabric, train
from laminar.training.objectives import ObjectiveConfig
from laminar.training.reconstruction import Learner, evaluate, learner_inputs
from laminar.training.reference import NetworkTeacher, ReferenceStream
from laminar.training.state import RunFolder

TAU = 0.1
MODEL: dict[str, Any] = {"n_cascades": 4, "regularizer": RegularizerConfig(channels=[16, 32, 32])}
FLOW = preset("flat", **MODEL)
NOISY = FLOW.changed(source_noise=TAU)
FREE = preset("modl", **MODEL, shared=False, source="cg-sense", cg_iterations=6)
TEACHER = preset(
    "flat", n_cascades=6, shared=True, source_noise=TAU, regularizer=RegularizerConfig(channels=[24, 48, 48])
)
PARTS, RUNS = RESULTS / "alignment", Path("runs/alignment")


@dataclass(frozen=True)
class Arm:
    """A network, and how strongly and in which form it is aligned with what."""

    model: UnrolledConfig
    weight: float = 0.0
    form: Literal["state", "velocity", "endpoint"] = "state"
    ode: bool = False


ARMS = {
    "free": Arm(FREE),
    "free, line 0.1": Arm(FREE, 0.1),
    "flow": Arm(FLOW),
    "flow, line 0.1": Arm(FLOW, 0.1),
    "flow, line 1.0": Arm(FLOW, 1.0),
    "flow, line 0.1, velocity": Arm(FLOW, 0.1, "velocity"),
    "flow, line 0.1, endpoint": Arm(FLOW, 0.1, "endpoint"),
    "flow, tau": Arm(NOISY),
    "flow, tau, line 0.1": Arm(NOISY, 0.1),
    "flow, tau, ode 0.1": Arm(NOISY, 0.1, ode=True),
}


def base_config(
    seed: int, steps: int, accelerations: tuple[float, float] = (4.0, 6.0), noise: float = 1.0
) -> TrainConfig:
    """The setting of `benchmarks.presets` on a smaller matrix, with `noise` times the usual noise."""
    base, (low, high) = presets.base_config(seed, steps), SimulationConfig().noise_std
    simulation = replace(base.data.simulation, matrices=[(96, 96)], readout=40, noise_std=(noise * low, noise * high))
    sampling = replace(base.data.sampling, acceleration=accelerations, calibration_lines=(12, 12))
    return replace(base, data=replace(base.data, simulation=simulation, sampling=sampling))


def train_teacher(steps: int) -> None:
    """One shared network with a velocity at every time, on data that no arm sees."""
    objective = ObjectiveConfig(image=0, ssim=0, alignment=0, flow_matching=1)
    config = replace(base_config(1000, steps), model=TEACHER, objective=objective)
    stream, validation = make_data(config)
    torch.manual_seed(0)
    network = UnrolledNetwork(config=TEACHER)
    started = time.perf_counter()
    outcome = train(make_fabric(config), network, stream, validation, config, RunFolder(RUNS / "teacher"))
    print(f"teacher: {outcome.validation}, {time.perf_counter() - started:.0f} s", flush=True)


def train_seed(seed: int, steps: int, distinct: int) -> None:
    config = base_config(seed, steps)
    stream, validation = make_data(config)
    _, shifted = make_data(base_config(seed, steps, (8.0, 8.0), 4.0))
    plain = Kept([stream.batch(index) for index in range(distinct)])
    print(f"seed {seed}: {distinct} batches simulated", flush=True)
    teacher = NetworkTeacher.load(RUNS / "teacher" / "last")
    started = time.perf_counter()
    reference = ReferenceStream(plain, teacher, FLOW.times, TAU, RUNS / "references")
    aligned = Kept([reference.batch(index) for index in range(distinct)])
    print(f"seed {seed}: {distinct} references, {time.perf_counter() - started:.0f} s", flush=True)
    fabric = make_fabric(config)
    for name, arm in ARMS.items():
        part = PARTS / f"{seed}-{name.replace(', ', '_').replace(' ', '_')}.json"
        if part.exists():
            continue
        torch.manual_seed(seed)
        network = UnrolledNetwork(config=arm.model)
        objective = ObjectiveConfig(alignment=arm.weight, alignment_form=arm.form)
        run = replace(config, model=arm.model, objective=objective)
        kept = (
            Kept([_with_source(batch, ode=arm.ode) for batch in aligned.batches]) if arm.model.source_noise else plain
        )
        folder = RunFolder(RUNS / part.stem)
        outcome = train(fabric, network, Repeated(kept, distinct), validation, run, folder)
        entry = {
            "parameters": sum(p.numel() for p in network.regularizers.parameters()),
            "validation": outcome.validation,
            "shifted": evaluate(network, shifted, run.objective),
            "line_deviation": deviation(network, validation),
            "seconds": json.loads(folder.metrics.read_text().splitlines()[-1])["seconds"],
        }
        write_json(part, {"seed": seed, "arm": name, "steps": steps, "distinct_batches": distinct} | entry)
        print(f"seed {seed}: {name}: {outcome.validation['psnr']:.2f} dB", flush=True)


def _with_source(batch: Case, *, ode: bool) -> Case:
    """The batch with the same noisy source in every arm: with the flow of the teacher, or with the line from there."""
    assert batch.reference is not None
    if ode:
        return batch
    source, times = batch.reference.source, torch.tensor(FLOW.times)
    line = [(1 - t) * batch.image + t * source for t in times]
    return replace(batch, reference=replace(batch.reference, states=line, endpoints=[batch.image] * FLOW.n_cascades))


@torch.no_grad()
def deviation(network: UnrolledNetwork, batches: list[Case]) -> list[float]:
    """Mean distance of each state from the line between image and source, relative to its length."""
    found = []
    for batch in batches:
        problem = batch.problem
        trajectory = network.trajectory(problem.y, problem.operator, problem.noise_level)
        found.append(
            torch.stack([line_deviation(state, batch.image, trajectory.source) for state in trajectory.states], 1)
        )
    return torch.cat(found).mean(0).tolist()


def overhead(rounds: int) -> None:
    """Seconds of one training step of the shipped configuration, the forms in turn, step by step."""
    network = UnrolledNetwork(config=preset("flat"))
    network.load_state_dict(UnrolledNetwork(config=load().config).state_dict())
    config = replace(base_config(0, 1), model=network.config)
    stream, _ = make_data(config)
    batch = stream.batch(0)
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


def collect() -> None:
    parts = [json.loads(path.read_text()) for path in sorted(PARTS.glob("*.json"))]
    seeds = sorted({part["seed"] for part in parts})
    by_arm = {name: {p["seed"]: p for p in parts if p["arm"] == name} for name in ARMS}
    view = Table(title=f"Simulated brains, {len(seeds)} seeds, {parts[0]['steps']} steps of 4 slices")
    for column in (
        "arm",
        "PSNR by seed",
        "minus flow [95 %]",
        "shifted",
        "minus flow [95 %]",
        "source, each cascade",
        "off the line",
    ):
        view.add_column(column)
    summary = {name: _summary(runs, by_arm["flow"], seeds) for name, runs in by_arm.items() if len(runs) == len(seeds)}
    for name, row in summary.items():
        view.add_row(
            name,
            " ".join(f"{value:.2f}" for value in row["psnr by seed"]),
            _gain(row["minus flow (dB)"]),
            f"{row['shifted psnr']:.2f}",
            _gain(row["shifted minus flow (dB)"]),
            " ".join(f"{value:.1f}" for value in row["psnr per cascade"]),
            " ".join(f"{value:.2f}" for value in row["line deviation"]),
        )
    Console(width=190).print(view)
    header = {"seeds": seeds, "steps": parts[0]["steps"], "distinct batches": parts[0]["distinct_batches"]}
    print(write_record("alignment", header | {"parameters": parts[0]["parameters"], "tau": TAU, "results": summary}))


def _gain(value: dict[str, float]) -> str:
    return f"{value['mean']:+.2f} [{value['low']:+.2f}, {value['high']:+.2f}]"


def _summary(runs: dict[int, Any], base: dict[int, Any], seeds: list[int]) -> dict[str, Any]:
    def paired(which: str) -> dict[str, float]:
        gains = [runs[seed][which]["psnr"] - base[seed][which]["psnr"] for seed in seeds]
        return dict(zip(("mean", "low", "high"), mean_interval(gains), strict=True))

    def mean(values: list[list[float]]) -> list[float]:
        return torch.tensor(values).mean(0).tolist()

    return {
        "psnr by seed": [runs[seed]["validation"]["psnr"] for seed in seeds],
        "minus flow (dB)": paired("validation"),
        "ssim": statistics.mean(runs[seed]["validation"]["ssim"] for seed in seeds),
        "shifted psnr": statistics.mean(runs[seed]["shifted"]["psnr"] for seed in seeds),
        "shifted minus flow (dB)": paired("shifted"),
        "psnr per cascade": mean([runs[seed]["validation"]["psnr_per_cascade"] for seed in seeds]),
        "line deviation": mean([runs[seed]["line_deviation"] for seed in seeds]),
        "seconds": statistics.mean(runs[seed]["seconds"] for seed in seeds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", action="store_true")
    parser.add_argument("--teacher-steps", type=int, default=1500)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--distinct", type=int, default=200)
    parser.add_argument("--overhead", action="store_true")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--collect", action="store_true")
    args = parser.parse_args()
    keep_freed_memory()
    if args.teacher:
        train_teacher(args.teacher_steps)
    if args.seed is not None:
        train_seed(args.seed, args.steps, args.distinct)
    if args.overhead:
        overhead(args.rounds)
    if args.collect:
        collect()


if __name__ == "__main__":
    main()
