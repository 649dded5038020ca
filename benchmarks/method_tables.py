"""The tables of docs/methods.md, for `benchmarks.tables`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.record import markdown, result

Row = dict[str, Any]


def comparison(world: str) -> str:
    """One row a method, R = 4 and 8 beside each other; the best PSNR of each R in bold."""
    rows: list[Row] = result("comparison")["worlds"][world]["rows"]
    best = {R: max(row["psnr"] for row in rows if row["R"] == R) for R in (4, 8)}
    by_name: dict[str, dict[int, Row]] = {}
    for row in rows:
        by_name.setdefault(row["method"], {})[row["R"]] = row
    lines = []
    for name, at in by_name.items():
        cells = [name, f"{at[4]['parameters']:,}", str(at[4]["nfe"]), f"{at[4]['seconds']:.2f}"]
        for R in (4, 8):
            if R not in at:
                cells += ["needs more calibration lines", ""]
                continue
            psnr = f"{at[R]['psnr']:.2f}"
            psnr = f"**{psnr}**" if at[R]["psnr"] == best[R] else psnr
            cells.append(f"{psnr} / {at[R]['ssim']:.3f} / {at[R]['nmse']:.4f}")
            mean, low, high = at[R]["FLAT minus this (dB)"]
            cells.append("" if name == "FLAT" else f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]")
        lines.append(cells)
    header = ["method", "parameters", "NFE", "seconds"]
    for R in (4, 8):
        header += [f"R = {R}: PSNR / SSIM / NMSE", "FLAT − this, dB [95 %]"]
    return markdown(header, lines)


def training() -> str:
    """What the equal budget bought."""
    found = result("comparison")["training"]
    names = list(next(iter(found.values())))
    rows = [
        [
            name[2:].replace("_", " ") + ("" if name[0] == "0" else f", seed {name[0]}"),
            *(f"{found[w][name]['steps']:,}" for w in list(found)[:1]),
        ]
        + [f"{found[w][name]['seconds']:.0f}" for w in found]
        for name in names
        if all(name in by_name for by_name in found.values())
    ]
    return markdown(["network", "steps of four slices", *(f"seconds, {world}" for world in found)], rows)


def tuning() -> str:
    """The settings that were chosen."""
    rows: list[list[str]] = []
    for world, found in result("comparison")["worlds"].items():
        by_name: dict[str, dict[int, str]] = {}
        for row in found["rows"]:
            chosen = ", ".join(f"{key} {value:g}" for key, value in row["settings"].items())
            by_name.setdefault(row["method"], {})[row["R"]] = chosen
        rows += [[world, name, at[4], at.get(8, "")] for name, at in by_name.items() if at[4]]
    return markdown(["world", "method", "R = 4", "R = 8"], rows)


def samplers() -> str:
    found = result("samplers")
    nfes = sorted({row["nfe"] for row in found["results"]})
    by_name: dict[str, list[Row]] = {}
    for row in found["results"]:
        by_name.setdefault(row["sampler"], []).append(row)
    rows = [
        [name, rows[0]["computed"], *(f"{r['mean']:.3f} / {r['covariance']:.3f} / {r['trace']:.2f}" for r in rows)]
        for name, rows in by_name.items()
    ]
    return markdown(["sampler", "computed", *(f"{nfe} NFE" for nfe in nfes)], rows)


def prior() -> str:
    """How far samples are from the covariance of their world, by denoiser."""
    found = result("prior")
    by_sampler: dict[tuple[str, int], dict[str, float]] = {}
    for row in found["results"]:
        by_sampler.setdefault((row["sampler"], row["nfe"]), {})[row["denoiser"]] = row["covariance"]
    rows = [
        [name, str(nfe), *(f"{at[denoiser]:.3f}" for denoiser in ("exact", "trained", "untrained"))]
        for (name, nfe), at in by_sampler.items()
    ]
    rows.append(["exact samples", "", f"{found['floor']['covariance']:.3f}", "", ""])
    return markdown(["sampler", "NFE", "exact denoiser", "trained prior", "untrained prior"], rows)


METHOD_TABLES: dict[str, Callable[[], str]] = {
    "comparison_simulated": lambda: comparison("simulated"),
    "comparison_brain_t2": lambda: comparison("brain_t2"),
    "comparison_training": training,
    "comparison_tuning": tuning,
    "samplers": samplers,
    "prior": prior,
}
