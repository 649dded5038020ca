"""Classical, unrolled, flow and diffusion methods on the same scans, with the same training time: one table.

    python -m benchmarks.comparison train --world simulated --seed 0 [--only FLAT ...]
    python -m benchmarks.comparison tune --world simulated --seed 0      weights of classical methods and samplers
    python -m benchmarks.comparison test --world simulated --seed 0
    python -m benchmarks.comparison collect                              -> results/comparison.json and the table

and the same with `--world brain_t2 --data DIR`, the folder with brain_t2_train.h5 and brain_t2_val.h5. What the
two worlds are: benchmarks/worlds.py.

Networks and prior are trained on 200 slices, masks drawn anew for every step with R between 4 and 8, batches of four
(networks on 48 of the 128 rows at a random place, the prior on whole images),
Adam with the same schedule; every network with the same loss, L1 + 0.05 (1 - SSIM), but FLAT as a sampler (flow
matching alone) and the prior (denoising). **Equal budget: the numbers of steps are such that each takes about
as long on one core** (`BUDGET`); the seconds that it took are in the table. Learning rates were not tuned for anybody.
Sizes are those of the sources where these are small enough (cascade of CNNs, ISTA-Net+, MoDL), and about a million
weights elsewhere. The U-Net is the one of FLAT's cascades, wider: the published one, with instance normalization,
stayed below the zero-filled image after the same time. Classical methods and samplers have the best of six settings on
two slices of the validation part at each R (Flower has four to choose from); the test part is seen once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.record import RESULTS, mean_interval, write_record
from benchmarks.worlds import SIZE, WORLDS, Slices, Undersampled, fixed_batches, load_world
from laminar.data.cases import Case
from laminar.data.preparation import Problem
from laminar.errors import LaminarError
from laminar.files import write_json
from laminar.flow import Trajectory
from laminar.methods import Method, NetworkMethod, PosteriorMean, open_method, sampler_method
from laminar.metrics import nmse, psnr, ssim
from laminar.models import ModelConfig, PriorConfig, RegularizerConfig, build, load, load_prior, preset
from laminar.registry import SAMPLERS
from laminar.runtime import keep_freed_memory
from laminar.training.config import DataConfig, TrainConfig
from laminar.training.loop import make_fabric, train
from laminar.training.objectives import ObjectiveConfig
from laminar.training.state import RunFolder

BUDGET = 300  # seconds of one core, about
ACCELERATIONS = (4, 8)
NFE = 50
READOUT = 48
WIDE = RegularizerConfig(channels=[24, 48, 48])
PUBLISHED = RegularizerConfig(kind="cnn", channels=[64], depth=5)
FLOW_ONLY = ObjectiveConfig(image=0, ssim=0, alignment=0, flow_matching=1)
PLAIN, ALIGNED = ObjectiveConfig(alignment=0), ObjectiveConfig(alignment=0.1)

# name: model, objective, steps
NETWORKS: dict[str, tuple[ModelConfig, ObjectiveConfig, int]] = {
    "U-Net": (preset("unet", regularizer=RegularizerConfig(channels=[32, 64, 96, 128])), PLAIN, 4800),
    "cascade of CNNs": (preset("dc-cnn"), PLAIN, 400),
    "ISTA-Net+": (preset("ista-net-plus"), PLAIN, 400),
    "MoDL": (preset("modl", regularizer=PUBLISHED), PLAIN, 450),
    "E2E-VarNet": (preset("e2e-varnet", n_cascades=6, channels=7, pools=3), PLAIN, 850),
    "FLAT": (preset("flat", regularizer=WIDE), ALIGNED, 1300),
    "FLAT, sampler": (preset("sampler"), FLOW_ONLY, 3000),
    "prior": (PriorConfig(), ObjectiveConfig(), 2500),
}
CLASSICAL = ("zero-filled", "cg-sense", "total-variation", "l1-wavelet", "grappa")
Settings = dict[str, float]
WORST = -99.0
"""What counts as the PSNR of an image that is not finite."""


def starting(setting: str, *values: float) -> list[Settings]:
    """Three values of a setting at two levels to start from, eleven and three times the image's root mean square."""
    return [{"start_level": level, setting: value} for level in (5.0, 1.5) for value in values]


