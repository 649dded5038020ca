"""Put the tables of `results/*.json` into the documents: `python -m benchmarks.tables`.

A table stands between the lines `<!-- table: NAME -->` and `<!-- end -->`. A test checks that the documents hold what
the results say.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import exactness
from benchmarks.evidence import evidence
from benchmarks.geometries import SHIPPED
from benchmarks.method_tables import METHOD_TABLES
from benchmarks.record import RESULTS, gain, markdown, result
from benchmarks.study_tables import STUDY_TABLES
from benchmarks.trust_tables import TRUST_TABLES
from laminar.flow import DATA_STEPS

ROOT = RESULTS.parent
DOCUMENTS = [
    ROOT / "README.md",
    *(
        ROOT / "docs" / f"{name}.md"
        for name in (
            "model-card",
            "theory",
            "audit",
            "performance",
            "methods",
            "uncertainty",
            "evidence",
            "geometries",
            "self-supervised",
        )
    ),
]
AUDITED = {
    "e2e-varnet": "E2E-VarNet, image domain",
    "modl": "MoDL, unshared",
    "flat": "FLAT",
    "fastmri-varnet": "`fastmri` VarNet",
    "default": "FLAT, shipped",
}
PLACE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def measured(reference: str) -> str:
    results, rows = result("measured_scans")["results"], []
    entries = [row[reference] for by in results.values() for row in by.values() if "failed" not in row]
    others = [m for m in ("total variation", "BART pics -l1") if all(m in entry for entry in entries)]
    methods = ("zero-filled", "CG-SENSE", "L1-wavelet", *others, "FLAT")
    gains = [f"FLAT - {m} (dB)" for m in methods[1:-1]]
    for scan, by_acceleration in results.items():
        for acceleration, row in by_acceleration.items():
            if "failed" in row:
                said = "no such mask: 14 calibration lines are more than all"
                rows.append([scan, acceleration, said, *[""] * (len(methods) + len(gains) - 1)])
                continue
            entry = row[reference]
            cells = [
                f"{entry[m]['psnr']:.2f} / {entry[m]['object_psnr']:.2f} / {entry[m]['ssim']:.3f}" for m in methods
            ]
            rows.append([scan, acceleration, *cells, *(gain(entry[name]) for name in gains)])
    header = [
        "scan",
        "R",
        "zero-filled",
        "CG-SENSE, best weight",
        "L1-wavelet",
        *others,
        "FLAT (shipped)",
        *(f"FLAT − {name}, dB [95 %]" for name in methods[1:-1]),
    ]
    return markdown(header, rows)


def presets() -> str:
    rows = [
        [
            name,
            f"{row['parameters']:,}",
            " ".join(f"{value:.2f}" for value in row["psnr by seed"]),
            f"{row['ssim']:.4f}",
            "" if name == "FLAT" else gain(row["FLAT minus this (dB)"]),
            f"{row['seconds']:.0f}",
            " ".join(f"{value:.1f}" for value in row["psnr per cascade"]),
        ]
        for name, row in result("presets")["results"].items()
    ]
    header = [
        "network",
        "parameters",
        "PSNR by seed (dB)",
        "SSIM",
        "FLAT − this, dB [95 %]",
        "seconds",
        "source, then each cascade",
    ]
    return markdown(header, rows)


def accelerator() -> str:
    rows = result("accelerator")["rows"]
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = [[name, *(f"{row[c]:.3f}" if c in row else "" for c in columns)] for name, row in rows.items()]
    return markdown(["seconds a slice", *columns], lines)


def exact_solves() -> str:
    return markdown(list(exactness.HEADER), exactness.lines(result("exactness")["gains (dB)"]))


def varnet() -> str:
    medians = result("varnet")["medians"]
    base = medians["fastmri VarNet"]
    rows = [
        [
            name,
            f"{row['parameters'] / 1e6:.1f} M",
            f"{row['seconds']:.2f}",
            f"{row['memory_mb']:.0f}",
            f"{row['seconds'] / base['seconds']:.2f}",
            f"{row['memory_mb'] / base['memory_mb']:.2f}",
        ]
        for name, row in medians.items()
    ]
    return markdown(["network", "parameters", "seconds", "memory (MB)", "time ratio", "memory ratio"], rows)


def cascades() -> str:
    """The closed form of every data step, from where the network looks it up."""
    rows = [[f"`{name}`", f"${step.update}$", f"${step.formula}$", step.reading] for name, step in DATA_STEPS.items()]
    return markdown(["data step", "one cascade", "coefficient", "reading"], rows)


def gaussian_world() -> str:
    rows: dict[int, list[str]] = {}
    for row in result("gaussian_world")["results"]:
        scaled = row["deviation"] * row["samples"] ** 0.5
        rows.setdefault(row["samples"], [f"{row['samples']:,}"]).extend([f"{row['deviation']:.4f}", f"{scaled:.2f}"])
    header = ["samples", "no alignment", "times √samples", "alignment 1.0", "times √samples"]
    return markdown(header, rows.values())


def alignment() -> str:
    rows = [
        [
            name,
            " ".join(f"{value:.2f}" for value in row["psnr by seed"]),
            "" if name == "flow" else gain(row["minus flow (dB)"]),
            f"{row['shifted psnr']:.2f}",
            "" if name == "flow" else gain(row["shifted minus flow (dB)"]),
            " ".join(f"{value:.1f}" for value in row["psnr per cascade"]),
            " ".join(f"{value:.2f}" for value in row["line deviation"][1:]),
        ]
        for name, row in result("alignment")["results"].items()
    ]
    header = [
        "arm",
        "PSNR by seed (dB)",
        "minus *flow* [95 %]",
        "shifted (dB)",
        "minus *flow* [95 %]",
        "source, then each cascade",
        "off the line",
    ]
    return markdown(header, rows)


def discretized(stated: dict[str, Any] | None) -> str:
    if stated is None:
        return "has none"
    if stated["is_discretization"]:
        return "yes"
    steps = " ".join(f"{step:.2f}" for step in stated["relative_steps"])
    return f"no: steps {steps}"


def audits() -> str:
    """What the audits of `benchmarks.audits` say, a row a network."""
    rows = []
    for name, title in AUDITED.items():
        record = result(f"audits/{name}")
        cascades, depths = record["cascades"], {row["n_cascades"]: row["change"] for row in record["depths"]}
        count = len(cascades)
        stated = record["coefficients"]
        rows.append(
            [
                title,
                f"{record['subject']['parameters'] / 1e6:.2f} M",
                " ".join(f"{state['psnr']:.1f}" for state in (record["source"], *cascades)),
                f"{100 * record['monotone_slices']:.0f} %",
                discretized(stated),
                " ".join(f"{cascade['implied_time']:.2f}" for cascade in cascades),
                f"{max(cascade['line_deviation'] for cascade in cascades):.2f}",
                f"{max(cascade['perturbation_gain'] for cascade in cascades):.2f}",
                f"{depths[count - 1]:+.1f} / {depths[count + 1]:+.1f}",
            ]
        )
    header = [
        "network",
        "parameters",
        "PSNR: source, each cascade",
        "slices that never fall",
        "coefficients of a flow?",
        "measured times",
        "largest deviation",
        "largest gain",
        "one cascade less / more (dB)",
    ]
    return markdown(header, rows)


def theory() -> str:
    rows = []
    for name, row in result("theory")["tests"].items():
        path, test = name.split("::")
        rows.append(
            [
                f"[{path.removeprefix('tests/')}](../{path})",
                f"`{test}`",
                f"{row['tolerance']:.0e}",
                f"{row['error']:.0e}",
            ]
        )
    return markdown(["file", "test", "tolerance", "worst error"], rows)


def spread(values: list[float], digits: int = 2, unit: float = 1.0) -> str:
    """Median, and in brackets the least and greatest."""
    middle, low, high = (f"{value * unit:.{digits}f}" for value in values)
    return f"{middle} ({low} to {high})"


def same_weights(task: str) -> str:
    rows = [
        [
            name,
            spread(row["seconds"]),
            spread(row["seconds_ratio"]),
            spread(row["memory_mb"], 0),
            spread(row["memory_mb_ratio"]),
        ]
        for name, row in result("same_weights")[task]["summary"].items()
    ]
    return markdown(["network", "seconds", "ratio", "memory (MB)", "ratio"], rows)


def calibration() -> str:
    rows = [
        [
            f"{row['coils']:.0f}",
            f"{row['size']:.0f}",
            f"{1e3 * row['laminar_s']:.0f}",
            f"{1e3 * row['bart_s']:.0f}",
            f"{row['ratio']:.2f}",
            f"{row['error']:.0e}",
        ]
        for row in result("calibration")["rows"]
    ]
    return markdown(["coils", "matrix", "Laminar (ms)", "BART (ms)", "ratio", "difference of the maps"], rows)


def operators() -> str:
    rows = [
        [
            name,
            who,
            spread(row["seconds"], 1, 1e3),
            spread(row["seconds_ratio"]),
        ]
        for name, table in result("operators")["operations"].items()
        for who, row in table.items()
    ]
    return markdown(["operation", "by", "ms", "ratio"], rows)


def growth() -> str:
    found = result("growth")
    names = ("A^H A", "solve", "network")
    rows = []
    for axis in ("coils", "matrix"):
        for row in found[axis]["rows"]:
            cells = [f"{1e3 * row[name]['seconds']:.1f} / {row[name]['memory_mb']:.0f}" for name in names]
            rows.append([f"{row['coils']}", f"{row['size']}", *cells])
    slopes = found["coils"]["exponents"]["coils"]
    rows.append(["**exponent**", "", *(f"**{slopes[name]['seconds']:.2f}**" for name in names)])
    return markdown(["coils", "matrix", *(f"{name} (ms / MB)" for name in names)], rows)


def readers() -> str:
    rows = [
        [name, *(f"{row['megabytes_per_second'][who]:.0f}" for who in ("Laminar", "plain"))]
        for name, row in result("readers")["formats"].items()
    ]
    return markdown(["format", "Laminar (MB/s)", "the same bytes by h5py or NumPy (MB/s)"], rows)


def loading() -> str:
    seconds = result("readers")["training"]["seconds_a_batch"]
    return markdown(
        ["one batch", "ms"], [[who, f"{1e3 * row['processor_seconds'][0]:.0f}"] for who, row in seconds.items()]
    )


def ceilings() -> str:
    rows = [
        [
            name,
            f"{1e3 * row['seconds']:.1f}",
            f"{row['gflop_per_second']:.0f}",
            f"{row['gb_per_second']:.1f}",
            f"{100 * row['of_ceiling']:.0f} %" if "of_ceiling" in row else "",
        ]
        for name, row in result("ceilings")["rates"].items()
    ]
    return markdown(["operation", "ms", "GFLOP/s", "GB/s", "of its ceiling"], rows)


def geometries() -> str:
    """A row a task: each method's PSNR, SSIM and seconds; the classical one that its geometry has, first."""

    def cell(row: dict[str, Any], name: str) -> str:
        values = row[name]
        return f"{values['psnr']:.2f} / {values['ssim']:.3f} / {values['seconds']:.2f}"

    rows = []
    for task, row in result("geometries")["rows"].items():
        special = next(name for name in row if name in GEOMETRY_METHODS)
        ahead = row["FLAT"]["psnr"] - max(row[name]["psnr"] for name in (special, "total-variation"))
        methods = (special, "total-variation", "unrolled, free", "FLAT")
        ships = cell(row, SHIPPED) if SHIPPED in row else ""
        rows.append(
            [task, str(row["steps"] * row["batch"]), special, *(cell(row, m) for m in methods), f"{ahead:+.2f}", ships]
        )
    learned = ["unrolled, free", "FLAT", "FLAT − best classical, dB"]
    header = ["task", "images of training", "classical", "that", "total variation", *learned]
    return markdown([*header, SHIPPED], rows)


