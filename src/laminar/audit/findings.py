"""What the numbers of a record say, in plain sentences computed from them alone.

A finding `holds` or does not; None stands for "not offered" or "described, not judged".
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from laminar.words import counted

Record = Mapping[str, Any]
Finding = tuple[bool | None, str]

TELLING_DB = 0.1  # a smaller change is none
TELLING_TIME = 0.05  # of the way from source to reference
NOT_OFFERED = "Not offered by the network, so not measured: "


def findings(record: Record) -> list[dict[str, Any]]:
    """The findings of a record as `{"id", "question", "holds", "text"}`, always the same ones in the same order."""
    asked = {
        "improvement": ("Is every slice better than its source?", _improvement),
        "monotone": ("Does every cascade help?", _monotone),
        "discretization": ("Do the coefficients describe a flow?", _discretization),
        "times": ("Does the image approach the reference step by step?", _times),
        "line": ("How far does it leave the straight line?", _line),
        "data": ("Does the image explain the measurement?", _data),
        "perturbation": ("Are the errors that were tried damped?", _perturbation),
        "noise": ("What if the noise level is wrong?", _noise),
        "depth": ("What if it runs fewer or more cascades?", _depth),
    }
    found = []
    for name, (question, finding) in asked.items():
        holds, text = finding(record)
        found.append({"id": name, "question": question, "holds": holds, "text": text})
    return found


def _db(value: float | None, sign: bool = False) -> str:
    return "no finite value" if value is None else f"{value:{'+' if sign else ''}.2f} dB".replace("-", "−")


def _improvement(record: Record) -> Finding:
    rows = record["slices"]
    gains = [row["gain"] for row in rows]
    if any(gain is None for gain in gains):
        return None, "In at least one slice the gain is not finite: the result is no number, or equals the reference."
    worst = min(rows, key=lambda row: row["gain"])
    better = sum(gain > TELLING_DB for gain in gains)
    start, end = record["source"]["psnr"], record["cascades"][-1]["psnr"]
    name = f" ({worst['name']})" if worst["name"] else ""
    return better == len(rows), (
        f"Mean PSNR goes from {_db(start)} at the source to {_db(end)} at the result; "
        f"{better} of {counted(len(rows), 'slice')} {'gains' if better == 1 else 'gain'} more than {TELLING_DB} dB. "
        f"The least gain is {_db(worst['gain'], sign=True)}{name}."
    )


def _monotone(record: Record) -> Finding:
    curve = [record["source"]["psnr"], *(cascade["psnr"] for cascade in record["cascades"])]
    share = (
        "no slice loses PSNR in any cascade."
        if record["monotone_slices"] == 1
        else f"{100 * (1 - record['monotone_slices']):.0f} % of the slices lose PSNR in some cascade."
    )
    if None in curve:
        return False, f"The PSNR is not finite after some cascade; {share}"
    if record["monotone"] and curve[-1] - curve[0] <= TELLING_DB:
        return False, f"All of them together help by no more than {TELLING_DB} dB."
    if record["monotone"]:
        return True, f"The mean PSNR never falls from a cascade to the next; {share}"
    drops = {k: curve[k - 1] - curve[k] for k in range(1, len(curve))}
    at = max(drops, key=lambda k: drops[k])
    return False, f"The mean PSNR falls in some cascades, most in cascade {at}, by {_db(drops[at])}; {share}"


def _discretization(record: Record) -> Finding:
    c = record["coefficients"]
    if c is None:
        return None, NOT_OFFERED + "its coefficients. Whether they describe a flow is not known from them."
    if c["is_discretization"]:
        return True, (
            "The coefficients are those of a discretized flow: every step before the last goes part of the way, the "
            f"last all of it (implied end time t₀ = {_number(record['product_constraint'])}). A closed form is so by "
            "construction; what the images do is said under times and line."
        )
    reason = (
        f"its coefficients imply the end time t₀ = {_number(record['product_constraint'])}"
        if c["last_step_error"] > 1e-6
        else "a step before the last is not strictly between 0 and 1"
    )
    return False, (
        f"The network is no discretization of a flow: {reason}; |1 - last step| = {_number(c['last_step_error'])}, "
        f"least margin of the others {_number(c['margin'])}."
    )


def _times(record: Record) -> Finding:
    times = [1.0, *(cascade["implied_time"] for cascade in record["cascades"])]
    if None in times:
        return False, "The implied times are not finite: source and image agree, or the network diverges."
    falling = all(after < before for before, after in pairwise(times)) and times[-1] < 1 - TELLING_TIME
    text = ", ".join(f"{time:.2f}" for time in times)
    what = "fall from state to state" if falling else "do not fall from state to state, or hardly"
    return falling, (
        f"Measured on the line from the source (t = 1) to the reference image (t = 0), the times {what}: {text}. "
        "What is left at the end is the error of the result along that line."
    )


def _line(record: Record) -> Finding:
    deviations = {c["cascade"]: c["line_deviation"] for c in record["cascades"] if c["line_deviation"] is not None}
    if not deviations or record["straightness"]["mean"] is None:
        return None, "The deviation is not finite."
    at = max(deviations, key=lambda k: deviations[k])
    return None, (
        f"At most {deviations[at]:.2f} of the distance from source to image (after cascade {at}); the path is "
        f"{record['straightness']['mean']:.2f} times as long as the straight way between its ends."
    )


def _data(record: Record) -> Finding:
    last = record["cascades"][-1]
    if last["data_residual"] is None:
        return None, "The residual is not finite."
    text = f"The result leaves {100 * last['data_residual']:.1f} % of the measurement unexplained"
    if last["data_residual_noise"] is None:
        return None, text + "; the noise level is zero or unknown."
    return None, f"{text}, {last['data_residual_noise']:.2f} times what noise alone would leave."


def _perturbation(record: Record) -> Finding:
    kinds = {"perturbation_gain": "white noise", "smooth_perturbation_gain": "a smooth bump"}
    values = {
        (label, c["cascade"]): c[key] for key, label in kinds.items() for c in record["cascades"] if c[key] is not None
    }
    if not values:
        return None, NOT_OFFERED + "how an error along the way grows or fades."
    (label, at), gain = max(values.items(), key=lambda item: item[1])
    verdict = (
        "Both kinds of error that were tried are smaller in the result"
        if gain <= 1
        else "An error that was tried grows"
    )
    return gain <= 1, (
        f"{verdict}: the largest gain is {gain:.2f}, of {label} before cascade {at}; at the source white noise "
        f"has {values.get(('white noise', 1), float('nan')):.2f}."
    )


def _noise(record: Record) -> Finding:
    if record["noise"] is None:
        return None, "Not measured: the noise level of these slices is zero."
    told = {(row["told"], row["actual"]): row["change"] for row in record["noise"]}
    half, double, real = told[0.5, 1.0], told[2.0, 1.0], told[2.0, 2.0]
    if half == 0 and double == 0:
        return None, f"It does not use the noise level. Data twice as noisy change the PSNR by {_db(real, sign=True)}."
    return None, (
        f"Told half the noise level, the PSNR changes by {_db(half, sign=True)}; told twice, by "
        f"{_db(double, sign=True)}. "
        f"Data twice as noisy, truthfully told: {_db(real, sign=True)}."
        + (
            " It does better when told another level than the true one."
            if any(_surely_above(row) for row in record["noise"] if row["told"] != 1 and row["actual"] == 1)
            else ""
        )
    )


def _surely_above(row: Record) -> bool:
    """Whether a change is a gain beyond the tolerance, and beyond its own interval where it has one."""
    change, interval = row["change"], row["interval"]
    return change is not None and change > TELLING_DB and (interval is None or interval[0] > 0)


def _depth(record: Record) -> Finding:
    if record["depths"] is None:
        return None, NOT_OFFERED + "another number of cascades."
    trained = record["subject"]["n_cascades"]
    change = {row["n_cascades"]: row["change"] for row in record["depths"]}
    beyond = [change[n] for n in change if n > trained]
    safe = all(value is not None and value >= -TELLING_DB for value in beyond)
    fewer = f"One cascade fewer changes the PSNR by {_db(change[trained - 1], sign=True)}. " if trained > 1 else ""
    return safe, (
        f"{fewer}One cascade more: {_db(change[trained + 1], sign=True)}; twice as many: "
        f"{_db(change[2 * trained], sign=True)}. "
        f"Past its trained depth it loses {'no ' if safe else ''}more than {TELLING_DB} dB."
    )


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"
