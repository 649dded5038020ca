"""What a test set changes about its slices: sensitivities that are a little wrong, small structures put in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from laminar.data.cases import Case
from laminar.data.simulation.fields import Canvas
from laminar.errors import ConfigError
from laminar.methods import Method
from laminar.operators import Encoding
from laminar.runtime import seed_of
from laminar.study.held_out import TESTING, held_out

BRIGHTNESS, RADIUS = 0.5, 2.0  # of a structure: over the image's maximum; in pixels
FIELD = (1.0, 0.3, 3.0)  # slope, lowest and highest frequency over the field of view of the error of sensitivities


def as_told(test: dict[str, Any], seed: int = TESTING, slices: int | None = None) -> Iterator[tuple[Case, str]]:
    """`held_out`, with the wrong sensitivities of a test set that has such."""
    for index, (case, person) in enumerate(held_out(test, seed, slices)):
        yield perturbed(case, test["perturbed"], seed_of(index)) if test["perturbed"] else case, person


def perturbed(case: Case, amount: float, seed: int) -> Case:
    """A case whose problem is told wrong sensitivities; data and image stay.

        S'_c = S_c (1 + amount f_c) a,   sum_c |S'_c|^2 = sum_c |S_c|^2

    with f_c a smooth complex field of variance one for every coil. Raises ConfigError for a problem of another kind
    than a planar Cartesian one with one set of sensitivities.
    """
    operator = case.problem.operator
    if not isinstance(operator, Encoding) or operator.sensitivities.ndim != 4:
        raise ConfigError("perturbed: the sensitivities of planar Cartesian scans, one set each, can be changed")
    maps = operator.sensitivities
    canvas = Canvas((maps.shape[-2], maps.shape[-1]), torch.Generator().manual_seed(seed))
    fields = [torch.complex(canvas.noise(*FIELD), canvas.noise(*FIELD)) / 2**0.5 for _ in maps.flatten(0, 1)]
    changed = maps * (1 + amount * torch.stack(fields).reshape(maps.shape).to(maps))
    before, after = (each.abs().square().sum(1, keepdim=True) for each in (maps, changed))
    changed = changed * (before / after.clamp_min(torch.finfo(after.dtype).tiny)).sqrt()
    return replace(case, problem=replace(case.problem, operator=Encoding(operator.mask, changed)))


@torch.no_grad()
def structures(method: Method, case: Case, count: int, seed: int) -> dict[str, float]:
    """What becomes of small bright discs d that are put into an image, one after the other, the worst of them.

        r = x(y + A d) - x(y),   kept = Re <d, r> / <d, d>,   invented = max |r| outside of d, over max |d|

    with x(y) the image of a method; places inside the object are drawn from the seed. `kept` is 1 where a structure
    keeps its brightness, and `invented` 0 where nothing else appears.
    """
    problem, magnitude = case.problem, case.image[0].abs()
    inside = (magnitude > 0.25 * magnitude.max()).nonzero()
    generator = torch.Generator().manual_seed(seed)
    plain = method(problem, torch.Generator().manual_seed(seed)).image[0]
    kept, invented = [], []
    for y, x in inside[torch.randint(len(inside), (count,), generator=generator)].tolist():
        phase = case.image[0, y, x] / magnitude[y, x]
        d = BRIGHTNESS * magnitude.max() * phase * _disc(magnitude, y, x)
        with_it = replace(problem, y=problem.y + problem.operator(d[None]))
        r = method(with_it, torch.Generator().manual_seed(seed)).image[0] - plain
        kept.append(float((d.conj() * r).real.sum() / d.abs().square().sum()))
        invented.append(float(r.abs()[_disc(magnitude, y, x, RADIUS + 1) == 0].max() / d.abs().max()))
    return {"kept": min(kept), "invented": max(invented)}


def _disc(image: Tensor, y: int, x: int, radius: float = RADIUS) -> Tensor:
    """A soft disc on the grid of an image (y, x), 1 inside and 0 outside."""
    rows, columns = (torch.arange(n, device=image.device) for n in image.shape)
    return (radius + 0.5 - torch.hypot(rows[:, None] - float(y), columns[None] - float(x))).clamp(0, 1)
