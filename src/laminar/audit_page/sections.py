"""The sections of the page, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from laminar.audit import Audit
from laminar.audit_page.markup import Markup, definitions, join, number, table, tag
from laminar.audit_page.measurements import cascades, coefficients, disturbances, path, worst
from laminar.audit_page.words import LIMITS, MEANING, MEASURED, SIMULATED


def header(audit: Audit) -> Markup:
    record = audit.record
    source, last = record["source"], record["cascades"][-1]
    c, kind = record["coefficients"], record["data"]["simulated"]
    tiles = [
        (f"{number(source['psnr'], 1)} → {number(last['psnr'], 1)} dB", "mean PSNR, source to result"),
        ("yes" if record["monotone"] else "no", "PSNR rises with every cascade"),
        ("not offered" if c is None else "yes" if c["is_discretization"] else "no", "coefficients describe a flow"),
        (f"{number(min((s['final_psnr'] for s in record['slices']), key=_or_low), 1)} dB", "PSNR of the worst slice"),
    ]
    return join(
        tag("p", "Trajectory audit", class_="kicker"),
        tag("h1", f"The network “{record['subject']['name']}”, cascade by cascade"),
        tag("p", _lead(record), class_="lead"),
        tag(
            "div",
            [tag("div", tag("b", value), tag("span", label), class_="tile") for value, label in tiles],
            class_="tiles",
        ),
        None if kind is None else tag("p", SIMULATED if kind else MEASURED, class_="notice"),
    )


def _or_low(value: float | None) -> float:
    return float("-inf") if value is None else value


def _lead(record: dict[str, Any]) -> str:
    cascades, slices = record["subject"]["n_cascades"], len(record["slices"])
    return (
        f"An unrolled network builds its image in cascades, here {cascades}. This document records what the image "
        f"looks like after each of them, on {slices} slices with a known reference, and what happens when the network "
        "is disturbed on the way."
    )


def findings(audit: Audit) -> Markup:
    marks = {True: ("yes", "yes"), False: ("no", "no"), None: ("–", "open")}
    rows = [
        [tag("span", marks[f["holds"]][0], class_=f"mark {marks[f['holds']][1]}"), f["question"], f["text"]]
        for f in audit.record["findings"]
    ]
    return join(
        tag("h2", "Findings"),
        tag(
            "p",
            "Each sentence is computed from the measurements below. A dash marks what is described and not judged, or "
            "not offered.",
        ),
        tag("div", table(["", "question", "answer"], rows, words=3), class_="findings"),
    )


def circumstances(audit: Audit) -> Markup:
    subject, data, method = (audit.record[key] for key in ("subject", "data", "method"))
    offers = [name.replace("_", " ") for name, offered in subject["offers"].items() if offered]
    parameters = "not known" if subject["parameters"] is None else f"{subject['parameters']:,}"
    network = [
        ("Network", f"{subject['name']} ({subject['kind']})"),
        ("Description", subject["description"] or "none"),
        ("Cascades, parameters", f"{subject['n_cascades']}, {parameters}"),
        ("SHA-256", tag("span", subject["sha256"] or "not known", class_="hash")),
        ("Offers", ", ".join(offers) or "its images only"),
        *(("Note", note) for note in subject["notes"]),
    ]
    return join(
        tag("h2", "What was audited, on what, and how"),
        definitions(network),
        tag("h3", "Data"),
        definitions(_data(data)),
        tag("h3", "Method"),
        definitions(
            [
                ("Reference", method["image"]),
                ("Data range", method["data_range"]),
                ("Intervals", method["interval"]),
                (
                    "Perturbations",
                    f"{method['perturbation_size']:g} of the size of the disturbed image, seed {method['seed']}",
                ),
                ("Monotone", f"a fall of up to {method['monotone_tolerance_db']:g} dB is not counted"),
            ]
        ),
    )


def _data(data: dict[str, Any]) -> list[tuple[str, Any]]:
    kind = {True: "simulated slices", False: "slices of measured scans", None: "slices of the user's own"}
    sizes = ", ".join(f"{y} × {x}" for y, x in data["matrices"])
    coils = " or ".join(map(str, data["coils"]))
    rows: list[tuple[str, Any]] = [
        ("Slices", f"{data['n_slices']} {kind[data['simulated']]}, {sizes}, {coils} coils"),
        ("From", data["source"] or "not stated"),
        ("Sampling", f"measured acceleration {data['measured_acceleration']:.2f}{_mask(data)}"),
    ]
    if data["noise_std"] is not None:
        rows.append(("Noise", f"standard deviation {data['noise_std']:g} of a magnetization of about one"))
    files = [tag("div", f["name"], " ", tag("span", f["sha256"], class_="hash")) for f in data["files"]]
    return rows + ([("Files, SHA-256", files)] if files else [])


def _mask(data: dict[str, Any]) -> str:
    if data["mask"] is None:
        return ""
    return (
        f"; {data['mask']} masks of nominal R = {data['acceleration']:g} with {data['calibration_lines']} calibration "
        f"lines, slice i with seed {data['seed']} + i"
    )


def meaning(audit: Audit) -> Markup:
    limits = list(LIMITS)
    return join(
        tag("h2", "What the numbers mean"),
        definitions(list(MEANING)),
        tag("h2", "Limits of this audit"),
        tag(
            "ul",
            [tag("li", limit) for limit in ([SIMULATED, *limits] if audit.record["data"]["simulated"] else limits)],
        ),
        tag(
            "footer",
            f"Laminar {audit.record['laminar']}, record format {audit.record['format']} version "
            f"{audit.record['version']}. Every number of this page, with those of each slice, is in audit.json.",
        ),
    )


SECTIONS: tuple[Callable[[Audit], Markup], ...] = (
    header,
    findings,
    circumstances,
    cascades,
    path,
    disturbances,
    coefficients,
    worst,
    meaning,
)
