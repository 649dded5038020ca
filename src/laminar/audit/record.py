"""From the measurements of all slices to the record of an audit: the plain values of `audit.json` (docs/audit.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laminar.audit.findings import findings
from laminar.audit.measure import NOISE_CONDITIONS, PERTURBATION, Measured
from laminar.audit.recovered import recovered
from laminar.files import finite
from laminar.methods import Method
from laminar.statistics import DRAWS, mean_interval
from laminar.version import __version__

AUDIT_FORMAT, AUDIT_VERSION = "laminar-audit", 1
TOLERANCE_DB = 0.01
"""How far a curve of PSNR may fall and still count as monotone: below it, rounding speaks."""
N_WORST = 3

Array = NDArray[np.float64]


def make_record(
    method: Method, slices: Sequence[Measured], data: dict[str, Any], how: dict[str, Any]
) -> dict[str, Any]:
    """The record of an audit, without NaN: what does not exist or is not offered is None."""
    stacks = {name: np.stack([s.curves[name].numpy() for s in slices]) for name in slices[0].curves}
    coefficients = recovered([s.coefficients for s in slices if s.coefficients is not None])
    record = {
        "format": AUDIT_FORMAT,
        "version": AUDIT_VERSION,
        "laminar": __version__,
        "subject": _subject(method, slices[0]),
        "data": data,
        "method": how,
        "source": _state(stacks, 0, ("psnr", "ssim", "data_residual", "data_residual_noise")),
        "reference": {name: float(np.mean([float(s.reference[name]) for s in slices])) for name in slices[0].reference},
        "cascades": _cascades(stacks, slices, coefficients),
        "nfe": slices[0].nfe,
        "monotone": bool(falls(stacks["psnr"].mean(0)) <= TOLERANCE_DB),
        "monotone_slices": float(np.mean([falls(curve) <= TOLERANCE_DB for curve in stacks["psnr"]])),
        "straightness": _spread(np.array([s.straightness for s in slices])),
        "times": None if slices[0].times is None else slices[0].times.tolist(),
        "product_constraint": None if coefficients is None else coefficients["times"][-1],
        "implied_noise_level": None if coefficients is None else coefficients["implied_noise_level"],
        "coefficients": coefficients,
        "noise": _noise(slices),
        "depths": _depths(slices),
        "slices": [_slice(s) for s in slices],
        "worst": _worst(slices),
    }
    clean: dict[str, Any] = finite(record)
    return clean | {"findings": findings(clean)}


def falls(curve: Array) -> float:
    """The largest fall from a state to the next in dB, not positive where it only rises; infinite if a value is NaN."""
    before, after = curve[:-1], curve[1:]
    with np.errstate(invalid="ignore"):  # two perfect images: both infinite
        fall = float(np.max(np.where(before == after, 0.0, before - after)))
    return math.inf if math.isnan(fall) else fall


FEWEST = 5


def _interval(values: Array) -> list[float] | None:
    """95 % percentile bootstrap of the mean over slices; None for fewer than `FEWEST`, of which it says nothing."""
    if len(values) < FEWEST or not np.isfinite(values).all():
        return None
    return list(mean_interval(values)[1:])


def _spread(values: Array) -> dict[str, Any]:
    return {"mean": float(values.mean()), "interval": _interval(values)}


def _state(stacks: dict[str, Array], k: int, names: Sequence[str]) -> dict[str, Any]:
    """Means over slices at state k, and their intervals under the same names."""
    return {name: float(stacks[name][:, k].mean()) for name in names} | {
        "intervals": {name: _interval(stacks[name][:, k]) for name in names}
    }


def _cascades(
    stacks: dict[str, Array], slices: Sequence[Measured], stated: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """One entry a cascade: the state that it leaves, and what becomes of a disturbance of the state that it gets."""
    times = stacks["implied_time"].mean(0)
    gains = {"white": "perturbation_gain", "smooth": "smooth_perturbation_gain"}
    missing = np.full((len(slices), len(times)), np.nan)
    for kind, name in gains.items():
        offered = [s.gains[kind].numpy() for s in slices if s.gains is not None]
        stacks = stacks | {name: np.concatenate([missing[:, :1], np.stack(offered)], 1) if offered else missing}
    names = [name for name in stacks if name != "implied_time"] + ["implied_time"]
    return [
        {"cascade": k}
        | _state(stacks, k, names)
        | {
            "implied_step": float(1 - times[k] / times[k - 1]) if times[k - 1] > 0 else None,
            "frozen_gain": None
            if stated is None
            else math.prod(1 - step for step in stated["relative_steps"][k - 1 :]),
        }
        for k in range(1, len(times))
    ]


def _subject(method: Method, first: Measured) -> dict[str, Any]:
    return {
        "name": method.name,
        "kind": method.kind,
        "description": method.description,
        "notes": list(method.notes),
        "sha256": method.fingerprint,
        "parameters": method.parameters or None,
        "n_cascades": len(first.states) - 1,
        "offers": {
            "edit": "edit" in method.offers,
            "n_cascades": "n_cascades" in method.offers,
            "coefficients": first.coefficients is not None,
            "endpoints": bool(first.curves["own_endpoint_psnr"].isfinite().any()),
            "times": first.times is not None,
        },
    }


def _noise(slices: Sequence[Measured]) -> list[dict[str, Any]] | None:
    if any(s.noise is None for s in slices):
        return None
    values = np.stack([s.noise.numpy() for s in slices if s.noise is not None])
    return [
        {"told": told, "actual": actual, "psnr": float(values[:, i].mean())}
        | {"change": float((values[:, i] - values[:, 0]).mean()), "interval": _interval(values[:, i] - values[:, 0])}
        for i, (told, actual) in enumerate(NOISE_CONDITIONS)
    ]


def _depths(slices: Sequence[Measured]) -> list[dict[str, Any]] | None:
    if slices[0].depths is None:
        return None
    trained = len(slices[0].states) - 1
    table = {n: np.array([s.depths[n] for s in slices if s.depths is not None]) for n in slices[0].depths}
    return [
        {"n_cascades": n, "psnr": float(values.mean())}
        | {"change": float((values - table[trained]).mean()), "interval": _interval(values - table[trained])}
        for n, values in table.items()
    ]


def _slice(s: Measured) -> dict[str, Any]:
    curve = s.curves["psnr"].numpy()
    return {
        "name": s.name,
        "psnr": curve.tolist(),
        "ssim": s.curves["ssim"].tolist(),
        "final_psnr": float(curve[-1]),
        "gain": float(curve[-1] - curve[0]),
        "largest_drop": max(0.0, falls(curve)),
        "monotone": bool(falls(curve) <= TOLERANCE_DB),
    }


def _worst(slices: Sequence[Measured]) -> dict[str, Any]:
    """Names of the slices with the lowest final PSNR, and of those that lost most in a single cascade."""
    rows = [_slice(s) for s in slices]
    drops = sorted((row for row in rows if row["largest_drop"] > TOLERANCE_DB), key=lambda row: -row["largest_drop"])
    return {
        "lowest_psnr": [row["name"] for row in sorted(rows, key=_quality)[:N_WORST]],
        "largest_drop": [row["name"] for row in drops[:N_WORST]],
    }


def _quality(row: dict[str, Any]) -> float:
    """The final PSNR for sorting: a slice that diverged is the worst of all."""
    return -math.inf if math.isnan(row["final_psnr"]) else float(row["final_psnr"])


METHOD = {
    "image": "quality is that of magnitudes, against the reference image of each slice",
    "data_range": "maximum of the magnitude of the image, slice by slice",
    "interval": f"95 % percentile bootstrap of the mean over slices, {DRAWS} draws, seed 0",
    "monotone_tolerance_db": TOLERANCE_DB,
    "perturbation_size": PERTURBATION,
}
