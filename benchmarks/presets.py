"""The three presets with equal parameters, data, losses and steps: E2E-VarNet, MoDL (unshared), FLAT.

    python -m benchmarks.presets --seed 0 [--steps 600]      train the presets of one seed
    python -m benchmarks.presets --collect                   the table over the seeds that were trained

All are trained on the same simulated brains (R = 4 to 6, 6 coils, 128 lines), batch by batch, with the same
objective: L1 + 0.05 (1 - SSIM), FLAT also with its alignment 0.1. Learning rate and batch size are those with which
FLAT was developed; nothing was tuned for the others. What comes from which part of FLAT: benchmarks.alignment.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.record import RESULTS, mean_interval, write_record
from laminar.data.cases import Case
from laminar.data.config import SamplingConfig, SimulationConfig
from laminar.files import write_json
from laminar.models import RegularizerConfig, UnrolledNetwork, preset
from laminar.runtime import keep_freed_memory
from laminar.training.config import DataConfig, OptimizerConfig, TrainConfig
from laminar.training.data import make_data
from laminar.training.loop import make_fabric, train
from laminar.training.objectives import ObjectiveConfig
from laminar.training.state import RunFolder

MODEL: dict[str, Any] = {"n_cascades": 5, "shared": False, "regularizer": RegularizerConfig(channels=[24, 48, 48])}
NETWORKS = {
    "E2E-VarNet": (preset("varnet", **MODEL), 0.0),
    "MoDL, unshared": (preset("modl", **MODEL), 0.0),
    "FLAT": (preset("flat", **MODEL), 0.1),
}
PARTS = RESULTS / "presets"


def base_config(seed: int, steps: int) -> TrainConfig:
    simulation = SimulationConfig(anatomy="brain", matrices=[(128, 128)], readout=48, coils=(6, 6))
    sampling = SamplingConfig(["equispaced-fraction"], (4.0, 6.0), (14, 14), both_axes=False)
    return TrainConfig(
        data=DataConfig(simulation=simulation, sampling=sampling, batch_size=4, validation_batches=10, workers=0),
        optimizer=OptimizerConfig(learning_rate=1.5e-3, warmup=100),
        steps=steps,
        seed=seed,
        validate_every=max(1, steps // 4),
        accelerator="cpu",
        threads=1,
    )


class Kept:
    """A stream whose batches are simulated once and kept for the next network."""

    def __init__(self, batches: list[Case]) -> None:
        self.batches = batches

    def batch(self, index: int) -> Case:
        return self.batches[index]


def train_seed(seed: int, steps: int, runs: Path) -> None:
    config = base_config(seed, steps)
    stream, validation = make_data(config)
    print(f"seed {seed}: simulating {steps} batches", flush=True)
    kept = Kept([stream.batch(index) for index in range(steps)])
    fabric = make_fabric(config)
    for name, (model, alignment) in NETWORKS.items():
        torch.manual_seed(seed)
        network = UnrolledNetwork(config=model)
        run = replace(config, model=model, objective=ObjectiveConfig(ssim=0.05, alignment=alignment))
        folder = RunFolder(runs / f"{seed}-{name.replace(' ', '_').replace(',', '')}")
        outcome = train(fabric, network, kept, validation, run, folder)
        count = sum(p.numel() for p in network.regularizers.parameters())
        curve = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
        entry = {
            "parameters": count,
            "validation": outcome.validation,
            "curve": [[point["step"], point["validation"]["psnr"]] for point in curve],
            "seconds": curve[-1]["seconds"],
        }
        write_json(
            PARTS / f"{seed}-{name.replace(' ', '_').replace(',', '')}.json",
            {"seed": seed, "network": name, "steps": steps} | entry,
        )
        print(f"seed {seed}: {name}: {outcome.validation['psnr']:.2f} dB", flush=True)


def collect() -> None:
    parts = [json.loads(path.read_text()) for path in sorted(PARTS.glob("*.json"))]
    seeds = sorted({part["seed"] for part in parts})
    by_name = {name: {p["seed"]: p for p in parts if p["network"] == name} for name in NETWORKS}
    view = Table(title=f"Simulated brains, validation, {len(seeds)} seeds, {parts[0]['steps']} steps of 4 slices")
    for column in (
        "network",
        "parameters",
        "PSNR by seed",
        "SSIM",
        "FLAT minus this (dB) [95 %]",
        "s",
        "after each cascade",
    ):
        view.add_column(column)
    summary: dict[str, Any] = {}
    for name, runs in by_name.items():
        psnr = [runs[seed]["validation"]["psnr"] for seed in seeds]
        gains = [by_name["FLAT"][seed]["validation"]["psnr"] - value for seed, value in zip(seeds, psnr, strict=True)]
        states = torch.tensor([runs[seed]["validation"]["psnr_per_cascade"] for seed in seeds]).mean(0).tolist()
        ssim = sum(runs[seed]["validation"]["ssim"] for seed in seeds) / len(seeds)
        seconds = sum(runs[seed]["seconds"] for seed in seeds) / len(seeds)
        difference, low, high = mean_interval(gains)
        view.add_row(
            name,
            f"{runs[seeds[0]]['parameters']:,}",
            " ".join(f"{value:.2f}" for value in psnr),
            f"{ssim:.4f}",
            f"{difference:+.2f} [{low:+.2f}, {high:+.2f}]",
            f"{seconds:.0f}",
            " ".join(f"{value:.1f}" for value in states),
        )
        summary[name] = {
            "parameters": runs[seeds[0]]["parameters"], "psnr by seed": psnr, "ssim": ssim, "seconds": seconds,
            "psnr per cascade": states, "FLAT minus this (dB)": {"mean": difference, "low": low, "high": high},
        }  # fmt: skip
    Console(width=170).print(view)
    print(write_record("presets", {"seeds": seeds, "steps": parts[0]["steps"], "results": summary}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--runs", type=Path, default=Path("runs/presets"))
    parser.add_argument("--collect", action="store_true")
    args = parser.parse_args()
    keep_freed_memory()
    if args.seed is not None:
        train_seed(args.seed, args.steps, args.runs)
    if args.collect:
        collect()


if __name__ == "__main__":
    main()
