"""The table of docs/evidence.md for `benchmarks.tables`: the claims of the paper, and what `results/*.json` say."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.record import gain, markdown, result

COMPARED = ("E2E-VarNet", "MoDL", "FLAT")
"""The networks of core.yaml that are to have ten seeds."""


def evidence() -> str:
    header = ["claim for FLAT", "measured so far", "verdict", "made again by"]
    return markdown(header, _rows())


def _rows() -> Iterator[list[str]]:
    comparison = result("comparison")["worlds"]
    core = result("core/summary")
    yield [
        "+2.1, +1.8, +2.4 dB over the plain unrolled network on knee, brain, heart",
        f"simulated, equal size and losses: [1600 steps](#longer) by Muon, 1 to 2 seeds, and [400 steps](#ten-seeds) "
        f"by Adam, {_seeds(core)} seeds",
        "after 1600 steps it holds at R = 4 on brains and hearts, half of it at R = 8, and is open on knee-like "
        "phantoms; after 400 steps it does not hold",
        "`study run benchmarks/studies/longer.yaml`; `core.yaml`; R = 12: `shifted.yaml`",
    ]
    yield [
        "the same at equal wall time",
        "; ".join(f"{world}: {_range(_of(found, 'E2E-VarNet'))} dB over E2E-VarNet in k-space, "
                  f"{_range(_of(found, 'MoDL'))} dB over MoDL" for world, found in comparison.items()),
        "over E2E-VarNet it holds at R = 4, at R = 8 on simulated brains alone; not over MoDL",
        "`study run benchmarks/studies/comparison.yaml`",
    ]  # fmt: skip
    yield [
        "deviation over 10 seeds under 0.3 dB, where the plain network has 1.2",
        f"{_seeds(core)} seeds, over six test sets: {'; '.join(_deviations(core))}; after 200 steps, two seeds, at "
        "[three learning rates](#three-learning-rates) FLAT up to 0.04 dB, the plain network up to 0.43; none of 60 "
        "trainings diverged",
        "below 0.3 dB for FLAT, of which one interval reaches 0.35; the plain network has not 1.2, but as little, "
        "and more in the first minutes of training",
        "`core.yaml`, question (b); `ablation.yaml`",
    ]
    arms = result("alignment")["results"]
    aligned, free = arms["flow, line 0.1"], arms["free"]
    freely = statistics.fmean(arms["free, line 0.1"]["psnr by seed"]) - statistics.fmean(free["psnr by seed"])
    yield [
        "alignment improves the image",
        f"R = 4 to 6: {_dB(aligned['minus flow (dB)'])} over the same without it; shifted: "
        f"{_dB(aligned['shifted minus flow (dB)'])}",
        f"does not hold here; without coefficients of a flow {freely:+.2f} dB",
        "`study run benchmarks/studies/alignment.yaml`",
    ]
    yield [
        "coefficients of a flow improve the image",
        f"free weights minus flow: {_dB(free['minus flow (dB)'])}; shifted: {_dB(free['shifted minus flow (dB)'])}",
        "not on data as trained; on shifted data it holds",
        "`study run benchmarks/studies/alignment.yaml`",
    ]
    ships = result("diffusion/summary")
    yield [
        "quality of diffusion with a third of the steps (10 against 30)",
        "; ".join(f"{world}, R = {row['R']}: {_triple(row['FLAT minus this (dB)'])} dB over DDS of 99 NFE"
                  for world, found in comparison.items() for row in _of(found, "dds, 99 NFE"))
        + f"; the models that ship, over single draws of DDS of 99 NFE {_answer(ships, 'g')}, over means of four "
        f"draws of 19 NFE {_answer(ships, 'g2')}",
        "holds with 6 NFE against single draws; against means of four draws with the models that ship (a prior of 8.5 "
        "minutes of a GPU), and not with a prior of five minutes of a core, with which they are level",
        "`comparison.yaml`; the models that ship: `diffusion.yaml`",
    ]  # fmt: skip
    ratios = [dds["seconds"] / flat["seconds"] for found in comparison.values()
              for dds, flat in zip(_of(found, "dds, 19 NFE"), _of(found, "FLAT"), strict=True)]  # fmt: skip
    yield [
        "up to 70 % less time",
        f"{100 * (1 - 1 / min(ratios)):.0f} to {100 * (1 - 1 / max(ratios)):.0f} % less than DDS of 19 NFE; the models "
        "that ship: [0.16 s against 0.52](../results/diffusion/costs.md), and 2.53 with 99 NFE",
        "holds; for the models that ship 68 % (19 NFE) to 94 % (99 NFE)",
        "`comparison.yaml`, `diffusion.yaml`",
    ]
    overhead = result("alignment_overhead")["ratios"]
    parts = [f"{name.removeprefix('line, ')} {_percent(values)}" for name, values in overhead.items() if name != "none"]
    yield [
        "training at most 15 % longer",
        f"a step takes, by the form of alignment: {', '.join(parts)} longer",
        "holds",
        "`python -m benchmarks.overhead`",
    ]
    yield [
        "what each part does; robustness; measured scans",
        "[the parts](#the-parts-of-flat), [other scans than those of training](#where-training-was-otherwise); the "
        "shipped model: docs/model-card.md",
        "after 400 steps the source helps and the rest of FLAT changes little; after 1600 (1 to 2 seeds) the flow's "
        "coefficients help at R = 4, and rather the proximal steps at R = 8",
        "`parts.yaml`, `longer_parts.yaml`, `shifted.yaml`, `ablation.yaml`",
    ]


def _answer(study: dict[str, Any], question: str) -> str:
    """The differences of a question, by test set."""
    return ", ".join(f"{row[2]}: {row[3]}" for row in study["questions"][question]["rows"]) + " dB"


def _arms(core: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {arm["labels"]["method"]: arm for arm in core["arms"]}


def _seeds(core: dict[str, Any]) -> str:
    """How many each of the networks has that are compared over all: `10` or `8 to 10`."""
    tests = [_arms(core)[name]["tests"] for name in COMPARED]
    counts = sorted(len(next(iter(found.values()))["psnr"]["by seed"]) for found in tests)
    return str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"


def _deviations(core: dict[str, Any]) -> Iterator[str]:
    """From the least to the most of all test sets, and how many runs diverged."""
    arms = _arms(core)
    for name in COMPARED:
        values = [test["deviation of psnr over seeds"]["value"] for test in arms[name]["tests"].values()]
        diverged = 100 * arms[name]["diverged"]["value"]
        yield f"{name} {min(values):.2f} to {max(values):.2f} dB, {diverged:.0f} % diverged"


def _of(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [row for row in found["rows"] if row["method"] == name]


def _dB(value: dict[str, float]) -> str:
    return f"{gain(value)} dB"


def _triple(value: list[float]) -> str:
    return f"{value[0]:+.2f} [{value[1]:+.2f}, {value[2]:+.2f}]"


def _range(rows: list[dict[str, Any]]) -> str:
    return " and ".join(f"{_triple(row['FLAT minus this (dB)'])} (R = {row['R']})" for row in rows)


def _percent(ratios: list[float]) -> str:
    return f"{100 * (statistics.median(ratios) - 1):+.1f} %"
