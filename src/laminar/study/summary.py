"""The arms of a study, which are its points without their seeds, and what their results say."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laminar.statistics import Estimate, crossed_interval, deviation_interval, share_interval
from laminar.study.folder import Plan, StudyFolder
from laminar.study.grid import Labels, Selection

Result = dict[str, Any]
NOT_KNOWN = Estimate(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Scores:
    """A metric (seed, slice) of an arm on a test set, NaN where it is not finite, and whose the slices are."""

    table: NDArray[np.float64]
    persons: list[str]

    @property
    def mean(self) -> Estimate:
        return crossed_interval(self.table, self.persons)


@dataclass(frozen=True)
class Arm:
    """The results of one place of the grid by seed, and how those ended that have none.

    Seeds that share one cell, as of a method without randomness, share one result.
    """

    labels: Labels
    results: dict[int, Result]
    failures: dict[int, dict[str, Any]]

    @property
    def name(self) -> str:
        return ", ".join(self.labels.values()) or "the one arm"

    @property
    def distinct(self) -> dict[int, Result]:
        """One seed for each cell."""
        return dict({result["key"]: (seed, result) for seed, result in reversed(self.results.items())}.values())

    @property
    def first(self) -> Result | None:
        return next(iter(self.results.values()), None)

    def scores(self, test: str, metric: str = "psnr", seeds: Sequence[int] | None = None) -> Scores | None:
        """The metric of these seeds, by default of each cell once; None if a seed has none or there are none."""
        chosen = sorted(self.distinct) if seeds is None else seeds
        tests = [self.results[seed]["tests"].get(test, {}) for seed in chosen]
        if not tests or any(metric not in one for found in tests for one in found.get("slices", [{}])):
            return None
        rows = [[_number(one[metric]) for one in found["slices"]] for found in tests]
        return Scores(np.array(rows), [one["person"] for one in tests[0]["slices"]])

    def curve(self, test: str, what: str = "cascades") -> list[Estimate] | None:
        """The mean of every state over seeds and slices; None where the numbers of states differ."""
        found = [result["tests"].get(test, {}).get("slices") for result in self.distinct.values()]
        lengths = {len(one[what]) for slices in found if slices for one in slices}
        if not found or None in found or len(lengths) != 1:
            return None
        persons = [one["person"] for one in found[0]]
        states = np.array([[[_number(value) for value in one[what]] for one in slices] for slices in found])
        return [crossed_interval(states[..., k], persons) for k in range(lengths.pop())]

    def deviation(self, test: str, metric: str = "psnr") -> Estimate:
        """The standard deviation over seeds of the mean over slices."""
        scores = self.scores(test, metric)
        return NOT_KNOWN if scores is None else deviation_interval(scores.table.mean(1))

    @property
    def diverged(self) -> Estimate:
        """The share of ended runs whose loss or image was not finite."""
        bad = sum(failure["kind"] == "TrainingError" for failure in self.failures.values())
        bad += sum(_is_broken(result) for result in self.distinct.values())
        return share_interval(bad, len(self.distinct) + len(self.failures))

    def cost(self, of: Callable[[Result], float | None]) -> float | None:
        """The median over cells of a cost; None if there is none."""
        values = [value for result in self.distinct.values() if (value := of(result)) is not None]
        return statistics.median(values) if values else None


def training_seconds(result: Result) -> float | None:
    seconds: float | None = result["costs"]["training_seconds"]
    return seconds


def step_seconds(result: Result) -> float | None:
    seconds = training_seconds(result)
    return None if seconds is None else seconds / result["training"]["steps"]


def slice_seconds(result: Result) -> float | None:
    """The median of all test slices."""
    values = [value for each in result["costs"]["test_seconds"].values() for value in each]
    return statistics.median(values) if values else None


def memory(result: Result) -> float | None:
    value: float = result["costs"]["peak_memory_mb"]
    return value


def arms_of(folder: StudyFolder, plan: Plan) -> list[Arm]:
    """Every arm in the order of the grid, those without a result too."""
    found: dict[tuple[str, ...], Arm] = {}
    for place in plan.places:
        arm = found.setdefault(tuple(place.labels.values()), Arm(place.labels, {}, {}))
        if place.key is None:
            continue
        if (result := folder.result(place.key)) is not None:
            arm.results[place.seed] = result
        elif (failure := folder.failure(place.key)) is not None:
            arm.failures[place.seed] = failure
    return list(found.values())


def partner(arm: Arm, against: Selection, arms: Sequence[Arm]) -> Arm | None:
    """The arm with the levels of `against` in place of its own; None if that is itself or not there."""
    labels = arm.labels | {axis: str(level) for axis, level in against.items()}
    return next((other for other in arms if other.labels == labels and other.labels != arm.labels), None)


def difference(arm: Arm, other: Arm, test: str, metric: str = "psnr") -> Estimate | None:
    """Arm minus other on the same slices and seeds; None if they share none."""
    seeds = _paired_seeds(arm, other)
    a, b = arm.scores(test, metric, seeds), other.scores(test, metric, seeds)
    if a is None or b is None or a.persons != b.persons:
        return None
    return crossed_interval(a.table - b.table, a.persons)


def _paired_seeds(arm: Arm, other: Arm) -> list[int]:
    """The seeds that both have, those whose pair of cells is the same once."""
    shared = sorted(set(arm.results) & set(other.results))
    return list({(arm.results[s]["key"], other.results[s]["key"]): s for s in reversed(shared)}.values())[::-1]


def unpaired_orders(arms: Sequence[Arm]) -> Iterator[str]:
    """Seeds whose trainings did not all see the same data in the same order."""
    seen: dict[int, set[str]] = {}
    for arm in arms:
        for seed, result in arm.results.items():
            if result["order"]:
                seen.setdefault(seed, set()).add(result["order"])
    yield from (str(seed) for seed, orders in sorted(seen.items()) if len(orders) > 1)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _is_broken(result: Result) -> bool:
    slices = (one for test in result["tests"].values() for one in test.get("slices", []))
    return any(one["ssim"] is None for one in slices)
