"""Chests: short-axis-like slices with both ventricles, lungs, liver, vessels, spine and chest wall."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from laminar.data.simulation.brain import place
from laminar.data.simulation.contrast import draw_contrast
from laminar.data.simulation.fields import Canvas, Frame, paint
from laminar.data.simulation.tissue import bone, fat, muscle, soft_tissue

_SEQUENCES = {"balanced": 4.0, "t1": 0.7, "t2": 1.0, "gre": 1.0, "mprage": 0.5, "random": 0.8}


def cardiac(canvas: Canvas) -> Tensor:
    """Signal of a random slice through a chest, zero in air: float32 (y, x)."""
    signal = draw_contrast(canvas, _SEQUENCES, fat_suppression=0.25)
    if canvas.chance(0.7):  # balanced and inflow contrast: blood is bright
        signal["blood"] = max(signal["blood"], canvas.uniform(0.6, 1.1))
    return _Chest(canvas, signal).image()


class _Chest:
    """One chest; `v` points to the breastbone, in half widths of the chest."""

    def __init__(self, canvas: Canvas, signal: dict[str, float]) -> None:
        self.canvas, self.signal = canvas, signal
        self.frame = place(canvas, 0.9, 1.5, canvas.uniform(0.02, 0.06))
        self.heart = (canvas.uniform(-0.15, 0.15), canvas.uniform(-0.05, 0.2))

    def image(self) -> Tensor:
        c, s, f = self.canvas, self.signal, self.frame
        skin = f.ellipse(0, 0, c.uniform(0.9, 1.0), c.uniform(0.6, 0.85))
        image = paint(f.inside(skin) * s["skin"], f.inside(skin - 0.015), fat(c, f, s))
        wall = skin - c.uniform(0.03, 0.16) * (1 + 0.4 * c.noise(1.3, 0.4, 4.0)).clamp(min=0.2)
        image = paint(image, f.inside(wall), self._wall(wall))
        cavity = wall - c.uniform(0.06, 0.12)
        image = paint(image, f.inside(cavity), self._cavity(cavity))
        image = self._spine(image)
        return self._heart(image) * f.inside(skin)

    def _wall(self, wall: Tensor) -> Tensor:
        """Muscle with ribs in it."""
        c, s, f = self.canvas, self.signal, self.frame
        image = paint(muscle(c, s), f.line(c.noise(1.0, 1.0, 10.0), 0.02), fat(c, f, s))
        angle = torch.atan2(f.v, f.u) * c.integer(8, 14) + c.noise(1.0, 0.5, 4.0)
        ribs = torch.minimum(0.03 - (wall - 0.06).abs(), (torch.cos(angle) - 0.1) * 0.08)
        return paint(image, *bone(c, f, s, ribs, 0.01))

    def _cavity(self, cavity: Tensor) -> Tensor:
        """Lungs with vessels; liver, spleen, stomach and gut below a diaphragm that the slice may cut."""
        c, s, f = self.canvas, self.signal, self.frame
        lung = s["lung"] * c.uniform(0.3, 1.5) * (1 + 0.3 * c.noise(0.6, 2.0, 60.0)).clamp(min=0)
        tree = f.line(c.noise(0.7, 2.0, 16.0), c.uniform(0.008, 0.02)) * (c.noise(0.8, 2.0, 12.0) > 0.3)
        image = paint(lung, tree * c.uniform(0.2, 0.9), s["blood"])
        image = paint(image, c.dots(80, 0.004, 0.02) * c.uniform(0.3, 1.0), s["blood"])
        cut = c.uniform(-0.5, 0.6)
        diaphragm = cut + 0.12 * c.noise(1.5, 0.4, 3.0) + c.normal(0.3) * f.v - f.u
        return paint(image, f.inside(diaphragm), self._abdomen(diaphragm))

    def _abdomen(self, diaphragm: Tensor) -> Tensor:
        c, s, f = self.canvas, self.signal, self.frame
        image = soft_tissue(c, f, s, air=0.2)
        organs = c.noise(1.6, 0.5, 5.0)
        liver = s["liver"] * (1 + 0.06 * c.noise(0.6, 2.0, 60.0))
        liver = paint(liver, f.line(c.noise(1.0, 1.5, 10.0), 0.02) * (c.noise(0.8, 1.0, 9.0) > 0.2), s["blood"])
        image = paint(image, f.inside((organs + 0.2) * 0.15), liver)
        spleen = s["spleen"] * (1 + 0.05 * c.noise(0.6, 2.0, 50.0))
        image = paint(image, f.inside((-organs - 1.0) * 0.15), spleen)
        film = f.inside(0.01 - (organs + 0.2).abs() * 0.1)
        return paint(image, film, s["fat"])

    def _spine(self, image: Tensor) -> Tensor:
        c, s, f = self.canvas, self.signal, self.frame
        u = c.normal(0.1)
        body = torch.maximum(f.ellipse(u, -0.42, 0.15, 0.11), f.ellipse(u, -0.62, 0.06, 0.12))
        image = paint(image, *bone(c, f, s, body, 0.015))
        image = paint(image, f.inside(f.ellipse(u, -0.55, 0.05, 0.045)), s["csf"])
        image = paint(image, f.inside(f.ellipse(u, -0.55, 0.025, 0.02)), s["white"])
        aorta = f.ellipse(u + 0.16, -0.32, 0.06, 0.06)
        image = paint(image, f.inside(aorta + 0.012), s["muscle"])
        return paint(image, f.inside(aorta), s["blood"])

    def _heart(self, image: Tensor) -> Tensor:
        """Fat and pericardium, right-ventricular crescent, left-ventricular ring with papillary muscles."""
        c, s, f = self.canvas, self.signal, self.frame
        (u, v), radius = self.heart, c.uniform(0.15, 0.24)
        turn = c.uniform(0.5, 1.5) * math.pi
        right = (u + 0.95 * radius * math.cos(turn), v + 0.95 * radius * math.sin(turn))
        rough = 0.015 * c.noise(0.8, 2.0, 14.0)
        outer = f.ellipse(u, v, radius, radius * c.uniform(0.9, 1.1)) + rough * 0.5
        crescent = (
            f.ellipse(*right, radius * c.uniform(0.9, 1.3), radius * c.uniform(0.7, 1.0), turn + math.pi / 2) + rough
        )
        around = torch.maximum(outer, crescent)
        image = paint(image, f.inside(around + 0.05 + 0.03 * c.noise(1.0, 0.5, 6.0)), fat(c, f, s))
        flesh = s["myocardium"] * (1 + 0.08 * c.noise(0.6, 1.0, 50.0))
        flow = s["blood"] * (1 + 0.1 * c.noise(1.2, 1.0, 20.0))
        image = paint(image, f.inside(crescent + 0.02), flesh)
        image = paint(image, f.inside(crescent), flow)
        image = paint(image, f.inside(outer), flesh)
        wall = c.uniform(0.2, 0.5) * radius * (1 + 0.12 * c.noise(1.0, 0.5, 6.0))
        image = paint(image, f.inside(outer - wall + rough), flow)
        if c.chance(0.25):  # late enhancement or edema in part of the wall
            scar = f.inside(torch.minimum(outer, wall - outer)) * ((c.noise(1.2, 0.5, 6.0) - 0.7) * 3).clamp(0, 1)
            image = paint(image, scar, c.uniform(0.5, 1.0))
        return self._papillary(image, Frame(f.u - u, f.v - v, f.pixel), radius - c.uniform(0.25, 0.5) * radius, flesh)

    def _papillary(self, image: Tensor, heart: Frame, radius: float, flesh: Tensor) -> Tensor:
        c = self.canvas
        for _ in range(c.integer(0, 4)):
            angle, size = c.uniform(0, 2 * math.pi), c.uniform(0.1, 0.25) * radius
            spot = heart.ellipse(0.75 * radius * math.cos(angle), 0.75 * radius * math.sin(angle), size, size * 0.8)
            image = paint(image, heart.inside(spot), flesh)
        return image
