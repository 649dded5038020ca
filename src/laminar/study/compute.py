"""Computing cells: train, exactly resumable, then test slice by slice; the result is small JSON."""

from __future__ import annotations

import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from multiprocessing import current_process
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from laminar.data.cases import Case
from laminar.errors import DISK, ConfigError, LaminarError, explaining
from laminar.files import holding, replacing, write_json
from laminar.flow import Trajectory
from laminar.flow.straightness import line_deviation
from laminar.methods import AtDepth, Method, NetworkMethod, OneSample, PosteriorMean
from laminar.metrics import nmse, object_psnr, psnr, ssim
from laminar.models import UnrolledNetwork, load, started
from laminar.runtime import seed_of
from laminar.study.cell import Cell, open_untrained, train_config
from laminar.study.coverage import coverages
from laminar.study.disturbed import as_told, structures
from laminar.study.folder import StudyFolder
from laminar.study.held_out import TUNING, held_out
from laminar.study.versions import code_version, machine, versions
from laminar.training.config import TrainConfig
from laminar.training.data import make_data
from laminar.training.loop import make_fabric, train
from laminar.training.state import RunFolder

FORMAT, VERSION = "laminar-study-cell", 1
TUNING_SLICES, TIMING_STEPS = 2, 12


class Interrupted(LaminarError):
    """A training was asked to stop: it goes on from its checkpoint the next time."""


def compute(path: str, keys: Sequence[str]) -> dict[str, dict[str, str]]:
    """Compute the cells of one training in the folder of a study; what has a result is left as it is.

    Returns the failures by key, which are kept in the folder as well. Raises LaminarError if another process holds the
    training, if a result cannot be written, or on an interrupt: then nothing is said of the cells.
    """
    folder = StudyFolder(Path(path))
    plan = folder.plan()
    if plan.code != code_version():
        raise ConfigError(f"the plan in {path} is of code {plan.code}, and this process runs {code_version()}")
    if missing := [key for key in keys if key not in plan.cells]:
        raise ConfigError(f"the plan in {path} has no cell {missing[0]} any more: another study was started there")
    failures: dict[str, dict[str, str]] = {}
    with holding(folder.run(plan.cells[keys[0]].run)):
        for key in keys:
            if folder.result(key) is not None:
                continue
            try:
                with explaining("computing"):
                    result, images = measured(plan.cells[key], folder)
            except Interrupted:
                raise
            except LaminarError as error:
                if getattr(error.__cause__, "errno", None) in DISK:
                    raise  # of the machine, and not of the cell
                failures[key] = {"kind": type(error).__name__, "message": str(error)}
                folder.fail(key, failures[key])
                continue
            with replacing(folder.images(key)) as temporary:
                temporary.write_bytes(save_tensors(images))
            folder.save(key, result)
    return failures


