"""The table of docs/evidence.md for `benchmarks.tables`: the claims of the paper, and what `results/*.json` say."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.record import markdown, result
from laminar.statistics import deviation_interval


def evidence() -> str:
    header = ["claim for FLAT", "measured so far", "verdict", "made again by"]
    return markdown(header, _rows())


def _rows() -> Iterator[list[str]]:
    presets, comparison = result("presets")["results"], result("comparison")["worlds"]
    gap = presets["E2E-VarNet"]["FLAT minus this (dB)"]
    modl = presets["MoDL, unshared"]["FLAT minus this (dB)"]
    yield [
        "+2.1, +1.8, +2.4 dB over the plain unrolled network on knee, brain, heart",
        "simulated brains, R = 4 to 6, equal size, 600 steps, 3 seeds: "
        f"{_dB(gap)} over E2E-VarNet, {_dB(modl)} over MoDL",
        "half of it on one anatomy; knee, heart, R = 8 and 12 are not measured",
        "`study run benchmarks/studies/presets.yaml`; all of it: `small.yaml`",
    ]
    yield [
        "the same at equal wall time",
        "; ".join(f"{world}: {_range(_of(found, 'E2E-VarNet'))} dB over E2E-VarNet in k-space, "
                  f"{_range(_of(found, 'MoDL'))} dB over MoDL" for world, found in comparison.items()),
        "over E2E-VarNet it holds at R = 4 alone; not over MoDL",
        "`study run benchmarks/studies/comparison.yaml`",
    ]  # fmt: skip
    spread = {name: deviation_interval(row["psnr by seed"]) for name, row in presets.items()}
    yield [
        "deviation over 10 seeds under 0.3 dB, where the plain network has 1.2",
        "3 seeds [95 %]: "
        + "; ".join(f"{n} {v:.2f} [{low:.2f}, {high:.2f}] dB" for n, (v, low, high) in spread.items()),
        "below 0.3 dB for FLAT; the plain network does not have 1.2; 10 seeds and failures are not measured",
        "`small.yaml`, question (b); three learning rates: `ablation.yaml`",
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
    yield [
        "quality of diffusion with a third of the steps (10 against 30)",
        "; ".join(f"{world}, R = {row['R']}: {_triple(row['FLAT minus this (dB)'])} dB over DDS of 99 NFE"
                  for world, found in comparison.items() for row in _of(found, "dds, 99 NFE")),
        "holds with 6 NFE, against single draws of a prior of five minutes; a retrained prior is not measured",
        "`comparison.yaml`; with a retrained prior: `small.yaml`, question (g)",
    ]  # fmt: skip
    ratios = [dds["seconds"] / flat["seconds"] for found in comparison.values()
              for dds, flat in zip(_of(found, "dds, 19 NFE"), _of(found, "FLAT"), strict=True)]  # fmt: skip
    yield [
        "up to 70 % less time",
        f"{100 * (1 - 1 / max(ratios)):.0f} % less than DDS of 19 NFE",
        "holds",
        "`comparison.yaml`",
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
        "ablation of every part; cascades, solvers, learned steps; robustness; measured scans of ten seeds",
        "nothing yet",
        "open",
        "`ablation.yaml`, `depth.yaml`, `small.yaml`",
    ]


def _of(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [row for row in found["rows"] if row["method"] == name]


def _dB(value: dict[str, float]) -> str:
    return f"{value['mean']:+.2f} [{value['low']:+.2f}, {value['high']:+.2f}] dB"


def _triple(value: list[float]) -> str:
    return f"{value[0]:+.2f} [{value[1]:+.2f}, {value[2]:+.2f}]"


def _range(rows: list[dict[str, Any]]) -> str:
    return " and ".join(f"{_triple(row['FLAT minus this (dB)'])} (R = {row['R']})" for row in rows)


def _percent(ratios: list[float]) -> str:
    return f"{100 * (statistics.median(ratios) - 1):+.1f} %"
