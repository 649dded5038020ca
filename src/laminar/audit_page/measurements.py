"""The sections of the page with the measurements: charts, tables and pictures."""

from __future__ import annotations

import math
from typing import Any

from laminar.audit import Audit, Measured
from laminar.audit_page.charts import Level, Series, line_chart
from laminar.audit_page.markup import Markup, definitions, interval, join, number, table, tag
from laminar.audit_page.pictures import ERROR_FACTOR, outcome, strip

NOT_OFFERED = tag("p", "Not offered by the network, so not measured.", class_="open")


def cascades(audit: Audit) -> Markup:
    record = audit.record
    places = _places(record)
    quality = [
        Series("after the cascade", _curve(record, "psnr"), "a", _bands(record, "psnr")),
        Series("implied endpoint", _curve(record, "endpoint_psnr"), "b", dashed=True),
    ]
    own = Series("own endpoint", _curve(record, "own_endpoint_psnr"), "c", dashed=True)
    similar = Series("after the cascade", _curve(record, "ssim"), "a", _bands(record, "ssim"))
    middle = _median_slice(audit.slices)
    return join(
        tag("h2", "From cascade to cascade"),
        tag("p", "Mean over slices; the band is its 95 % interval."),
        tag(
            "div",
            line_chart("PSNR (dB)", [*quality, own], places, x_title="cascade"),
            line_chart("SSIM", [similar], places, x_title="cascade", digits=3),
            class_="pair",
        ),
        _cascade_table(record),
        tag("h3", f"The slice of median quality: {middle.name}"),
        tag(
            "p", f"Every state, and below it its error, enlarged {ERROR_FACTOR} times, in the window of the reference."
        ),
        strip(middle),
    )


def _cascade_table(record: dict[str, Any]) -> Markup:
    rows = [["source", number(record["source"]["psnr"]), interval(record["source"]["intervals"]["psnr"], 1)]]
    rows[0] += [
        number(record["source"]["ssim"], 3),
        "–",
        "–",
        number(record["source"]["data_residual_noise"]),
        "–",
        "1.00",
        "–",
    ]
    for c in record["cascades"]:
        rows.append(
            [
                str(c["cascade"]),
                number(c["psnr"]),
                interval(c["intervals"]["psnr"], 1),
                number(c["ssim"], 3),
                number(c["endpoint_psnr"]),
                number(c["line_deviation"], 3),
                number(c["data_residual_noise"]),
                number(c["perturbation_gain"]),
                number(c["implied_time"]),
                number(c["implied_step"]),
            ]
        )
    head = ["cascade", "PSNR", "95 % interval", "SSIM", "endpoint", "deviation", "residual / noise", "gain", "t", "h"]
    return table(head, rows)


def path(audit: Audit) -> Markup:
    record = audit.record
    measured = [1.0, *(c["implied_time"] for c in record["cascades"])]
    stated = record["times"] or (record["coefficients"] or {}).get("times") or []
    bands = [None, *(c["intervals"]["implied_time"] for c in record["cascades"])]
    times = [
        Series("measured on the trajectory", measured, "a", bands),
        Series("stated by the network", stated, "b", dashed=True),
    ]
    deviation = [0.0, *(c["line_deviation"] for c in record["cascades"])]
    deviations = [None, *(c["intervals"]["line_deviation"] for c in record["cascades"])]
    places = _places(record)
    straight = record["straightness"]
    return join(
        tag("h2", "The path"),
        tag(
            "p",
            "In the ideal flow the image moves on the straight line from the source (t = 1) to the reference (t = 0). "
            f"This path is {number(straight['mean'])} times as long as the straight way between its ends "
            f"(95 % interval {interval(straight['interval'])}).",
        ),
        tag(
            "div",
            line_chart("Implied time t", times, places, x_title="cascade", zero=True),
            line_chart(
                "Deviation from the line",
                [Series("distance over length of the line", deviation, "a", deviations)],
                places,
                x_title="cascade",
                digits=3,
                zero=True,
            ),
            class_="pair",
        ),
    )


def disturbances(audit: Audit) -> Markup:
    record = audit.record
    residual = Series(
        "residual over expected noise",
        _curve(record, "data_residual_noise"),
        "a",
        _bands(record, "data_residual_noise"),
    )
    levels = [Level(1.0, "noise alone")]
    if record["reference"]["data_residual_noise"] is not None:
        levels.append(Level(record["reference"]["data_residual_noise"], "reference image"))
    return join(
        tag("h2", "The measurement, and disturbances"),
        tag(
            "div",
            line_chart("Data residual", [residual], _places(record), x_title="cascade", levels=levels, zero=True),
            _gain_chart(record),
            class_="pair",
        ),
        tag("h3", "Another noise level"),
        table(
            ["the network is told", "the data have", "PSNR", "change", "95 % interval"],
            [
                [
                    f"{row['told']:g} σ",
                    f"{row['actual']:g} σ",
                    number(row["psnr"]),
                    number(row["change"], sign=True),
                    interval(row["interval"]),
                ]
                for row in record["noise"] or ()
            ],
            words=2,
        ),
        tag("h3", "Another number of cascades"),
        _depths(record),
    )


