"""Procedural phantoms: random anatomy, contrast, texture, shading and phase."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from laminar.data.simulation.abstract import abstract
from laminar.data.simulation.brain import brain
from laminar.data.simulation.cardiac import cardiac
from laminar.data.simulation.fields import Canvas
from laminar.data.simulation.knee import knee
from laminar.errors import ConfigError

ANATOMIES: dict[str, Callable[[Canvas], Tensor]] = {
    "brain": brain,
    "knee": knee,
    "cardiac": cardiac,
    "abstract": abstract,
}
_MIXTURE = {"brain": 0.6, "knee": 0.13, "cardiac": 0.12, "abstract": 0.15}


def phantom(anatomy: str, matrix: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Transverse magnetization of a random slice: complex64 (y, x), magnitude about in [0, 1], zero in air.

    Structure is a function of relative position, so the same seed on a finer grid of the same shape is the
    same anatomy with more detail. `anatomy` is a key of ANATOMIES or "mixed", which draws one of them.
    Raises ConfigError for an unknown anatomy or a side shorter than 16.
    """
    if anatomy != "mixed" and anatomy not in ANATOMIES:
        raise ConfigError(f"anatomy: expected one of {', '.join([*ANATOMIES, 'mixed'])}; got {anatomy!r}")
    if len(matrix) != 2 or min(matrix) < 16:
        raise ConfigError(f"matrix: expected two sides (y, x) of at least 16; got {matrix}")
    canvas = Canvas((int(matrix[0]), int(matrix[1])), generator)
    if anatomy == "mixed":
        anatomy = canvas.choose(_MIXTURE)
    signal = ANATOMIES[anatomy](canvas) * random_shading(canvas)
    signal = signal / adaptive_avg_pool2d(signal.abs()[None], 64).amax().clamp(min=1e-3)
    return torch.polar(signal.abs(), random_phase(canvas, signal) + math.pi * (signal < 0))


def random_shading(canvas: Canvas) -> Tensor:
    """Smooth transmit field and fine 1/f texture, both as a factor around one."""
    bias = torch.exp(canvas.log_uniform(0.02, 0.2) * canvas.noise(2.0, 0.4, 2.5))
    texture = canvas.noise(canvas.uniform(0.2, 1.3), 1.0, 110.0)
    return bias * (1 + canvas.log_uniform(0.008, 0.08) * texture)


def random_phase(canvas: Canvas, signal: Tensor) -> Tensor:
    """Phase in radians: a constant, a ramp, a smooth field, and sometimes strong local variation.

    Tissue may have a phase of its own, as fat has: an offset where the signal is bright, or a phase that follows the
    signal's fine structure. Sharp phase is what a network that saw smooth phase alone takes for aliasing.
    """
    tilt = canvas.log_uniform(0.05, 2.0)
    phase = canvas.uniform(-math.pi, math.pi) + tilt * (canvas.normal() * canvas.y + canvas.normal() * canvas.x)
    phase = phase + canvas.log_uniform(0.05, 1.2) * canvas.noise(2.0, 0.4, 4.0)
    if canvas.chance(0.3):
        phase = phase + canvas.log_uniform(0.03, 1.0) * canvas.noise(1.0, 3.0, 60.0)
    if canvas.chance(0.5):
        bright = (signal.abs() - canvas.uniform(0.2, 0.9)) / canvas.uniform(0.02, 0.2)
        phase = phase + canvas.uniform(-math.pi, math.pi) * bright.sigmoid()
    if canvas.chance(0.25):
        phase = phase + canvas.normal(2.0) * signal.abs().clamp(0, 2)
    if canvas.chance(0.2):
        centers = torch.rand(6, 2, generator=canvas.generator) * 1.6 - 0.8
        radii = torch.rand(6, generator=canvas.generator) * 0.12 + 0.04
        heights = torch.randn(6, generator=canvas.generator) * canvas.uniform(0.5, 2.0)
        phase = phase + canvas.blobs(centers, radii, heights)
    if canvas.chance(0.35):
        phase = phase + canvas.log_uniform(0.5, 6.0) * _susceptibility(signal, canvas.uniform(0, math.pi))
    return phase


def _susceptibility(signal: Tensor, direction: float) -> Tensor:
    """Field of tissue against air, in units of its susceptibility, with the main field in the slice: (y, x).

    The dipole kernel cos^2(angle to the field) - 1/3 in k-space (10.1002/cmr.b.10083), low-passed.
    """
    tissue = (signal.abs() / 0.04).clamp(0, 1)
    height, width = signal.shape
    ky = torch.fft.fftfreq(height)[:, None]
    kx = torch.fft.rfftfreq(width)[None, :]
    k2 = (ky**2 + kx**2).clamp(min=1e-12)
    kernel = (math.sin(direction) * ky + math.cos(direction) * kx) ** 2 / k2 - 1 / 3
    kernel = kernel * torch.exp(-k2 * (0.03 * min(height, width)) ** 2)
    kernel[0, 0] = 0.0
    field: Tensor = torch.fft.irfft2(torch.fft.rfft2(tissue) * kernel, s=signal.shape)
    return field
