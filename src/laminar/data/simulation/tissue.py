"""What lies between organs: muscle, fat, bone, air and vessels; and the organs of the face and neck."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from laminar.data.simulation.fields import Canvas, Frame, paint

Signal = dict[str, float]


def muscle(canvas: Canvas, signal: Signal) -> Tensor:
    """Muscle with faint fibers and streaks of fat: (y, x)."""
    fibers = canvas.noise(0.3, 6.0, 60.0)
    image = signal["muscle"] * (1 + canvas.uniform(0.02, 0.12) * fibers)
    streaks = ((canvas.noise(0.5, 4.0, 40.0) - 1.7) * 1.2).clamp(0, 1)
    return paint(image, streaks * canvas.uniform(0.1, 0.9), signal["fat"])


def fat(canvas: Canvas, frame: Frame, signal: Signal) -> Tensor:
    """Fat with lobules, separated by thin septa: (y, x)."""
    image = signal["fat"] * (1 + canvas.uniform(0.04, 0.12) * canvas.noise(0.7, 1.0, 50.0))
    septa = frame.line(canvas.noise(0.6, 3.0, 25.0), canvas.uniform(0.004, 0.012))
    patchy = (0.5 + 0.5 * canvas.noise(0.5, 2.0, 12.0)).clamp(0, 1) * canvas.uniform(0.0, 0.6)
    return paint(image, septa * patchy, signal["muscle"])


def bone(canvas: Canvas, frame: Frame, signal: Signal, distance: Tensor, shell: float) -> tuple[Tensor, Tensor]:
    """Coverage and signal of a bone inside `distance` > 0: dark cortical shell, trabecular marrow."""
    marrow = signal["marrow"] * (1 + 0.1 * canvas.noise(0.9, 0.7, 30.0) + 0.06 * canvas.noise(0.2, 15.0, 70.0))
    inner = frame.inside(distance - shell, 0.012)
    return frame.inside(distance), signal["bone"] + inner * (marrow - signal["bone"])


def soft_tissue(canvas: Canvas, frame: Frame, signal: Signal, air: float) -> Tensor:
    """Randomly arranged muscle, fat, bone, vessels and, more often for larger `air`, air cavities: (y, x)."""
    shape = canvas.noise(1.3, 1.0, 14.0)
    other = canvas.noise(1.2, 1.5, 16.0)
    image = muscle(canvas, signal)
    fatty = fat(canvas, frame, signal)
    image = paint(image, frame.inside((other - canvas.uniform(0.2, 1.0)) * 0.1), fatty)
    image = paint(image, frame.line(shape, canvas.uniform(0.015, 0.05)), fatty)
    image = paint(image, frame.line(canvas.noise(0.8, 2.0, 18.0), 0.012) * canvas.uniform(0, 0.7), signal["fat"])
    image = paint(image, *bone(canvas, frame, signal, (-other - canvas.uniform(0.8, 1.6)) * 0.1, 0.03))
    if canvas.chance(air + 0.3):
        cavity = (canvas.noise(1.5, 1.0, 10.0) - canvas.uniform(0.8, 1.6)) * 0.12
        image = paint(image, frame.inside(cavity + 0.02), signal["mucosa"])
        image = paint(image, frame.inside(cavity), 0.0)
    return paint(image, canvas.dots(40, 0.006, 0.03), signal["blood"])


def eyes(canvas: Canvas, half: Frame, signal: Signal, image: Tensor, u: float, v: float) -> Tensor:
    """Both orbits on the mirrored frame: fat, globe with lens and wall, muscles and optic nerve."""
    radius = canvas.uniform(0.11, 0.14)
    image = paint(image, half.inside(half.ellipse(u - 0.03, v - 0.08, 0.19, 0.27, 0.25)), fat(canvas, half, signal))
    nerve = half.segment((u - 0.02, v - radius), (u - 0.18, v - 0.38))
    for width, tissue in ((0.045, "csf"), (0.028, "white")):
        image = paint(image, half.inside(width - nerve), signal[tissue])
    for side in (-1, 1):
        rectus = half.segment((u + side * 0.12, v), (u - 0.12 + side * 0.03, v - 0.34))
        image = paint(image, half.inside(0.022 - rectus), signal["muscle"])
    globe = half.ellipse(u, v, radius, radius)
    image = paint(image, half.inside(globe + 0.02), signal["muscle"] * 0.5)
    image = paint(image, half.inside(globe), signal["vitreous"])
    return paint(image, half.inside(half.ellipse(u, v + radius * 0.75, 0.055, 0.025)), signal["ligament"])


def nose(canvas: Canvas, frame: Frame, signal: Signal, image: Tensor, u: float, v: float) -> Tensor:
    """Nasal cavity and sinuses: thin folded mucosa around air, walls of bone."""
    cavity = frame.ellipse(u, v, canvas.uniform(0.14, 0.22), canvas.uniform(0.25, 0.4)) + 0.05 * canvas.noise(
        1.0, 1.0, 10.0
    )
    image = paint(image, frame.inside(cavity + 0.015), signal["bone"])
    folds = frame.line_distance(canvas.noise(0.0, 5.0, 9.0), 0.15)
    lining = paint(torch.zeros_like(image), frame.inside(canvas.uniform(0.01, 0.045) - folds), signal["mucosa"])
    image = paint(image, frame.inside(cavity), lining)
    cells = frame.inside(canvas.noise(0.3, 7.0, 18.0) * 0.03 - 0.01)
    around = ((canvas.noise(1.0, 0.5, 4.0) - 0.9) * 6).clamp(0, 1)
    return paint(image, around * cells, 0.0)


def spine(canvas: Canvas, frame: Frame, signal: Signal, image: Tensor, u: float) -> Tensor:
    """Vertebrae with discs along the neck, and the airway in front of them."""
    across = frame.u - u - 0.12 * (frame.v + 0.4)
    period = canvas.uniform(0.15, 0.2)
    phase = torch.cos(2 * math.pi * frame.v / period)
    body = torch.minimum(0.08 - across.abs(), -0.42 - frame.v)
    image = paint(image, frame.inside(body + 0.01), signal["cartilage"])
    image = paint(image, *bone(canvas, frame, signal, torch.minimum(body, (phase + 0.65) * period / 5), 0.012))
    airway = torch.minimum(0.035 - (across - 0.17 + 0.02 * canvas.noise(1.0, 1.0, 6.0)).abs(), -0.3 - frame.v)
    return paint(image, frame.inside(airway), 0.0)