def measured(cell: Cell, folder: StudyFolder) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The result of a cell, and for every test set the magnitudes of its first slice: target and image (2, y, x)."""
    training, method = _trained(cell, RunFolder(folder.run(cell.run))) if cell.is_trained else ({}, None)
    found = {name: _tested(cell, method, test) for name, test in cell.tests.items()}
    method = method or open_untrained(cell.settings)
    costs = {name: scores.pop("seconds") for name, (scores, _) in found.items() if "seconds" in scores}
    result = {
        "format": FORMAT,
        "version": VERSION,
        "key": cell.key,
        "run": cell.run,
        "code": code_version(),
        "order": cell.order,
        "settings": cell.settings,
        "weights_sha256": method.fingerprint,
        "parameters": method.parameters,
        "training": {k: v for k, v in training.items() if k != "seconds"},
        "tests": {name: scores for name, (scores, _) in found.items()},
        "costs": {"training_seconds": training.get("seconds"), "test_seconds": costs, "peak_memory_mb": _peak()},
        "machine": machine(),
        "versions": versions(),
    }
    return result, {name: image for name, (_, image) in found.items() if image is not None}


def _trained(cell: Cell, run: RunFolder) -> tuple[dict[str, Any], Method]:
    """Train, or go on, or load what is done: the record of the training and the best of its networks."""
    config = _budgeted(cell, run.path)
    run.recover()
    done = _last(run)
    if not done or done["step"] < config.steps:
        fabric = make_fabric(config)
        torch.manual_seed(config.seed)
        model = started(config.model, config.start)
        stream, validation = make_data(config)
        outcome = train(fabric, model, stream, validation, config, run, resume=run.last.exists())
        if outcome.interrupted:
            raise Interrupted(f"interrupted at step {outcome.step} of {config.steps}")
        done = _last(run)
    network = load(run.best)
    record = {"steps": config.steps, "validation": done["validation"], "seconds": done["seconds"]}
    return record, _read_as(NetworkMethod(network), network, cell.settings)


def _read_as(method: Method, network: Any, settings: dict[str, Any]) -> Method:
    """The method as `estimate` and `cascades` say. Raises ConfigError for one that cannot be read so."""
    method = _estimated(method, network, settings.get("estimate"))
    cascades = settings.get("cascades")
    return method if cascades is None else AtDepth(method, int(cascades))


def _estimated(method: Method, network: Any, estimate: str | None) -> Method:
    if estimate is None:
        return method
    if estimate == "mean" and isinstance(network, UnrolledNetwork):
        return PosteriorMean(network)
    if estimate != "sample" or not method.draws:
        raise ConfigError(f"estimate must be mean or sample, of a network that samples; got {estimate!r}")
    return OneSample(method)


def _last(run: RunFolder) -> dict[str, Any]:
    """The progress that the last checkpoint of a run holds; empty if there is none."""
    lines = run.metrics.read_text(encoding="utf-8").splitlines() if run.metrics.exists() else []
    if not (run.last / "state.json").exists():
        return {}
    state: dict[str, Any] = json.loads((run.last / "state.json").read_text(encoding="utf-8"))
    said = [entry for line in lines if (entry := _parsed(line)).get("step") == state["step"]]
    return said[-1] if said else state


def _parsed(line: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(line)
        return found
    except ValueError:  # cut off by a kill
        return {}


def _budgeted(cell: Cell, path: Path) -> TrainConfig:
    """The configuration; with a budget of seconds, as many steps as this machine takes in them, decided once."""
    config, kept = train_config(cell), path / "budget.json"
    if current_process().daemon:  # as workers of dask are: they may have no processes of their own
        config = replace(config, data=replace(config.data, workers=0))
    if "seconds" not in cell.budget:
        return config
    if not kept.exists():
        write_json(kept, {"steps": max(1, int(cell.budget["seconds"] / _seconds_a_step(config)))})
    return replace(config, steps=int(json.loads(kept.read_text(encoding="utf-8"))["steps"]))


def _seconds_a_step(config: TrainConfig) -> float:
    """The median over a dozen steps, thrown away."""
    moments: list[float] = []
    short = replace(config, steps=TIMING_STEPS, validate_every=TIMING_STEPS)
    fabric = make_fabric(short)
    model = started(config.model, config.start)
    stream, validation = make_data(short)
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        train(fabric, model, stream, validation[:1], short, run, report=lambda *_: moments.append(time.monotonic()))
    return statistics.median(after - before for before, after in pairwise(moments[1:]))


def _tested(cell: Cell, method: Method | None, test: dict[str, Any]) -> tuple[dict[str, Any], Tensor | None]:
    """The scores of a test set and the pictures of its first slice; the reason if the method cannot do it."""
    try:
        settings: dict[str, Any] = _tuned(cell, test) if cell.settings.get("tune") else {}
        method = method or open_untrained(cell.settings, settings)
        if not cell.is_trained:
            method = _read_as(method, method.module, cell.settings)
        scores: list[dict[str, Any]] = []
        pictures, nfe = None, 0
        for index, (case, person) in enumerate(as_told(test)):
            seed = seed_of(int(cell.settings["seed"]), index)
            score, trajectory = scored(method, case, seed, int(cell.settings.get("average", 1)))
            changes = structures(method, case, test["structures"], seed_of(index)) if test["structures"] else {}
            scores.append({"person": person} | score | changes)
            nfe = trajectory.nfe
            if pictures is None:
                pictures = case.problem.magnitude(torch.cat([case.image[:1], trajectory.image[:1]])).half()
        if test["samples"] and method.draws:
            judged = coverages(method, test, int(cell.settings["seed"]))
            scores = [score | row for score, row in zip(scores, judged, strict=True)]
    except LaminarError as error:
        return {"failed": str(error)}, None
    seconds = [score.pop("seconds") for score in scores]
    return {"nfe": nfe, "settings": settings, "slices": scores, "seconds": seconds}, pictures


def _tuned(cell: Cell, test: dict[str, Any]) -> dict[str, Any]:
    """The settings with the best mean PSNR over a few slices of the test's kind that the test does not hold."""
    cases = [case for case, _ in held_out(test, TUNING, TUNING_SLICES)]
    means = []
    for tried in cell.settings["tune"]:
        method = open_untrained(cell.settings, tried)
        means.append(statistics.fmean(scored(method, case, 0)[0]["psnr"] or -99.0 for case in cases))
    best: dict[str, Any] = cell.settings["tune"][means.index(max(means))]
    return best


@torch.no_grad()
def scored(method: Method, case: Case, seed: int, average: int = 1) -> tuple[dict[str, Any], Trajectory]:
    """The metrics of one slice, of the magnitude with the maximum of the target as data range, and its CPU seconds.

    `cascades` and `deviation` are the PSNR of every state and its distance from the line; what is not finite is None.
    With `average`, all is of the mean of that many samples.
    """
    started = time.process_time()
    generator = torch.Generator().manual_seed(seed)
    trajectory = method(case.problem, generator)
    for _ in range(average - 1):
        more = method(case.problem, generator)
        states = [a + b for a, b in zip(trajectory.states, more.states, strict=True)]
        trajectory = replace(trajectory, states=states, nfe=trajectory.nfe + more.nfe)
    trajectory = replace(trajectory, states=[state / average for state in trajectory.states])
    seconds = time.process_time() - started
    size = case.problem.magnitude
    target, image = size(case.image), size(trajectory.image)
    peak = target.amax((1, 2))
    score: dict[str, Any] = {
        "psnr": psnr(image, target, peak),
        "object_psnr": object_psnr(image, target, peak),
        "ssim": ssim(image, target, peak),
        "nmse": nmse(image, target),
        "cascades": torch.stack([psnr(size(state), target, peak) for state in trajectory.states]),
        "deviation": torch.cat([line_deviation(s, case.image, trajectory.source) for s in trajectory.states]),
    }
    return {name: _plain(value) for name, value in score.items()} | {"seconds": seconds}, trajectory


def _plain(value: Tensor) -> Any:
    if value.ndim:
        return [_plain(one) for one in value]
    return round(float(value), 6) if bool(value.isfinite()) else None


def _peak() -> float:
    """The largest memory of this process so far, in MB."""
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
