"""Folded sheets of the brain: cerebral cortex and cerebellar folia."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from laminar.data.simulation.fields import Canvas, Frame, paint


def cortex(canvas: Canvas, frame: Frame, signal: dict[str, float], pial: Tensor) -> Tensor:
    """Sulci, a grey ribbon of nearly constant thickness and white matter below it: (y, x).

    `pial` is the distance below the outer surface of the brain. Sulci are the zero lines of a narrow-band
    random field; they close where they reach deeper than a random depth. The distance to the folded surface
    is min(pial, distance to a sulcus), and tissue follows from that distance alone.
    """
    spacing = canvas.uniform(0.13, 0.19)
    sulcus = frame.line_distance(_gyri(canvas, frame, spacing), spacing)
    reach = canvas.uniform(0.2, 0.36) * (1 + 0.4 * canvas.noise(1.0, 0.5, 6.0))
    surface = torch.minimum(sulcus + 0.7 * (pial - reach).clamp(min=0), pial)
    opening = canvas.uniform(0.004, 0.018) + 0.007 * canvas.noise(0.7, 0.5, 12.0) - 0.012 * (pial / 0.3).clamp(0, 1)
    ribbon = canvas.uniform(0.024, 0.036) * (1 + 0.12 * canvas.noise(0.8, 0.5, 12.0))
    grey = signal["grey"] * (1 + 0.06 * canvas.noise(0.7, 1.0, 60.0))
    white = signal["white"] * (1 + 0.04 * canvas.noise(1.0, 0.5, 60.0))
    image = paint(grey, frame.inside(surface - opening.clamp(min=0) - ribbon, canvas.uniform(0.01, 0.025)), white)
    return paint(image, frame.inside(opening - surface, 0.01), signal["csf"])


def _gyri(canvas: Canvas, frame: Frame, spacing: float) -> Tensor:
    """A field with winding zero lines this far apart, in part lined up across the surface."""
    cycles = frame.pixel / (canvas.pixel * spacing)  # per field of view
    bands = canvas.noise(0.0, 0.7 * cycles, 1.3 * cycles)
    angle = torch.atan2(frame.v, frame.u) + 0.2 * canvas.noise(0.8, 1.0, 9.0)
    radius = torch.hypot(frame.u, frame.v)
    spokes = torch.cos(angle * round(0.72 * math.pi / spacing))
    weight = canvas.uniform(0.0, 1.2) * ((radius - 0.35) / 0.3).clamp(0, 1)
    return bands + weight * spokes


def folia(canvas: Canvas, frame: Frame, signal: dict[str, float], distance: Tensor) -> Tensor:
    """Fine leaves that follow the surface of the cerebellum, with a branching white core: (y, x)."""
    winding = distance + 0.35 * frame.v * canvas.normal() + 0.04 * canvas.noise(1.2, 0.5, 8.0)
    leaves = torch.cos(winding * (2 * math.pi / canvas.uniform(0.035, 0.065))) + 0.35 * canvas.noise(0.5, 8.0, 40.0)
    image = paint(torch.full_like(leaves, signal["grey"]), ((leaves - 0.3) * 1.5).clamp(0, 1) * 0.7, signal["white"])
    image = paint(image, ((-leaves - 0.7) * 2).clamp(0, 1) * canvas.uniform(0.1, 0.8), signal["csf"])
    core = distance - 0.16 - 0.05 * canvas.noise(0.4, 4.0, 16.0)
    return paint(image, frame.inside(core, 0.04), signal["white"])
