"""What a study says in tables: the same for Markdown and for the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from laminar.statistics import Estimate
from laminar.study.folder import Plan, StudyFolder
from laminar.study.grid import Question, Study, matches
from laminar.study.summary import (
    Arm,
    difference,
    memory,
    partner,
    slice_seconds,
    step_seconds,
    training_seconds,
    unpaired_orders,
)

Rows = list[list[str]]


@dataclass(frozen=True)
class Section:
    """A heading, a sentence that answers it, and a table whose first `words` columns are words."""

    title: str
    sentence: str
    head: list[str]
    rows: Rows
    words: int = 1


INTERVALS = (
    "Intervals hold 95 %: of means and differences by a bootstrap over training seeds, persons and slices at once, of "
    "deviations by chi-squared, of shares by Wilson. Differences are paired by seed and slice."
)


def quality(arms: Sequence[Arm], study: Study) -> list[Section]:
    """One table a test set."""
    return [_quality(test, arms, study) for test in study.tests]


def _quality(test: str, arms: Sequence[Arm], study: Study) -> Section:
    head = ["arm", "seeds", "parameters", "NFE", "PSNR (dB)", "SSIM", "NMSE", "deviation over seeds (dB)", "diverged"]
    compared = ", ".join(map(str, study.reference.values()))
    rows = []
    for arm in arms:
        first = arm.first
        scores = {metric: arm.scores(test, metric) for metric in ("psnr", "ssim", "nmse")}
        cells = [arm.name, str(len(arm.distinct))]
        cells += ["–", "–"] if first is None else [f"{first['parameters']:,}", _nfe(arm, test)]
        digits = {"psnr": 2, "ssim": 4, "nmse": 4}
        cells += ["–" if s is None else estimate(s.mean, digits[metric]) for metric, s in scores.items()]
        cells += [estimate(arm.deviation(test)), share(arm)]
        if study.reference:
            other = partner(arm, study.reference, arms)
            cells.append(estimate(difference(other, arm, test), sign=True) if other else "")
        rows.append(cells)
    head += [f"{compared} − this (dB)"] if study.reference else []
    why = {a.name: r["tests"][test]["failed"] for a in arms if (r := a.first) and "failed" in r["tests"].get(test, {})}
    said = "; ".join(f"{name}: {reason}" for name, reason in why.items())
    return Section(f"Test set: {test}", said, head, rows)


def costs(arms: Sequence[Arm]) -> Section:
    """Seconds and memory, which no other machine has."""
    kinds = (
        (training_seconds, 1, 1.0),
        (step_seconds, 1, 1e3),
        (slice_seconds, 3, 1.0),
        (memory, 0, 1.0),
    )
    rows = []
    for arm in arms:
        values = [(arm.cost(of), places, unit) for of, places, unit in kinds]
        rows.append([arm.name, *("–" if v is None else f"{v * unit:.{places}f}" for v, places, unit in values)])
    head = ["arm", "training (s)", "a step (ms)", "a test slice (s)", "peak memory (MB)"]
    return Section("Time and memory", "Medians over seeds, on the machines that computed the cells.", head, rows)


def answers(arms: Sequence[Arm], study: Study) -> dict[str, Section]:
    """One table a question, by its name."""
    makers: dict[str, Callable[[Question, Sequence[Arm], Study], Section]] = {
        "difference": _differences,
        "deviation": _deviations,
        "mean": _means,
        "cost": _costs,
    }
    return {name: makers[question.measure](question, arms, study) for name, question in study.questions.items()}


def _asked(question: Question, arms: Sequence[Arm]) -> list[Arm]:
    return [arm for arm in arms if matches(arm.labels, question.select)]


def _differences(question: Question, arms: Sequence[Arm], study: Study) -> Section:
    rows: Rows = []
    found: list[Estimate] = []
    for arm in _asked(question, arms):
        if (other := partner(arm, question.against, arms)) is None:
            continue
        for test in question.tests or study.tests:
            if (gap := difference(arm, other, test, question.metric)) is None:
                rows.append([arm.name, other.name, test, "not measured yet"])
                continue
            found.append(gap)
            rows.append([arm.name, other.name, test, estimate(gap, _digits(question.metric), sign=True)])
    unit = " (dB)" if question.metric.endswith("psnr") else ""
    head = ["arm", "against", "test set", f"difference in {question.metric}{unit}"]
    return Section(question.title, _said_of_differences(found, len(rows), question.metric), head, rows, words=3)


def _said_of_differences(found: Sequence[Estimate], asked: int, metric: str) -> str:
    if not found:
        return f"Open: none of {asked} comparisons has been measured."
    values, places = [gap.value for gap in found], _digits(metric)
    better, worse = sum(gap.low > 0 for gap in found), sum(gap.high < 0 for gap in found)
    said = f"The difference runs from {min(values):+.{places}f} to {max(values):+.{places}f}: of {asked} comparisons "
    said += f"{better} are clear of zero above and {worse} below, {len(found) - better - worse} are open"
    return said + (f", {asked - len(found)} not measured yet." if asked > len(found) else ".")


def _deviations(question: Question, arms: Sequence[Arm], study: Study) -> Section:
    rows: Rows = []
    values: list[float] = []
    asked = _asked(question, arms)
    for arm in asked:
        for test in question.tests or study.tests:
            found = arm.deviation(test, question.metric)
            values += [found.value] if math.isfinite(found.value) else []
            rows.append([arm.name, test, str(len(arm.distinct)), estimate(found, 3), share(arm)])
    head = ["arm", "test set", "seeds", f"deviation over seeds of {question.metric}", "diverged"]
    runs = sum(len(arm.distinct) + len(arm.failures) for arm in asked)
    lost = sum(_diverged(arm) for arm in asked)
    said = f"runs from {min(values):.3f} to {max(values):.3f}" if values else "is open, for no arm has two seeds yet"
    said = f"The deviation over seeds {said}; {lost} of {runs} runs diverged."
    return Section(question.title, said, head, rows, words=2)


def _means(question: Question, arms: Sequence[Arm], study: Study) -> Section:
    rows: Rows = []
    values: list[float] = []
    for arm in _asked(question, arms):
        for test in question.tests or study.tests:
            scores = arm.scores(test, question.metric)
            values += [] if scores is None else [scores.mean.value]
            rows.append([arm.name, test, "–" if scores is None else estimate(scores.mean, 3)])
    said = (
        f"The mean runs from {min(values):.3f} to {max(values):.3f}." if values else "Open: nothing has been measured."
    )
    return Section(question.title, said, ["arm", "test set", question.metric], rows, words=2)


def _costs(question: Question, arms: Sequence[Arm], study: Study) -> Section:
    rows: Rows = []
    ratios: list[float] = []
    for arm in _asked(question, arms):
        other = partner(arm, question.against, arms) if question.against else None
        cells = [arm.name, other.name if other else ""]
        for of in (step_seconds, slice_seconds, memory):
            mine, theirs = arm.cost(of), other.cost(of) if other else None
            cells.append("–" if mine is None or not theirs else f"{mine / theirs:.2f}")
            if of is step_seconds and mine is not None and theirs:
                ratios.append(mine / theirs)
        if other:
            rows.append(cells)
    head = ["arm", "over", "a training step", "a test slice", "peak memory"]
    said = "Open: nothing has been measured."
    if ratios:
        said = f"A training step takes {min(ratios):.2f} to {max(ratios):.2f} times as long."
    return Section(question.title, said, head, rows, words=2)


def state(folder: StudyFolder, plan: Plan, arms: Sequence[Arm]) -> Section:
    """What the report is of, and what it is not: cells that failed, cannot be, are missing or of another version."""
    rows: Rows = [[p.name, "cannot be", p.error] for p in plan.places if p.error is not None]
    for key in plan.cells:
        if folder.result(key) is None:
            failure = folder.failure(key)
            rows.append([plan.name_of(key), *(("failed", failure["message"]) if failure else ("not computed", ""))])
    done = sum(folder.result(key) is not None for key in plan.cells)
    said = f"{done} of {len(plan.cells)} cells are computed, with code {plan.code}."
    if others := folder.others(plan):
        said += (
            f" {len(others)} results of other code, data or settings lie beside them and are not part of this report."
        )
    if unequal := list(unpaired_orders(arms)):
        said += (
            f" Not all trainings of seed {', '.join(unequal)} saw the same data in the same order: an axis changes it."
        )
    return Section("State", said, ["cell", "is", "because"], rows, words=3)


def estimate(found: Estimate | None, places: int = 2, sign: bool = False) -> str:
    """A number with its interval, where there is one."""
    if found is None or not math.isfinite(found.value):
        return "–"
    value, low, high = (f"{v:{'+' if sign else ''}.{places}f}" for v in found)
    return f"{value} [{low}, {high}]" if math.isfinite(found.low) else value


def share(arm: Arm) -> str:
    runs = len(arm.distinct) + len(arm.failures)
    return f"{_diverged(arm)} of {runs}" if runs else "–"


def _diverged(arm: Arm) -> int:
    runs = len(arm.distinct) + len(arm.failures)
    return round(arm.diverged.value * runs) if runs else 0


def markdown(title: str, sections: Sequence[Section]) -> str:
    """A document of sections."""
    parts = [f"# {title}\n", "<!-- laminar study -->\n", f"{INTERVALS}\n"]
    for section in sections:
        parts.append(f"## {section.title}\n")
        parts += [f"{section.sentence}\n"] if section.sentence else []
        parts += [_table(section)] if section.rows else []
    return "\n".join(parts)


def _table(section: Section) -> str:
    align = ["---" if i < section.words else "---:" for i in range(len(section.head))]
    lines = [section.head, align, *section.rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _nfe(arm: Arm, test: str) -> str:
    assert arm.first is not None
    return str(arm.first["tests"].get(test, {}).get("nfe", "–"))


def _digits(metric: str) -> int:
    return 2 if metric.endswith("psnr") else 4
