"""Objects with a third axis, of one slice: hearts that beat, bodies that breathe, volumes whose slices differ."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def beating(thing: Tensor, frames: int, contraction: float, breathing: float, generator: torch.Generator) -> Tensor:
    """One heart beat of an object (y, x), periodic: complex (frame, y, x).

        u(p) = s(f) contraction (p - c) exp(-|p - c|^2 / 2 w^2),   s(f) = sin^2(pi f / F)

    pulls what lies around a random center c near the middle inwards, as a ventricle does; `breathing` moves all of it
    along y by so much of the field of view, once in the series.
    """
    center = 0.2 * torch.rand(2, generator=generator) - 0.1
    width = 0.2 + 0.15 * float(torch.rand((), generator=generator))
    turn = 2 * math.pi * float(torch.rand((), generator=generator))
    places = _places(thing)
    away = places - center
    pull = contraction * away * torch.exp(-away.square().sum(-1, keepdim=True) / (2 * width**2))
    moved = []
    for frame in range(frames):
        phase = 2 * math.pi * frame / frames
        shift = torch.tensor([breathing * (1 - math.cos(phase + turn)), 0.0])
        moved.append(_warped(thing, places + math.sin(phase / 2) ** 2 * pull + shift))
    return torch.stack(moved)


def through(thing: Tensor, slices: int, generator: torch.Generator) -> Tensor:
    """The slices of a volume of which an object (y, x) is the middle one: complex (slice, y, x).

    They shrink towards the ends, as of an ellipsoid, and are bent a little more from one to the next.
    """
    places = _places(thing)
    bend = 0.15 * (2 * torch.rand(2, 2, generator=generator) - 1)
    wave = torch.stack([torch.sin(math.pi * places[..., 1]), torch.sin(math.pi * places[..., 0])], -1) @ bend
    found = []
    for index in range(slices):
        z = (index - slices // 2) / slices  # from -1/2 to 1/2
        found.append(_warped(thing, places / math.sqrt(1 - (1.2 * z) ** 2) + z * wave))
    return torch.stack(found)


def _places(thing: Tensor) -> Tensor:
    """Positions (y, x, 2) of the pixels as (y, x), from -1 to 1."""
    y, x = (2 * (torch.arange(n) + 0.5) / n - 1 for n in thing.shape)
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), -1)


def _warped(thing: Tensor, places: Tensor) -> Tensor:
    """The object seen at other places."""
    parts = torch.view_as_real(thing).movedim(-1, 0)[None]
    seen = F.grid_sample(parts, places.flip(-1)[None], mode="bicubic", padding_mode="zeros", align_corners=False)
    return torch.complex(*seen[0])
