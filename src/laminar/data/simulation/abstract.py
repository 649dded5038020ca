"""Abstract images with the statistics of natural ones: dead leaves, gratings, strokes, gradients."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from laminar.data.simulation.fields import Canvas, Frame, paint


def abstract(canvas: Canvas) -> Tensor:
    """A random pile of textured shapes, mostly on a body of random outline: float32 (y, x)."""
    frame = canvas.frame(1.0, 0.0, (0.0, 0.0), canvas.uniform(0.0, 0.08))
    image = canvas.uniform(0.1, 0.6) + 0.12 * canvas.noise(canvas.uniform(0.8, 1.8), 0.4, 40.0)
    image = _leaves(canvas, image, round(canvas.log_uniform(25, 220)))
    image = _overlay(canvas, frame, image, canvas.choose(dict.fromkeys(_OVERLAYS, 1.0))).clamp(0, 1.1)
    if canvas.chance(0.85):
        width, height = canvas.uniform(0.65, 1.0), canvas.uniform(0.65, 1.0)
        image = image * frame.inside(frame.ellipse(canvas.normal(0.05), canvas.normal(0.05), width, height))
    return image


_OVERLAYS = ("none", "lines", "posterized", "dots", "grating", "strokes", "folds")


def _overlay(canvas: Canvas, frame: Frame, image: Tensor, kind: str) -> Tensor:
    """Fine structure over the pile of shapes."""
    value = canvas.uniform(0, 1)
    match kind:
        case "lines":
            return paint(image, frame.line(canvas.noise(1.0, 1.0, 20.0), canvas.log_uniform(0.004, 0.03)), value)
        case "posterized":
            levels = canvas.integer(2, 6)
            steps = torch.round(canvas.noise(1.2, 0.5, 30.0) * levels / 2) / levels
            return image + canvas.uniform(0.1, 0.5) * steps
        case "dots":
            return paint(image, canvas.dots(canvas.integer(20, 300), 0.004, canvas.log_uniform(0.01, 0.05)), value)
        case "grating":
            angle, cycles = canvas.uniform(0, math.pi), canvas.log_uniform(4, 50)
            phase = math.pi * cycles * (math.cos(angle) * frame.u + math.sin(angle) * frame.v)
            return image * (1 + canvas.uniform(0.1, 0.6) * torch.sin(phase) * (canvas.noise(1.5, 0.4, 5.0) > 0))
        case "strokes":
            return paint(image, _strokes(canvas), value)
        case "folds":
            spacing = canvas.log_uniform(0.03, 0.2)
            distance = frame.line_distance(canvas.noise(0.0, 0.7 / spacing, 1.3 / spacing), spacing)
            return paint(image, frame.inside(distance - canvas.uniform(0.1, 0.4) * spacing), value)
    return image


def _strokes(canvas: Canvas) -> Tensor:
    """Rows of short random strokes, like writing: coverage (y, x)."""
    size = canvas.log_uniform(0.04, 0.15)
    cells = (torch.rand(64, 96, generator=canvas.generator) < 0.45).float()
    cells[::6] = 0.0
    cells[1::6] = 0.0
    rows = ((canvas.y[:, 0] + 1.2) / size * 4).long().clamp(0, 10**6) % 64
    columns = ((canvas.x[0] + 1.2) / size * 4).long().clamp(0, 10**6) % 96
    return cells[rows][:, columns] * (canvas.noise(1.5, 0.4, 4.0) > 0.3)


def _leaves(canvas: Canvas, image: Tensor, number: int) -> Tensor:
    """Paint shapes of power-law size one over the other, each in its own window of the image."""
    image = image.clone()
    smallest = canvas.log_uniform(0.012, 0.06)
    draws = torch.rand(number, 10, generator=canvas.generator).tolist()
    radii = sorted((smallest / max(d[0], 1e-3) ** 0.7 for d in draws), reverse=True)
    for draw, radius in zip(draws, radii, strict=True):
        _leaf(canvas, image, min(radius, 0.7), draw)
    return image


def _leaf(canvas: Canvas, image: Tensor, radius: float, draw: list[float]) -> None:
    """One superellipse or bar with a constant, graded or striped value."""
    cy, cx = 2 * draw[1] - 1, 2 * draw[2] - 1
    rows, columns = _window(canvas.y[:, 0], cy, radius), _window(canvas.x[0], cx, radius)
    view = image[rows, columns]
    if view.numel() == 0:
        return
    dy, dx = canvas.y[rows] - cy, canvas.x[:, columns] - cx
    angle, aspect = math.pi * draw[3], draw[4] ** 1.5 * 0.95 + 0.05
    along = math.cos(angle) * dx + math.sin(angle) * dy
    across = math.cos(angle) * dy - math.sin(angle) * dx
    a, b = radius, radius * aspect
    if draw[5] < 0.5:
        distance = (1 - torch.hypot(along / a, across / b)) * b
    else:
        distance = torch.minimum(0.7 * a - along.abs(), 0.7 * b - across.abs())
    value: Tensor | float = draw[6]
    if draw[7] < 0.25:
        value = draw[6] + 0.5 * (draw[8] - 0.5) * along / a
    elif draw[7] < 0.4:
        value = draw[6] + 0.3 * torch.sin(along * (2 * math.pi / (0.02 + 0.1 * draw[8])))
    coverage = (distance / canvas.pixel + 0.5).clamp(0, 1)
    view += coverage * (value - view) * (0.5 + 0.5 * min(1.0, 2 * draw[9]))


def _window(axis: Tensor, center: float, radius: float) -> slice:
    first = int(torch.searchsorted(axis, center - radius))
    return slice(first, int(torch.searchsorted(axis, center + radius)))
