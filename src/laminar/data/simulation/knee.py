"""Knees: sagittal-like and axial-like slices with bones, cartilage, menisci, ligaments, muscle and fat."""

from __future__ import annotations

import torch
from torch import Tensor

from laminar.data.simulation.brain import place
from laminar.data.simulation.contrast import draw_contrast
from laminar.data.simulation.fields import Canvas, Frame, paint, union
from laminar.data.simulation.tissue import bone, fat, muscle

_SEQUENCES = {"pd": 4.0, "t2": 1.5, "t1": 1.5, "stir": 0.7, "gre": 1.0, "random": 0.7}


def knee(canvas: Canvas) -> Tensor:
    """Signal of a random slice through a knee, zero in air: float32 (y, x)."""
    signal = draw_contrast(canvas, _SEQUENCES, fat_suppression=0.5)
    return _Knee(canvas, signal).image()


class _Knee:
    """One knee; `v` points up the leg (sagittal, coronal) or to the front (axial)."""

    def __init__(self, canvas: Canvas, signal: dict[str, float]) -> None:
        self.canvas, self.signal = canvas, signal
        self.frame = place(canvas, 0.9, 1.15, canvas.uniform(0.02, 0.06))

    def image(self) -> Tensor:
        c, s, f = self.canvas, self.signal, self.frame
        axial = c.chance(0.3)
        width = c.uniform(0.6, 0.8)
        skin = f.ellipse(0, 0, width, c.uniform(0.65, 0.9)) if axial else width - (f.u - 0.1 * f.v).abs()
        image = f.inside(skin) * s["skin"]
        image = paint(image, f.inside(skin - 0.015), fat(c, f, s))
        under = skin - c.uniform(0.06, 0.2) * (1 + 0.4 * c.noise(1.3, 0.4, 4.0)).clamp(min=0.2)
        image = paint(image, f.inside(under), self._flesh(under))
        image = self._axial(image) if axial else self._long(image)
        image = paint(image, c.dots(c.integer(4, 25), 0.006, 0.03) * f.inside(skin - 0.03), s["blood"])
        return image * f.inside(skin)

    def _flesh(self, under: Tensor) -> Tensor:
        """Muscles parted by planes of fat."""
        c, s, f = self.canvas, self.signal, self.frame
        bellies = c.noise(1.2, 0.7, 7.0)
        image = paint(muscle(c, s), f.line(bellies, c.uniform(0.015, 0.05)), fat(c, f, s))
        image = paint(image, f.inside((c.noise(1.3, 0.5, 5.0) - 0.3) * 0.15), fat(c, f, s))
        return paint(image, f.inside(0.012 - (under - 0.006).abs()), s["ligament"])

    def _bone(self, image: Tensor, distance: Tensor) -> Tensor:
        c, f = self.canvas, self.frame
        return paint(
            image,
            *bone(c, f, self.signal, distance + 0.008 * c.noise(1.0, 1.0, 15.0), c.uniform(0.012, 0.03)),
        )

    def _coat(self, image: Tensor, distance: Tensor, where: Tensor) -> Tensor:
        """Cartilage on a bone and a film of joint fluid upon it, where `where` is one."""
        c, s, f = self.canvas, self.signal, self.frame
        thickness = c.uniform(0.025, 0.06) * (1 + 0.25 * c.noise(1.0, 0.5, 10.0))
        film = c.uniform(0.005, 0.05)
        image = paint(image, f.inside(distance + thickness + film) * where, s["fluid"])
        layers = s["cartilage"] * (1 + 0.12 * c.noise(0.5, 2.0, 60.0)) * (1 + 4 * distance.clamp(-0.06, 0))
        return paint(image, f.inside(distance + thickness) * where, layers)

    def _long(self, image: Tensor) -> Tensor:
        """Femur above, tibia below, patella in front, with the joint between."""
        c, f = self.canvas, self.frame
        coronal = c.chance(0.4)
        half = Frame(f.u.abs(), f.v, f.pixel) if coronal else f
        joint = c.normal(0.05)
        shaft = torch.minimum(c.uniform(0.16, 0.24) - (f.u - 0.02).abs(), f.v - joint - 0.2)
        condyle = half.ellipse(
            0.22 if coronal else 0.0, joint + 0.26, c.uniform(0.2, 0.27) * (1.0 if coronal else 1.3), 0.25
        )
        femur = union(condyle, shaft, 0.12)
        plateau = torch.minimum(
            joint - 0.06 - f.v, c.uniform(0.36, 0.45) - f.u.abs() - 0.25 * (joint - f.v - 0.1).clamp(min=0)
        )
        image = self._ligaments(image, joint, coronal)
        near = f.inside(0.16 - (f.v - joint + 0.02).abs() * 0.6, 0.08)
        image = self._coat(image, femur, near)
        image = self._coat(image, plateau, near)
        image = self._menisci(image, joint, torch.maximum(femur, plateau))
        image = self._bone(self._bone(image, femur), torch.minimum(plateau, f.v + 3))
        return image if coronal else self._front(image, joint)

    def _menisci(self, image: Tensor, joint: float, bones: Tensor) -> Tensor:
        c, s, f = self.canvas, self.signal, self.frame
        half = Frame(f.u.abs(), f.v, f.pixel)
        wedge = torch.minimum(0.04 + 0.25 * (half.u - 0.22) - (f.v - joint + 0.03).abs(), 0.4 - half.u)
        image = paint(image, f.inside(torch.minimum(wedge, -bones)), s["ligament"])
        tear = f.line(c.noise(1.0, 2.0, 15.0), 0.012) * c.uniform(0, 0.6)
        return paint(image, f.inside(torch.minimum(wedge, -bones)) * tear, s["fluid"])

    def _ligaments(self, image: Tensor, joint: float, coronal: bool) -> Tensor:
        c, s, f = self.canvas, self.signal, self.frame
        lines = [((-0.12, joint + 0.15), (0.12, joint - 0.1)), ((0.15, joint + 0.1), (-0.15, joint - 0.15))]
        if coronal:
            lines += [
                ((-0.46, joint + 0.3), (-0.45, joint - 0.3)),
                ((0.46, joint + 0.3), (0.45, joint - 0.3)),
            ]
        streaks = s["ligament"] + 0.15 * s["fat"] * c.noise(0.3, 8.0, 50.0).clamp(min=0)
        for start, end in lines:
            image = paint(image, f.inside(c.uniform(0.012, 0.045) - f.segment(start, end)), streaks)
        return image

    def _front(self, image: Tensor, joint: float) -> Tensor:
        """Patella with its tendons, fat pad and, sometimes, an effusion."""
        c, s, f = self.canvas, self.signal, self.frame
        u, v = c.uniform(0.42, 0.5), joint + c.uniform(0.2, 0.4)
        pad = f.ellipse(u - 0.08, joint + 0.02, 0.14, 0.2)
        image = paint(image, f.inside(pad), fat(c, f, s))
        if c.chance(0.4):
            image = paint(image, f.inside(f.ellipse(u - 0.12, v + 0.3, c.uniform(0.02, 0.08), 0.25)), s["fluid"])
        for end in ((u - 0.02, joint - 0.35), (u - 0.1, v + 0.7)):
            image = paint(image, f.inside(c.uniform(0.015, 0.03) - f.segment((u + 0.04, v), end)), s["ligament"])
        patella = f.ellipse(u, v, c.uniform(0.07, 0.1), c.uniform(0.14, 0.2))
        image = self._coat(image, patella, f.inside(u - f.u))
        return self._bone(image, patella)

    def _axial(self, image: Tensor) -> Tensor:
        c, s, f = self.canvas, self.signal, self.frame
        half = Frame(f.u.abs(), f.v, f.pixel)
        femur = union(half.ellipse(0.2, -0.02, 0.22, c.uniform(0.24, 0.32), 0.2), f.ellipse(0, 0.1, 0.25, 0.2), 0.08)
        patella = f.ellipse(c.normal(0.04), c.uniform(0.48, 0.54), c.uniform(0.2, 0.28), c.uniform(0.08, 0.12))
        front = f.inside(f.v - 0.12, 0.1)
        image = paint(image, f.inside(0.03 - (patella + 0.04).abs()) * f.inside(f.v - 0.5, 0.1), s["ligament"])
        image = self._coat(image, femur, front)
        image = self._coat(image, patella, f.inside(0.5 - f.v, 0.05))
        image = self._bone(self._bone(image, femur), patella)
        for _ in range(c.integer(2, 5)):
            tendon = f.ellipse(
                c.uniform(-0.4, 0.4), c.uniform(-0.6, -0.35), c.uniform(0.015, 0.06), c.uniform(0.015, 0.05)
            )
            image = paint(image, f.inside(tendon), s["ligament"])
        return image