GRIDS: dict[str, list[Settings]] = {
    "cg-sense": [{"weight": weight} for weight in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)],
    "l1-wavelet": [{"weight": weight} for weight in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)],
    "total-variation": [{"weight": weight} for weight in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)],
    "score-mri": starting("snr", 0.05, 0.1, 0.16),
    "dds": starting("weight", 0.002, 0.02, 0.2),
    "dps": starting("strength", 3.0, 10.0, 30.0),
    "pigdm": starting("eta", 0.0, 0.5, 1.0),
    "mc-ddpm": starting("eta", 0.0, 0.5, 1.0),
    "ot-ode": starting("strength", 0.5, 1.0, 1.5),
    "pnp-flow": starting("exponent", 0.25, 0.5, 1.0),
    "flower": starting("draw", True, False),
}


def config_of(name: str, seed: int) -> TrainConfig:
    model, objective, steps = NETWORKS[name]
    return replace(
        TrainConfig.suited(model),
        objective=objective,
        data=DataConfig(batch_size=4, workers=0),
        steps=steps,
        seed=seed,
        validate_every=max(1, steps // 4),
        accelerator="cpu",
        threads=1,
    )


class Clock:
    """The moment of every step."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def __call__(self, step: int, losses: dict[str, float]) -> None:
        self.moments.append(time.perf_counter())


def run_folder(args: argparse.Namespace, name: str) -> Path:
    return Path(args.runs) / args.world / f"{args.seed}-{name.replace(' ', '_').replace(',', '').replace('+', '')}"


def part(args: argparse.Namespace, name: str) -> Slices:
    return load_world(args.world, name, args.runs / "worlds", args.data)


def train_all(args: argparse.Namespace) -> None:
    """Train what has no result yet; a run that was cut off goes on."""
    slices, held_out = part(args, "train"), part(args, "validation")
    validation = [b for R in ACCELERATIONS for b in fixed_batches(held_out, R, 4)[:4]]
    for name in args.only or NETWORKS:
        config, folder = config_of(name, args.seed), RunFolder(run_folder(args, name))
        if args.time:
            config = replace(config, steps=12, validate_every=12)
            folder = RunFolder(args.runs / "timing" / name)
            validation = validation[:1]
        elif (folder.path / "done.json").exists():
            continue
        fabric = make_fabric(config)
        torch.manual_seed(args.seed)
        model = build(config.model)
        readout = SIZE if isinstance(config.model, PriorConfig) else READOUT
        stream = Undersampled(slices, config.data.batch_size, args.seed, readout)
        clock = Clock()
        resume = folder.last.exists() and not args.time
        outcome = train(fabric, model, stream, validation, config, folder, resume=resume, report=clock)
        if args.time:
            per_step = statistics.median(b - a for a, b in pairwise(clock.moments[1:]))
            print(f"{name}: {per_step:.3f} s a step, {BUDGET / per_step:.0f} steps in {BUDGET} s", flush=True)
            continue
        if outcome.interrupted:
            return
        seconds = json.loads(folder.metrics.read_text().splitlines()[-1])["seconds"]
        write_json(folder.path / "done.json", {"steps": outcome.step, "seconds": seconds, "scores": outcome.validation})
        print(f"{args.world} {args.seed} {name}: {outcome.validation} in {seconds:.0f} s", flush=True)


def tuned(args: argparse.Namespace) -> Path:
    return args.runs / args.world / f"{args.seed}-tuned.json"


def tune(args: argparse.Namespace) -> None:
    """For every method with settings and every R those with the best mean PSNR on two validation slices."""
    slices = part(args, "validation")
    found: dict[str, Any] = json.loads(tuned(args).read_text()) if tuned(args).exists() else {}
    for name, candidates in GRIDS.items():
        if name in found or (args.only and name not in args.only):
            continue
        found[name] = {}
        for acceleration in ACCELERATIONS:
            batches = fixed_batches(slices, acceleration, 1, seed=1)[:: len(slices) // 2][:2]
            scores = []
            for candidate in candidates:
                method = _method(args, name, candidate, NFE)
                scores.append(statistics.fmean(max(WORST, score(method, batch)["psnr"]) for batch in batches))
            best = candidates[scores.index(max(scores))]
            tried = [[candidate, round(value, 2)] for candidate, value in zip(candidates, scores, strict=True)]
            found[name][str(acceleration)] = {"best": best, "tried": tried}
            print(args.world, name, acceleration, tried, flush=True)
        write_json(tuned(args), found)


def _method(args: argparse.Namespace, name: str, settings: dict[str, Any], nfe: int) -> Method:
    if name in SAMPLERS:
        return sampler_method(name, load_prior(run_folder(args, "prior") / "best"), nfe, settings)
    return open_method(name, settings=settings)


def settled(args: argparse.Namespace, name: str, acceleration: int, nfe: int = NFE) -> Method:
    settings = json.loads(tuned(args).read_text())[name][str(acceleration)]["best"] if name in GRIDS else {}
    return _method(args, name, settings, nfe)


def entries(args: argparse.Namespace) -> Iterator[tuple[str, Callable[[int], Method]]]:
    """The rows of the table: a name, and the method for an acceleration."""
    for name in CLASSICAL:
        yield name, lambda R, name=name: settled(args, name, R)
    for name in NETWORKS:
        if name == "prior" or not (run_folder(args, name) / "done.json").exists():
            continue
        network = load(run_folder(args, name) / "best")
        method = NetworkMethod(network)
        if not method.draws:
            yield name, lambda R, method=method: method
            continue
        one, at_once = MeanOfSamples(method, 1), PosteriorMean(network)
        yield f"{name}: source without noise", lambda R, method=method: method
        yield f"{name}: mean in one evaluation", lambda R, method=at_once: method
        yield f"{name}: one sample", lambda R, method=one: method
        yield f"{name}: mean of 4 samples", lambda R, method=method: MeanOfSamples(method, 4)
    for nfe in (19, NFE, 99):
        yield f"dds, {nfe} NFE", lambda R, nfe=nfe: settled(args, "dds", R, nfe)
    yield f"dds, {NFE} NFE: mean of 4 samples", lambda R: MeanOfSamples(settled(args, "dds", R), 4)
    for name in SAMPLERS:
        if name != "dds":
            yield f"{name}, {NFE} NFE", lambda R, name=name: settled(args, name, R)


@dataclass(frozen=True, eq=False)
class MeanOfSamples(Method):
    """The mean of samples as a method."""

    of: Method
    samples: int

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.of.name

    @property
    def module(self) -> nn.Module | None:  # type: ignore[override]
        return self.of.module

    def estimate(self, problem: Problem, generator: torch.Generator, **offered: Any) -> Trajectory:
        draws = [self.of.draw(problem, generator) for _ in range(self.samples)]
        mean = torch.stack([draw.image for draw in draws]).mean(0)
        return Trajectory([draws[0].source, mean], [mean], None, sum(draw.nfe for draw in draws))


def score(method: Method, batch: Case, seed: int = 0) -> dict[str, float]:
    """One slice: PSNR (dB), SSIM, NMSE of the magnitude, data range the maximum of the target; NFE and CPU seconds."""
    started = time.process_time()
    with torch.no_grad():
        trajectory = method(batch.problem, torch.Generator().manual_seed(seed))
    seconds = time.process_time() - started
    image, target = trajectory.image.abs(), batch.image.abs()
    peak = target.amax((1, 2))
    return {
        "psnr": float(psnr(image, target, peak, per_slice=True)),
        "ssim": float(ssim(image, target, peak, per_slice=True)),
        "nmse": float(nmse(image, target)),
        "nfe": trajectory.nfe,
        "seconds": seconds,
    }


def parts_folder() -> Path:
    return RESULTS / "comparison"


def test(args: argparse.Namespace) -> None:
    """All methods on the test part, slice by slice; what is there already is kept."""
    path = parts_folder() / f"{args.world}-{args.seed}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    slices = part(args, "test")
    for name, method_at in entries(args):
        if name in found or (args.only and not any(only in name for only in args.only)):
            continue
        found[name] = {}
        for acceleration in ACCELERATIONS:
            method = method_at(acceleration)
            try:
                rows = [score(method, batch, i) for i, batch in enumerate(fixed_batches(slices, acceleration, 1))]
            except LaminarError as error:
                found[name][str(acceleration)] = {"failed": str(error)}
                continue
            found[name][str(acceleration)] = {
                "parameters": method.parameters,
                "settings": {k: v for k, v in method.settings.items() if k in GRIDS.get(method.kind, [{}])[0]},
                **{key: [round(row[key], 6) for row in rows] for key in rows[0]},
            }
            mean = sum(row["psnr"] for row in rows) / len(rows)
            print(f"{args.world} {name} R = {acceleration}: {mean:.2f} dB, {rows[-1]['seconds']:.2f} s", flush=True)
        write_json(path, found)


def collect(args: argparse.Namespace) -> None:
    results: dict[str, Any] = {}
    for world in WORLDS:
        paths = sorted(parts_folder().glob(f"{world}-*.json"))
        if not paths:
            continue
        runs = [json.loads(path.read_text()) for path in paths]
        results[world] = {"seeds": [int(path.stem.rpartition("-")[2]) for path in paths], "rows": _rows(runs)}
        view = Table(title=f"{world}, {len(paths)} training seeds")
        for column in ("method", "R", "parameters", "NFE", "s", "PSNR", "SSIM", "NMSE", "FLAT - this [95 %]"):
            view.add_column(column)
        for row in results[world]["rows"]:
            gap = row["FLAT minus this (dB)"]
            view.add_row(
                row["method"], str(row["R"]), f"{row['parameters']:,}", str(row["nfe"]), f"{row['seconds']:.2f}",
                f"{row['psnr']:.2f}", f"{row['ssim']:.4f}", f"{row['nmse']:.4f}",
                f"{gap[0]:+.2f} [{gap[1]:+.2f}, {gap[2]:+.2f}]",
            )  # fmt: skip
        Console(width=150).print(view)
    training = {
        world: {
            path.parent.name: {key: done[key] for key in ("steps", "seconds")}
            for path in sorted((args.runs / world).glob("*/done.json"))
            for done in [json.loads(path.read_text())]
        }
        for world in WORLDS
    }
    print(write_record("comparison", {"budget_seconds": BUDGET, "training": training, "worlds": results}))


def _rows(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a method and R: means over slices and training seeds, the difference to FLAT paired by slice."""
    rows = []
    for acceleration in map(str, ACCELERATIONS):
        for name in runs[0]:
            mine = [run[name][acceleration] for run in runs if name in run]
            if "failed" in mine[0]:
                continue
            flat = [run["FLAT"][acceleration] for run in runs if name in run]
            gaps = torch.tensor([f["psnr"] for f in flat]) - torch.tensor([m["psnr"] for m in mine])
            mean = {key: float(torch.tensor([m[key] for m in mine]).mean()) for key in ("psnr", "ssim", "nmse")}
            rows.append(
                {"method": name, "R": int(acceleration), "parameters": mine[0]["parameters"], "nfe": mine[0]["nfe"][0]}
                | {"seconds": float(torch.tensor([m["seconds"] for m in mine]).median())} | mean
                | {"FLAT minus this (dB)": mean_interval(gaps.mean(0).tolist()), "settings": mine[0]["settings"]}
            )  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("train", "tune", "test", "collect"))
    parser.add_argument("--world", choices=WORLDS, default="simulated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--time", action="store_true", help="train a dozen steps each and say how long they take")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--runs", type=Path, default=Path("runs/comparison"))
    args = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    {"train": train_all, "tune": tune, "test": test, "collect": collect}[args.verb](args)


if __name__ == "__main__":
    main()