def _gain_chart(record: dict[str, Any]) -> Markup:
    rows = record["cascades"]
    if not record["subject"]["offers"]["edit"]:
        return tag("figure", tag("figcaption", tag("b", "Perturbation gain")), NOT_OFFERED)
    series = [
        Series(
            "white noise",
            [c["perturbation_gain"] for c in rows],
            "a",
            [c["intervals"]["perturbation_gain"] for c in rows],
        ),
        Series(
            "smooth bump",
            [c["smooth_perturbation_gain"] for c in rows],
            "b",
            [c["intervals"]["smooth_perturbation_gain"] for c in rows],
        ),
        Series("frozen endpoint", [c["frozen_gain"] for c in rows], "c", dashed=True),
    ]
    return line_chart(
        "Perturbation gain",
        series,
        [str(c["cascade"]) for c in rows],
        x_title="added before cascade",
        levels=[Level(1.0, "unchanged")],
        zero=True,
    )


def _depths(record: dict[str, Any]) -> Markup:
    rows = record["depths"]
    if rows is None:
        return NOT_OFFERED
    trained = record["subject"]["n_cascades"]
    cells = [
        [
            f"{row['n_cascades']}{' (as trained)' if row['n_cascades'] == trained else ''}",
            number(row["psnr"]),
            number(row["change"], sign=True),
            interval(row["interval"]),
        ]
        for row in rows
    ]
    return table(["cascades", "PSNR", "change", "95 % interval"], cells)


def coefficients(audit: Audit) -> Markup:
    c = audit.record["coefficients"]
    if c is None:
        return join(tag("h2", "Coefficients"), NOT_OFFERED)
    rows = [
        [
            str(k + 1),
            number(c["steps"][k], 4),
            _g(c["data"][k]),
            number(c["times"][k + 1], 4),
            _g(c["noise_ratios"][k]),
            _g(c["implied_noise_levels"][k]),
        ]
        for k in range(len(c["steps"]))
    ]
    readings = {
        "prior_std": "with the prior widths that the network states",
        "paper": "by the paper's form, σ² = step / data coefficient",
    }
    reading = readings.get(c["implied_noise_reading"], "not implied: a prior width would be needed")
    return join(
        tag("h2", "Coefficients"),
        definitions(
            [
                ("Data step", c["data_step"]),
                ("Implied end time t₀", _g(c["times"][-1])),
                ("|1 − last step|", _g(c["last_step_error"])),
                ("Least margin of the others", _g(c["margin"])),
                ("Implied noise level", f"{_g(c['implied_noise_level'])}, {reading}; image units, mean over cascades"),
            ]
        ),
        table(["cascade", "step λ", "data coefficient", "time after", "ratio w", "implied σ"], rows),
    )


def worst(audit: Audit) -> Markup:
    record = audit.record
    by_name = {s.name: s for s in audit.slices}
    drops = record["worst"]["largest_drop"]
    rows = [
        [
            s["name"],
            number(s["psnr"][0]),
            number(s["final_psnr"]),
            number(s["gain"], sign=True),
            number(s["largest_drop"]),
        ]
        for s in record["slices"]
    ]
    return join(
        tag("h2", "Worst slices"),
        tag(
            "p",
            "The slices with the lowest PSNR at the end. "
            + (
                f"Most was lost within a single cascade in: {', '.join(drops)}."
                if drops
                else "No slice loses PSNR in any cascade."
            ),
        ),
        [outcome(by_name[name]) for name in record["worst"]["lowest_psnr"]],
        tag("h3", "All slices"),
        table(["slice", "source PSNR", "final PSNR", "gain", "largest fall in a cascade"], rows),
    )


def _g(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}".replace("-", "−")


def _places(record: dict[str, Any]) -> list[str]:
    return ["source", *(str(c["cascade"]) for c in record["cascades"])]


def _curve(record: dict[str, Any], name: str) -> list[float | None]:
    return [record["source"].get(name), *(c[name] for c in record["cascades"])]


def _bands(record: dict[str, Any], name: str) -> list[list[float] | None]:
    return [row["intervals"].get(name) for row in (record["source"], *record["cascades"])]


def _median_slice(slices: list[Measured]) -> Measured:
    ranked = sorted(slices, key=lambda s: float(s.curves["psnr"][-1].nan_to_num(nan=-math.inf)))
    return ranked[len(ranked) // 2]
