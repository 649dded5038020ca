"""What a study found, for programs: plain values that go into JSON, the same for equal results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from laminar.statistics import Estimate
from laminar.study.folder import Plan
from laminar.study.grid import Study
from laminar.study.summary import Arm
from laminar.study.tables import Section
from laminar.version import __version__

FORMAT, VERSION = "laminar-study-summary", 1
METRICS = ("psnr", "object_psnr", "ssim", "nmse")


def summary(plan: Plan, study: Study, arms: Sequence[Arm], asked: Mapping[str, Section]) -> dict[str, Any]:
    """Every arm with its means by seed and their intervals, and what the questions' tables say; null: not known."""
    said = {name: {"title": s.title, "answer": s.sentence, "head": s.head, "rows": s.rows} for name, s in asked.items()}
    head = {"format": FORMAT, "version": VERSION, "laminar": __version__, "code": plan.code}
    return {**head, "declared": plan.declared, "arms": [_arm(arm, study) for arm in arms], "questions": said}


def _arm(arm: Arm, study: Study) -> dict[str, Any]:
    first = arm.first
    return {
        "labels": dict(arm.labels),
        "parameters": None if first is None else first["parameters"],
        "failed": {str(seed): failure["message"] for seed, failure in sorted(arm.failures.items())},
        "diverged": _estimate(arm.diverged),
        "tests": {test: _scores(arm, test) for test in study.tests},
    }


def _scores(arm: Arm, test: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for metric in METRICS:
        scores, seeds = arm.scores(test, metric), [str(seed) for seed in sorted(arm.distinct)]
        if scores is not None:
            means = [_finite(value) for value in scores.table.mean(1).tolist()]
            found[metric] = _estimate(scores.mean) | {"by seed": dict(zip(seeds, means, strict=True))}
    return found | ({"deviation of psnr over seeds": _estimate(arm.deviation(test))} if found else {})


def _estimate(found: Estimate) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in found._asdict().items()}


def _finite(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
