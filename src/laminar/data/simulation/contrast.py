"""Tissue parameters and the signal equations that turn them into contrast."""

from __future__ import annotations

import math
from collections.abc import Callable

from laminar.data.simulation.fields import Canvas

# T1 ms, T2 ms, T2* ms, proton density: between the usual values at 1.5 and 3 T (e.g. 10.1002/mrm.20605).
TISSUES: dict[str, tuple[float, float, float, float]] = {
    "csf": (4000, 1500, 600, 1.00),
    "grey": (1400, 95, 55, 0.82),
    "white": (850, 74, 48, 0.70),
    "deep_grey": (1150, 70, 35, 0.78),
    "lesion": (1600, 150, 90, 0.88),
    "vitreous": (3800, 1100, 500, 0.98),
    "blood": (1700, 180, 60, 0.90),
    "fat": (330, 120, 45, 0.95),
    "marrow": (380, 90, 22, 0.75),
    "muscle": (1250, 38, 26, 0.76),
    "skin": (900, 45, 22, 0.65),
    "bone": (500, 1.5, 0.6, 0.12),
    "cartilage": (1150, 42, 25, 0.75),
    "fluid": (3300, 900, 300, 0.98),
    "ligament": (700, 8, 4, 0.30),
    "mucosa": (1500, 130, 50, 0.85),
    "myocardium": (1150, 48, 34, 0.78),
    "liver": (750, 40, 22, 0.76),
    "spleen": (1250, 70, 45, 0.82),
    "lung": (1200, 25, 1.5, 0.20),
    "air": (1000, 50, 20, 0.0),
}
_Signal = Callable[[float, float, float], float]  # of T1, T2, T2* in ms


def _spin_echo(tr: float, te: float) -> _Signal:
    return lambda t1, t2, t2s: (1 - math.exp(-tr / t1)) * math.exp(-te / t2)


def _inversion_recovery(tr: float, ti: float, te: float, sign: float) -> _Signal:
    """1 - 2 exp(-TI/T1) + exp(-TR/T1), with its sign (sign = 1) or without (sign = 0)."""

    def signal(t1: float, t2: float, t2s: float) -> float:
        recovered = 1 - 2 * math.exp(-ti / t1) + math.exp(-tr / t1)
        return (recovered if sign else abs(recovered)) * math.exp(-te / t2)

    return signal


def _gradient_echo(tr: float, te: float, flip: float) -> _Signal:
    def signal(t1: float, t2: float, t2s: float) -> float:
        e1 = math.exp(-tr / t1)
        return math.sin(flip) * (1 - e1) / (1 - math.cos(flip) * e1) * math.exp(-te / t2s)

    return signal


def _balanced(tr: float, flip: float) -> _Signal:
    def signal(t1: float, t2: float, t2s: float) -> float:
        e1, e2, cosine = math.exp(-tr / t1), math.exp(-tr / t2), math.cos(flip)
        return math.sin(flip) * (1 - e1) / (1 - (e1 - e2) * cosine - e1 * e2)

    return signal


def _sequence(name: str, canvas: Canvas) -> _Signal:
    u = canvas.uniform
    sign = float(canvas.chance(0.3))
    match name:
        case "t1":
            return _spin_echo(u(350, 800), u(7, 20))
        case "t2":
            return _spin_echo(u(2800, 7000), u(65, 125))
        case "pd":
            return _spin_echo(u(1800, 5000), u(9, 35))
        case "flair":
            return _inversion_recovery(u(7500, 10500), u(2150, 2700), u(80, 140), sign)
        case "mprage":
            return _inversion_recovery(u(1700, 2600), u(650, 1100), u(2, 5), 0.0)
        case "stir":
            return _inversion_recovery(u(3000, 6000), u(150, 230), u(20, 70), 0.0)
        case "gre":
            return _gradient_echo(canvas.log_uniform(8, 700), u(2, 30), math.radians(u(8, 70)))
        case "balanced":
            return _balanced(u(2.8, 5), math.radians(u(30, 75)))
        case _:
            raise ValueError(name)


def _tissue_signals(signal: _Signal, canvas: Canvas, spread: float = 0.07) -> dict[str, float]:
    """The signal equation at every tissue's parameters, which vary by a factor of about 1 +- spread."""
    values = {}
    for tissue, (t1, t2, t2s, density) in TISSUES.items():
        a, b, c, d = (math.exp(canvas.normal(spread)) for _ in range(4))
        values[tissue] = density * d**0.3 * signal(t1 * a, t2 * b, t2s * c)
    return values


def draw_contrast(canvas: Canvas, sequences: dict[str, float], fat_suppression: float) -> dict[str, float]:
    """Signal of every tissue for a random sequence with random timing, the brightest (but for blood) one.

    `sequences` maps t1, t2, pd, flair, mprage, stir, gre, balanced, random to relative probabilities;
    `fat_suppression` is the probability that fat is suppressed. Tissue parameters vary by 7 % a draw.
    """
    name = canvas.choose(sequences)
    if name == "random":
        values = {tissue: canvas.uniform(0.05, 1.0) * (tissue != "air") for tissue in TISSUES}
    else:
        values = _tissue_signals(_sequence(name, canvas), canvas)
    if canvas.chance(fat_suppression):
        values["fat"] *= canvas.uniform(0.02, 0.3)
        values["marrow"] *= canvas.uniform(0.05, 0.35)
    values["blood"] *= canvas.log_uniform(0.05, 2.0)  # flow voids and inflow
    brightest = max(abs(v) for key, v in values.items() if key != "blood")
    values["blood"] = min(values["blood"], 1.2 * brightest)
    return {key: v / brightest for key, v in values.items()}
