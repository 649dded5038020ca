"""Objects from images of others: turned, stretched, with a contrast, bright spots and a phase of their own."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from laminar.data.simulation.fields import Canvas
from laminar.data.simulation.phantoms import random_phase, random_shading

FINEST, COARSEST = 0.5, 0.8
"""How much of the image's k-space a scan of it holds along an axis; the rest is partial volume and Gibbs ringing."""


def pictured(image: Tensor, grid: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Transverse magnetization that shows `image` (y, x) on a `grid` (y, x) finer than the scan: complex64.

    Turned, flipped, stretched and moved at random; a random intensity curve and smooth shading; at times bright spots
    and streaks, as vessels, fat and sinuses are. A real image gets a random structured phase, a complex one keeps its
    own under a random smooth one. Magnitude about in [0, 1].
    """
    canvas = Canvas(grid, generator)
    placed = _placed(image, canvas)
    magnitude = _contrast(placed.abs(), canvas) * random_shading(canvas)
    if canvas.chance(0.35):
        magnitude = _with_bright_spots(magnitude, canvas)
    magnitude = magnitude.clamp_min(0)
    phase = random_phase(canvas, magnitude)
    return torch.polar(magnitude, phase + placed.angle() if placed.is_complex() else phase)


def _placed(image: Tensor, canvas: Canvas) -> Tensor:
    """The image on the grid under a random affine map, zero outside of it."""
    for axis in (-2, -1):
        if canvas.chance(0.5):
            image = image.flip(axis)
    angle = canvas.uniform(-math.pi, math.pi) if canvas.chance(0.2) else canvas.normal(0.12)
    fill = canvas.uniform(0.65, 1.05)  # of the field of view
    stretch = math.exp(canvas.normal(0.06))
    height, width = image.shape
    # From positions on the grid, in pixels of the image, to positions in the image.
    pixel = max(height / canvas.matrix[0], width / canvas.matrix[1]) / fill
    y = (torch.arange(canvas.matrix[0]) - canvas.matrix[0] // 2) * pixel * stretch + canvas.normal(0.02) * height
    x = (torch.arange(canvas.matrix[1]) - canvas.matrix[1] // 2) * pixel / stretch + canvas.normal(0.02) * width
    rows = math.cos(angle) * y[:, None] - math.sin(angle) * x[None, :]
    columns = math.sin(angle) * y[:, None] + math.cos(angle) * x[None, :]
    place = torch.stack([2 * columns / width, 2 * rows / height], -1)[None]
    parts = torch.view_as_real(image).permute(2, 0, 1) if image.is_complex() else image[None]
    moved = F.grid_sample(parts[None], place, mode="bicubic", padding_mode="zeros", align_corners=False)[0]
    if image.is_complex():
        return torch.view_as_complex(moved.permute(1, 2, 0).contiguous())
    return moved[0].clamp_min(0)


def _contrast(magnitude: Tensor, canvas: Canvas) -> Tensor:
    """A random intensity curve that keeps 0 and 1, monotonic but for one in ten."""
    curved = magnitude.clamp_min(0) ** math.exp(canvas.normal(0.25))
    if canvas.chance(0.1):  # tissue that was bright is dark, air stays dark
        body = (magnitude / 0.08).clamp(0, 1)
        curved = body * (1.05 - curved).clamp_min(0.05)
    return curved


def _with_bright_spots(magnitude: Tensor, canvas: Canvas) -> Tensor:
    """Some spots and a winding streak, up to three times as bright as anything else, inside the object."""
    inside = (magnitude / 0.1).clamp(0, 1)
    marks = canvas.dots(canvas.integer(1, 12), 0.004, 0.05)
    if canvas.chance(0.5):
        field = canvas.noise(1.5, 0.5, 6.0)
        width = canvas.uniform(0.006, 0.02)
        slope = torch.hypot(*torch.gradient(field)) / canvas.pixel
        streak = (1 - field.abs() / (slope * width).clamp_min(1e-6)).clamp(0, 1)
        marks = torch.maximum(marks, streak * (canvas.noise(1.0, 0.5, 3.0) > 0.5))
    return magnitude + canvas.uniform(0.3, 2.5) * marks * inside
