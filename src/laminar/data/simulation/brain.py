"""Heads: axial, coronal-like and sagittal-like slices with folded cortex, skull, face and random contrast.

Painted from the outside in. Lengths are in units of half the head; `u` points to the right and `v` to the
front (axial) or upwards (coronal, sagittal). Symmetric organs are painted once, on the mirrored frame.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from laminar.data.simulation.contrast import draw_contrast
from laminar.data.simulation.fields import Canvas, Frame, paint, union
from laminar.data.simulation.folding import cortex, folia
from laminar.data.simulation.tissue import eyes, nose, soft_tissue, spine

_SEQUENCES = {"t1": 2.0, "t2": 3.0, "pd": 1.0, "flair": 1.5, "mprage": 2.0, "gre": 1.3, "random": 1.0}
_VIEWS = {"high": 1.5, "middle": 3.0, "low": 2.0, "coronal": 2.0, "sagittal": 2.0}


def brain(canvas: Canvas) -> Tensor:
    """Signal of a random slice through a head, zero in air: float32 (y, x)."""
    signal = draw_contrast(canvas, _SEQUENCES, fat_suppression=0.3)
    return _Head(canvas, signal, canvas.choose(_VIEWS)).image()


def place(canvas: Canvas, smallest: float, largest: float, warp: float) -> Frame:
    """A frame of random size, position and orientation, its long axis along the long side of the grid."""
    height, width = canvas.matrix
    longer = max(height, width) / min(height, width)
    quarter_turns = canvas.integer(0, 3)
    if longer > 1.1:
        quarter_turns = quarter_turns // 2 * 2 + (width > height)
    angle = quarter_turns * math.pi / 2 + canvas.normal(0.12)
    scale = canvas.uniform(smallest, largest) * min(longer, 1.2)
    return canvas.frame(scale, angle, (canvas.normal(0.05), canvas.normal(0.05)), warp)


class _Head:
    """One head with its contrast and view."""

    def __init__(self, canvas: Canvas, signal: dict[str, float], view: str) -> None:
        self.canvas, self.signal, self.view = canvas, signal, view
        self.frame = place(canvas, 0.82, 1.06, canvas.uniform(0.02, 0.05))
        self.half = self._mirrored(canvas.uniform(0.015, 0.035))

    def _mirrored(self, warp: float) -> Frame:
        """The frame with |u| for u, deformed a little more so that both sides differ."""
        u = self.frame.u + warp * self.canvas.noise(1.0, 1.0, 9.0)
        return Frame(u.abs(), self.frame.v + warp * self.canvas.noise(1.0, 1.0, 9.0), self.frame.pixel)

    def image(self) -> Tensor:
        c, s, f = self.canvas, self.signal, self.frame
        skin, vault = self._outline()
        depth = vault - c.uniform(0.045, 0.09) * (1 + 0.3 * c.noise(1.2, 0.4, 6.0)).clamp(min=0.4)
        image = self._scalp(skin)
        if self.view not in ("high", "middle"):
            image = paint(image, f.inside(skin - 0.06 - 0.03 * c.noise(1.0, 0.5, 8.0)), self._face())
        image = paint(image, f.inside(vault), self._skull(vault, depth))
        brain, pia = self._brain(depth)
        image = paint(image, f.inside(depth), s["csf"] * (1 + 0.08 * c.noise(1.0, 1.0, 20.0)))
        return self._details(paint(image, f.inside(pia), brain), depth) * f.inside(skin)

    def _outline(self) -> tuple[Tensor, Tensor]:
        """Distances inside the skin and inside the outer table of the skull."""
        c, f = self.canvas, self.frame
        a = c.uniform(0.72, 0.88)
        scalp = c.uniform(0.03, 0.09) * (1 + 0.3 * c.noise(1.5, 0.4, 4.0))
        match self.view:
            case "low":
                skin = union(f.ellipse(0, 0, a, 0.95), f.ellipse(0, 0.86, 0.14, 0.24), 0.06)
                lobes = self.half.ellipse(a * 0.5, c.uniform(0.0, 0.15), a * 0.36, c.uniform(0.3, 0.4), 0.25)
                behind = f.ellipse(0, -0.42, a * 0.78, 0.46)
                return skin, union(lobes, behind, 0.08) + c.uniform(0.0, 0.06)
            case "coronal":
                dome = f.ellipse(0, 0.28, a * 0.95, 0.7)
                return union(dome, f.ellipse(0, -0.6, c.uniform(0.45, 0.7), 0.9), 0.15), dome - scalp
            case "sagittal":
                dome = f.ellipse(-0.05, 0.27, 0.92, 0.7)
                face = union(f.ellipse(0.42, -0.35, 0.42, 0.62), f.ellipse(-0.2, -0.9, 0.4, 0.9), 0.2)
                behind = f.ellipse(-0.48, -0.17, 0.36, 0.3)
                bowl = torch.minimum(
                    dome - scalp, union(f.v + 0.1 - 0.3 * f.u + 0.05 * c.noise(1.0, 0.5, 6.0), behind, 0.1)
                )
                return union(dome, face, 0.1), bowl
            case _:
                skin = f.ellipse(0, 0, a, 0.97)
                return skin, skin - scalp

    def _scalp(self, skin: Tensor) -> Tensor:
        c, s, f = self.canvas, self.signal, self.frame
        lobules = 1 + 0.12 * c.noise(0.6, 3.0, 50.0)
        image = paint(f.inside(skin) * s["skin"], f.inside(skin - c.uniform(0.012, 0.025)), s["fat"] * lobules)
        patches = ((c.noise(1.0, 0.5, 6.0) - c.uniform(-0.5, 1.0)) * 4).clamp(0, 1)
        return paint(image, f.inside(skin - c.uniform(0.02, 0.06)) * patches, s["muscle"])

    def _face(self) -> Tensor:
        c, s, f = self.canvas, self.signal, self.frame
        image = soft_tissue(c, f, s, air=0.3)
        match self.view:
            case "low":
                image = nose(c, f, s, image, 0.0, 0.45)
                return eyes(c, self.half, s, image, 0.38, 0.6)
            case "coronal":
                image = nose(c, f, s, image, 0.0, -0.62)
                return eyes(c, self.half, s, image, 0.4, -0.42) if c.chance(0.4) else image
            case _:
                image = nose(c, f, s, image, 0.5, -0.4)
                return spine(c, f, s, image, -0.12)

    def _skull(self, vault: Tensor, depth: Tensor) -> Tensor:
        """Cortical bone with marrow between its tables."""
        c, s, f = self.canvas, self.signal, self.frame
        table = c.uniform(0.012, 0.025)
        marrow = s["marrow"] * (1 + 0.12 * c.noise(0.6, 2.0, 60.0))
        return paint(
            torch.full_like(vault, s["bone"]),
            f.inside(torch.minimum(vault - table, -depth - table), 0.012),
            marrow,
        )

    def _brain(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Signal of the brain and the distance inside of what is painted with it."""
        depth = depth - self.canvas.uniform(0.0, 0.025) * (1 + self.canvas.noise(1.0, 0.5, 6.0)).clamp(min=0)
        match self.view:
            case "low":
                return self._base(depth)
            case "sagittal":
                return self._sagittal(depth)
            case _:
                return self._hemispheres(depth), depth

    def _hemispheres(self, depth: Tensor) -> Tensor:
        c, f = self.canvas, self.frame
        falx = (f.u + 0.015 * c.noise(1.5, 1.0, 10.0)).abs() - c.uniform(-0.002, 0.012)
        if self.view == "high":
            return cortex(c, f, self.signal, torch.minimum(depth, falx))
        falx = torch.maximum(falx, f.ellipse(0, c.uniform(-0.05, 0.1), 0.25, c.uniform(0.28, 0.45)) * 1.5)
        reach, bend = c.uniform(0.34, 0.5), c.uniform(-0.05, 0.25)
        start = (0.95, bend + c.uniform(-0.15, 0.15))
        fissure = torch.minimum(
            self.half.segment(start, (reach, bend)),
            self.half.segment((reach, bend), (reach + c.uniform(-0.05, 0.05), bend - c.uniform(0.05, 0.2))),
        )
        pial = torch.minimum(torch.minimum(depth, falx), fissure - c.uniform(0.0, 0.02))
        return self._deep(cortex(c, f, self.signal, pial))

    def _jitter(self) -> float:
        return self.canvas.normal(0.015)

    def _deep(self, image: Tensor) -> Tensor:
        """Basal ganglia, thalamus, internal capsule and ventricles."""
        c, s, h = self.canvas, self.signal, self.half
        image = paint(image, h.inside(h.ellipse(0, 0.0, 0.33, 0.38), 0.1), s["white"] * (1 + 0.03 * c.noise(1, 1, 30)))
        nuclei = torch.maximum(
            h.ellipse(0.27 + self._jitter(), 0.05 + self._jitter(), 0.06, 0.17, -0.2),
            h.ellipse(0.11 + self._jitter(), -0.1 + self._jitter(), 0.085, 0.14, 0.35),
        )
        nuclei = torch.maximum(nuclei, h.ellipse(0.14 + self._jitter(), 0.22 + self._jitter(), 0.045, 0.09, -0.3))
        grey = s["deep_grey"] * (1 + 0.05 * c.noise(0.8, 1.0, 40.0))
        image = paint(image, h.inside(nuclei, c.uniform(0.015, 0.05)), grey)
        pallidum = h.ellipse(0.2 + self._jitter(), 0.02 + self._jitter(), 0.035, 0.09, -0.3)
        image = paint(image, h.inside(pallidum, 0.03) * c.uniform(0, 0.8), s["white"] * c.uniform(0.6, 1.1))
        ventricles = self._ventricles()
        image = paint(image, h.inside(ventricles), s["csf"])
        plexus = h.inside(ventricles - 0.01) * ((c.noise(0.5, 3.0, 25.0) - 1.2) * 2).clamp(0, 1)
        return paint(image, plexus * c.uniform(0, 1), s["grey"])

    def _ventricles(self) -> Tensor:
        """Distance inside the lateral ventricles, two bows that widen at their ends, and the third one."""
        c, h = self.canvas, self.half
        width = c.log_uniform(0.012, 0.08)
        gap, bow, low = c.uniform(0.0, 0.02), c.uniform(0.7, 1.6), c.uniform(-0.5, -0.35)
        middle = gap + width + bow * (h.v - c.uniform(0.0, 0.08)) ** 2
        body = c.uniform(-0.6, 1.0) * torch.exp(-(((h.v + 0.02) / 0.13) ** 2))  # closed between the horns, or not
        lateral = torch.minimum(
            width * (0.75 + c.uniform(0.0, 1.5) * h.v.abs() - 1.6 * body.clamp(min=0)) - (h.u - middle).abs() * 0.8,
            torch.minimum(h.v - low, c.uniform(0.28, 0.4) - h.v),
        )
        return torch.maximum(lateral, h.ellipse(0, -0.02, c.uniform(0.006, 0.03), c.uniform(0.08, 0.15)))

    def _base(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Temporal lobes, cerebellum and brainstem with cisterns between them."""
        c, s, f = self.canvas, self.signal, self.frame
        tent = 0.15 + c.normal(0.04) - 0.35 * self.half.u + f.v + 0.02 * c.noise(1.0, 0.5, 8.0)
        lobes = torch.minimum(depth, tent)
        behind = torch.minimum(depth, -tent - c.uniform(0.005, 0.03))
        image = cortex(c, f, s, lobes)
        image = paint(image, f.inside(behind), folia(c, f, s, behind))
        image = paint(image, f.inside(-torch.maximum(lobes, behind)), s["csf"])
        stem = f.ellipse(0, -0.12 + c.normal(0.03), c.uniform(0.14, 0.22), c.uniform(0.12, 0.2))
        image = paint(image, f.inside(stem + c.uniform(0.01, 0.06)), s["csf"])
        image = paint(image, f.inside(stem), s["white"] * (1 + 0.06 * c.noise(1.0, 2.0, 30.0)))
        fourth = f.ellipse(0, -0.3 + c.normal(0.02), c.uniform(0.03, 0.12), c.uniform(0.025, 0.06))
        return paint(image, f.inside(fourth), s["csf"]), depth

    def _sagittal(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Cortex, cerebellum and brainstem; near the midline also corpus callosum, ventricle and thalamus."""
        c, s, f = self.canvas, self.signal, self.frame
        behind = torch.minimum(f.ellipse(-0.48, -0.15, 0.34, 0.26, 0.3), depth)
        image = cortex(c, f, s, torch.minimum(depth, (-behind).clamp(min=-0.02)))
        midline = c.chance(0.6)
        if midline:
            image = self._callosum(image)
        image = paint(image, f.inside(behind + 0.02), s["csf"])
        image = paint(image, f.inside(behind), folia(c, f, s, behind))
        if not midline:
            return image, depth
        cord = torch.minimum(f.segment((-0.1, -0.05), (-0.2, -0.35)) - 0.05, f.segment((-0.2, -0.35), (-0.3, -1.6)))
        stem = torch.maximum(0.055 - cord, f.ellipse(-0.12, -0.2, 0.1, 0.14, -0.3))
        image = paint(image, f.inside(stem + 0.035), s["csf"])
        return paint(image, f.inside(stem), s["white"] * (1 + 0.06 * c.noise(1, 2, 30))), torch.maximum(
            depth, stem + 0.035
        )

    def _callosum(self, image: Tensor) -> Tensor:
        c, s, f = self.canvas, self.signal, self.frame
        bow = f.v - 0.3 + c.uniform(1.0, 1.8) * (f.u + 0.03) ** 2
        span = 0.4 - (f.u + 0.03).abs()
        under = torch.minimum(-bow, torch.minimum(f.v + 0.02, span + 0.05))
        image = paint(image, f.inside(under + 0.03), s["csf"])
        image = paint(image, f.inside(f.ellipse(-0.08, 0.1, 0.17, 0.11), 0.03), s["deep_grey"])
        thickness = c.uniform(0.03, 0.05) * (1 + (f.u.abs() / 0.4) ** 2)
        return paint(image, f.inside(torch.minimum(thickness - bow.abs(), span)), s["white"])

    def _details(self, image: Tensor, depth: Tensor) -> Tensor:
        """Vessels and, sometimes, lesions inside the skull."""
        c, s, f = self.canvas, self.signal, self.frame
        inside = f.inside(depth)
        vessels = f.line(c.noise(1.0, 1.5, 12.0), c.uniform(0.006, 0.016)) * (c.noise(1.0, 1.0, 8.0) > 1.0)
        image = paint(image, inside * vessels * c.uniform(0.2, 0.9), s["blood"])
        image = paint(image, inside * c.dots(40, 0.004, 0.014, 0.8), s["blood"])
        if c.chance(0.35):
            spots = c.dots(c.integer(1, 25), 0.01, c.uniform(0.02, 0.12), 0.6) * c.uniform(0.4, 1.0)
            image = paint(image, inside * spots, s["lesion"] * (1 + 0.1 * c.noise(0.8, 3.0, 40.0)))
        return image
