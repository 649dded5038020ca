"""Short trials of settings with equal budgets: what does a change give on validation persons?

    python -m benchmarks.trials TRIALS.yaml [--minutes 6] [--seed 0] [--out FILE]

The list has the settings of `laminar train` that all trials share, and for each trial a name and what it changes:

    base:
      preset: flat
      settings: {data.kind: problems, data.train: [train], data.validation: [validation], model.phase_frame: true}
    trials:
      - as it is: {}
      - Muon: {optimizer.kind: muon}
      - a fourth level: {model.regularizer.channels: [32, 64, 64, 96]}

The first trial is what the others are compared with. **The budget is time**: a few steps are timed, and a trial gets as
many as fit into the minutes, with its whole learning-rate schedule; the seconds that it took stand in its row. PSNR is
that of the magnitude of each validation problem (`data.validation`: persons that no trial was trained on), in dB inside
the object, data range its maximum; the gain over the first trial is paired, with a bootstrap interval over the problems
of one seed: what another seed gives is not in it. A row that the file holds already, with the same settings, budget and
seed, is not done again, so that an interrupted list goes on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.record import RESULTS, gain, header, mean_interval
from laminar.data.cases import Case
from laminar.errors import ConfigError
from laminar.files import write_json
from laminar.metrics import object_psnr
from laminar.models import Network, Prior, load_any, started
from laminar.runtime import keep_freed_memory
from laminar.training.config import TrainConfig
from laminar.training.data import make_data
from laminar.training.loop import make_fabric, train
from laminar.training.settings import Settings
from laminar.training.state import RunFolder

TIMED_STEPS = 6


@dataclass(frozen=True)
class Trial:
    """A name, and what it changes: settings of `laminar train` by their dotted names."""

    name: str
    change: dict[str, Any]


def read_trials(path: Path) -> tuple[str, dict[str, Any], list[Trial]]:
    """The preset, the shared settings, and the trials of a list. Raises ConfigError for a list of another form."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        found = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        base = found["base"]
        trials = [Trial(str(name), dict(change)) for entry in found["trials"] for name, change in entry.items()]
        name, settings = str(base.get("preset", "flat")), dict(base.get("settings", {}))
    except (OSError, YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path}: expected base (preset, settings) and trials (a name: changes each): {error}"
        ) from error
    if wrong := [key for trial in trials for key in trial.change if key.startswith("data.validation")]:
        raise ConfigError(f"{path}: all trials are judged alike: {wrong[0]} belongs to base")
    if not trials or len({trial.name for trial in trials}) < len(trials):
        raise ConfigError(f"{path}: trials need names of their own, at least one; got {[t.name for t in trials]}")
    return name, settings, trials


def config_of(name: str, settings: dict[str, Any], seed: int) -> TrainConfig:
    """The training of a preset with these settings."""
    words = [word for key, value in settings.items() for word in (f"--{key}", _text(value))]
    return Settings.of_preset(name, words).parse([*words, "--seed", str(seed)])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def trained(config: TrainConfig, folder: Path) -> tuple[Network, list[Case], list[float]]:
    """The best network of a training, the validation problems, and the clock after each step."""
    clock: list[float] = []
    torch.manual_seed(config.seed)
    model, (stream, validation) = started(config.model, config.start), make_data(config)
    run = RunFolder(folder)
    train(
        make_fabric(config),
        model,
        stream,
        validation,
        config,
        run,
        report=lambda step, losses: clock.append(time.monotonic()),
    )
    network = load_any(run.best)
    if isinstance(network, Prior):
        raise ConfigError("trials compare reconstructions: a prior makes none")
    return network, validation, clock


def steps_within(config: TrainConfig, seconds: float) -> int:
    """How many steps fit: the median of a few, validation not counted."""
    once = replace(
        config, steps=TIMED_STEPS, validate_every=TIMED_STEPS, data=replace(config.data, validation_batches=1)
    )
    with tempfile.TemporaryDirectory() as folder:
        clock = trained(once, Path(folder))[2]
    each = median(after - before for before, after in pairwise(clock))
    return max(1, int(seconds / each))


@torch.no_grad()
def quality(network: Network, validation: Sequence[Case]) -> list[float]:
    """PSNR inside the object of every problem, in dB."""
    found: list[float] = []
    for case in validation:
        problem, target = case.problem, case.image.abs()
        image = network.trajectory(problem.y, problem.operator, problem.noise_level).image.abs()
        for one, truth in zip(image, target, strict=True):
            found.append(float(object_psnr(one, truth, truth.max())))
    return found


def run_trial(trial: Trial, config: TrainConfig, minutes: float) -> dict[str, Any]:
    """One row: what was changed, what it gave, what it took."""
    steps = steps_within(config, 60 * minutes)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        network, validation, _ = trained(replace(config, steps=steps, validate_every=steps), Path(folder))
        seconds = time.monotonic() - began
    return {
        "setting": trial.name,
        "change": _without_folders(trial.change),
        "steps": steps,
        "slices": steps * config.data.batch_size,
        "parameters": sum(p.numel() for p in network.parameters()),
        "seconds": round(seconds, 1),
        "psnr_of_each": quality(network, validation),
    }


def compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with their mean, and the paired gain over the first with its interval."""
    first, done = rows[0]["psnr_of_each"], []
    for row in rows:
        gains = [a - b for a, b in zip(row["psnr_of_each"], first, strict=True)]
        interval = dict(zip(("mean", "low", "high"), mean_interval(gains), strict=True))
        done.append(row | {"psnr": sum(row["psnr_of_each"]) / len(first), "gain (dB)": interval})
    return done


def run_all(path: Path, minutes: float, seed: int, out: Path) -> list[dict[str, Any]]:
    """Every trial of a list that `out` does not hold; the file is written anew after each."""
    name, settings, trials = read_trials(path)
    there = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    budget = {"preset": name, "base": _without_folders(settings), "minutes": minutes, "seed": seed}
    known = {
        row["setting"]: row for row in there.get("trials", ()) if all(there.get(k) == v for k, v in budget.items())
    }
    rows: list[dict[str, Any]] = []
    for trial in trials:
        row = known.get(trial.name)
        if row is None or row["change"] != _without_folders(trial.change):
            row = run_trial(trial, config_of(name, settings | trial.change, seed), minutes)
        rows.append(row)
        write_json(out, there | header() | budget | {"trials": compared(rows)})
    return compared(rows)


def _without_folders(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with the names of files and folders alone."""
    places = ("data.train", "data.validation", "start")
    return {
        k: ([Path(p).name for p in v] if isinstance(v, list) else Path(v).name) if k in places else v
        for k, v in settings.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", type=Path, metavar="TRIALS.yaml")
    parser.add_argument("--minutes", type=float, default=6.0, help="budget of each trial (default: 6)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "trials.json")
    args = parser.parse_args()
    keep_freed_memory()
    rows = run_all(args.trials, args.minutes, args.seed, args.out)
    table = Table("setting", "slices", "seconds", "PSNR in the object (dB)", "gain [95 %]")
    for row in rows:
        cells = [str(row["slices"]), f"{row['seconds']:.0f}", f"{row['psnr']:.2f}", gain(row["gain (dB)"])]
        table.add_row(row["setting"], *cells)
    Console(width=120).print(table)
    print(args.out)


if __name__ == "__main__":
    main()