def density() -> str:
    """A row a number of spokes, each method with samples that weigh as their density asks, and alike."""
    rows = []
    for spokes, by_weight in result("density")["rows"].items():
        for name, row in by_weight.items():
            cells = (f"{values['psnr']:.2f} / {values['ssim']:.3f}" for values in row.values())
            rows.append([spokes, "one" if name == "one" else "as the k-space that it stands for", *cells])
    return markdown(["spokes", "a sample weighs", "CG-SENSE", "total variation", "`default`"], rows)


def whole_scans() -> str:
    """A row a scan with a third axis: seconds of each step, and the peak memory of the process."""
    rows = []
    for name, row in result("whole_scans")["scans"].items():
        frames, coils, height, width = row["size"]
        size = f"{frames} images, {coils} coils, {height} x {width}"
        seconds = [f"{row[f'{step}_seconds']:.0f}" for step in ("calibrated", "cg-sense", "network")]
        rows.append([name, size, *seconds, f"{row['peak_gigabytes']:.1f}"])
    return markdown(["scan", "size", "calibration, s", "CG-SENSE, s", "network, s", "peak memory, GB"], rows)


GEOMETRY_METHODS = ("low-rank", "cg-sense", "filtered-back-projection", "expectation-maximization")

TABLES: dict[str, Callable[[], str]] = {
    "measured_rss": lambda: measured("rss"),
    "measured_combined": lambda: measured("combined"),
    "presets": presets,
    "evidence": evidence,
    "varnet": varnet,
    "accelerator": accelerator,
    "exactness": exact_solves,
    "cascades": cascades,
    "gaussian_world": gaussian_world,
    "alignment": alignment,
    "audits": audits,
    "theory": theory,
    "same_weights_inference": lambda: same_weights("inference"),
    "same_weights_training": lambda: same_weights("training"),
    "calibration": calibration,
    "operators": operators,
    "growth": growth,
    "readers": readers,
    "loading": loading,
    "ceilings": ceilings,
    "density": density,
    "geometries": geometries,
    "whole_scans": whole_scans,
    **METHOD_TABLES,
    **STUDY_TABLES,
    **TRUST_TABLES,
}


def filled(text: str) -> str:
    """`text` with every table made anew from the results."""
    return PLACE.sub(lambda match: match[1] + TABLES[match[2]]() + match[3], text)


def main() -> None:
    for path in DOCUMENTS:
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
        print(Path(path).relative_to(ROOT))


if __name__ == "__main__":
    main()
