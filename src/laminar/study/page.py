"""The page of a study, one self-contained HTML file, and its tables as Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from laminar.audit_page.charts import Series, line_chart
from laminar.audit_page.markup import Markup, document, join, table, tag
from laminar.audit_page.pictures import ERROR_FACTOR, picture
from laminar.audit_page.style import CSS
from laminar.figures import check_drawable
from laminar.figures.pixels import gray, heat, white_level
from laminar.files import replacing, write_json
from laminar.study.folder import Plan, StudyFolder
from laminar.study.grid import Study
from laminar.study.record import summary
from laminar.study.summary import Arm, Result, arms_of, slice_seconds
from laminar.study.tables import INTERVALS, Section, answers, costs, markdown, quality, state

FILES = REPORT, TABLES, COSTS, SUMMARY = "report.html", "tables.md", "costs.md", "summary.json"


def write_report(folder: StudyFolder, out: Path) -> list[Path]:
    """Write the page, the tables of quality and those of time, and the numbers for programs; their paths.

    Equal results give equal files. Raises ConfigError if the folder holds no study, MissingExtraError without
    matplotlib.
    """
    check_drawable()
    plan = folder.plan()
    study, arms = plan.study, arms_of(folder, plan)
    asked = answers(arms, study)
    timed = {name: section for name, section in asked.items() if study.questions[name].measure == "cost"}
    told = {name: section for name, section in asked.items() if name not in timed}
    texts = {
        REPORT: _page(folder, plan, study, arms, list(asked.values())),
        TABLES: markdown(study.name, [*told.values(), *quality(arms, study), state(folder, plan, arms)]),
        COSTS: markdown(f"{study.name}: time and memory", [*timed.values(), costs(arms)]),
    }
    for name, text in texts.items():
        with replacing(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    write_json(out / SUMMARY, summary(plan, study, arms, told))
    return [out / name for name in FILES]


def _page(folder: StudyFolder, plan: Plan, study: Study, arms: Sequence[Arm], asked: Sequence[Section]) -> str:
    head = [tag("p", "Study", class_="kicker"), tag("h1", study.name), tag("p", INTERVALS, class_="lead")]
    tests = [(_section(found), _figures(test, folder, plan, arms)) for test, found in _by_test(arms, study)]
    content = [head, map(_section, asked), tests, _section(costs(arms)), _section(state(folder, plan, arms))]
    return document(study.name, CSS, [list(part) if isinstance(part, map) else part for part in content])


def _by_test(arms: Sequence[Arm], study: Study) -> list[tuple[str, Section]]:
    return list(zip(study.tests, quality(arms, study), strict=True))


def _section(section: Section) -> Markup:
    said = tag("p", section.sentence, class_="notice") if section.sentence else None
    rows: list[list[Any]] = [list(row) for row in section.rows]
    return join(tag("h2", section.title), said, table(list(section.head), rows, words=section.words) if rows else None)


def _figures(test: str, folder: StudyFolder, plan: Plan, arms: Sequence[Arm]) -> Markup:
    by_nfe = _scatter("PSNR (dB) against evaluations", test, arms, lambda r: r["tests"][test].get("nfe"), "NFE")
    by_time = _scatter("PSNR (dB) against seconds", test, arms, slice_seconds, "seconds a slice")
    charts = [_curves(test, arms), by_nfe, by_time]
    return join(tag("div", [chart for chart in charts if chart], class_="pair"), _pictures(test, folder, plan, arms))


def _color(index: int) -> dict[str, Any]:
    """Three colors, then the same dashed."""
    return {"color": "abc"[index % 3], "dashed": bool(index // 3 % 2)}


def _curves(test: str, arms: Sequence[Arm]) -> Markup | None:
    """PSNR of every state, with bands."""
    found = [(arm.name, curve) for arm in arms if (curve := arm.curve(test)) is not None and len(curve) > 2]
    if not found:
        return None
    series = [
        Series(
            name,
            [point.value if math.isfinite(point.value) else None for point in curve],
            band=[(p.low, p.high) if math.isfinite(p.low) else None for p in curve],
            **_color(index),
        )
        for index, (name, curve) in enumerate(found)
        if len(curve) <= 60
    ]
    longest = max((len(line.values) for line in series), default=0)
    return line_chart("PSNR (dB) after each cascade", series, list(map(str, range(longest))), x_title="cascade")


def _scatter(
    title: str, test: str, arms: Sequence[Arm], of: Callable[[Result], float | None], x_title: str
) -> Markup | None:
    """One point an arm over the logarithm of what it costs."""
    found = []
    for arm in arms:
        scores, cost = arm.scores(test), arm.cost(of) if arm.scores(test) is not None else None
        if scores is not None and cost and math.isfinite(scores.mean.value):
            found.append((cost, arm.name, scores.mean.value))
    if not found:
        return None
    places = sorted({cost for cost, _, _ in found})
    low, high = math.log(places[0]), math.log(places[-1])
    positions = [(math.log(cost) - low) / (high - low) if high > low else 0.5 for cost in places]
    series = [
        Series(name, [value if cost == place else None for place in places], **_color(index))
        for index, (cost, name, value) in enumerate(found)
    ]
    return line_chart(
        title, series, [f"{p:.3g}" for p in places], x_title=f"{x_title}, logarithmic", positions=positions
    )


def _pictures(test: str, folder: StudyFolder, plan: Plan, arms: Sequence[Arm]) -> Markup | None:
    """The first slice of the test set by every arm, in the window of the target, and its error below."""
    cells: list[Markup] = []
    for arm in arms:
        image = _image(test, folder, arm)
        if image is None:
            continue
        target, shown = image
        white = white_level(target)
        if not cells:
            cells.append(tag("div", picture(gray(target, white), "target", "of all samples")))
        error = picture(heat(np.abs(shown - target), white / ERROR_FACTOR))
        cells.append(tag("div", picture(gray(shown, white), arm.name, _said(arm, test)), error))
    if not cells:
        return None
    said = f"The first slice, and below it its error, enlarged {ERROR_FACTOR} times, in the window of the target."
    return join(tag("p", said), tag("div", cells, class_="strip"))


def _image(test: str, folder: StudyFolder, arm: Arm) -> tuple[Any, Any] | None:
    if arm.first is None or not folder.images(arm.first["key"]).exists():
        return None
    pair = load_file(folder.images(arm.first["key"])).get(test)
    return None if pair is None else (pair[0].astype(np.float32), pair[1].astype(np.float32))


def _said(arm: Arm, test: str) -> str:
    scores = arm.scores(test)
    return "" if scores is None else f"{scores.table[0, 0]:.2f} dB"
