"""The training objective: image loss, structural similarity, and alignment with the flow (FLAT).

Every function takes a Trajectory and the target, so it serves in anybody's training loop and for any network that
returns its states.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow import Trajectory, interpolate, uniform_schedule
from laminar.metrics import ssim
from laminar.operators import pixel_magnitude
from laminar.training.splitting import SplittingConfig

Norm = Literal["l1", "l2", "db"]
Form = Literal["state", "velocity", "endpoint"]
HeldOutNorm = Literal["l1+l2", "db"]
NORMS = get_args(Norm)


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights of `L = image + ssim * (1 - SSIM) + alignment * mean_k align_k + flow_matching + symmetry`; zero is off.

    Args:
        image_norm: l1 | l2 | db, of the complex difference of result and target; db counts decibels, so that an image
            with little error weighs as much as one with a large error (see `distance`).
        image: weight of the image loss.
        ssim: weight of 1 - SSIM of the magnitudes, data range = maximum of each target.
        alignment: weight of the alignment of the states with the ideal trajectory.
        alignment_form: state | velocity | endpoint, what is aligned.
        alignment_norm: l1 | l2 | db, of the alignment.
        flow_matching: weight of the distance between x0_hat(x_t, t, y) and the image at a random time on the path to
            the noisy source. Trains a network with a velocity at every time (see `solver`) as a flow.
        flow_matching_norm: l1 | l2, of that distance; only l2 learns a conditional mean.
        symmetry: weight of the constraint of ISTA-Net+ on its transforms, nothing for other networks.
        self_supervised: learn from the acquired samples alone, without any image: all terms above give way to the loss
            on samples that are held out of the network's input (see `laminar.training.self_supervision`).
        held_out_norm: db | l1+l2, of that loss.
        splitting: which samples are held out.
        random_cascades: train a network with a velocity at every time with a number of cascades that is drawn in every
            step from this range, times uniform, so that it can be run with any; 0, 0 is always the configured number.
    """

    image_norm: Norm = "l1"
    image: float = 1.0
    ssim: float = 0.05
    alignment: float = 0.1
    alignment_form: Form = "state"
    alignment_norm: Norm = "l1"
    flow_matching: float = 0.0
    flow_matching_norm: Norm = "l2"
    symmetry: float = 0.01
    self_supervised: bool = False
    held_out_norm: HeldOutNorm = "db"
    splitting: SplittingConfig = field(default_factory=SplittingConfig)
    random_cascades: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        for name, norms in (("image_norm", NORMS), ("alignment_norm", NORMS), ("flow_matching_norm", NORMS[:2])):
            if getattr(self, name) not in norms:
                raise ConfigError(f"objective.{name} must be {' or '.join(norms)}; got {getattr(self, name)!r}")
        if self.held_out_norm not in get_args(HeldOutNorm):
            known = " or ".join(get_args(HeldOutNorm))
            raise ConfigError(f"objective.held_out_norm must be {known}; got {self.held_out_norm!r}")
        fewest, most = self.random_cascades
        if not (self.random_cascades == (0, 0) or 1 <= fewest <= most):
            raise ConfigError(f"objective.random_cascades must be a range such as 2, 12; got {fewest}, {most}")
        if self.self_supervised and any(self.random_cascades):
            raise ConfigError("objective.random_cascades cannot go with objective.self_supervised")
        if self.self_supervised and self.flow_matching:
            raise ConfigError("objective.flow_matching needs images: it cannot go with objective.self_supervised")
        if self.alignment_form not in get_args(Form):
            raise ConfigError(
                f"objective.alignment_form must be {' or '.join(get_args(Form))}; got {self.alignment_form!r}"
            )
        for name in ("image", "ssim", "alignment", "flow_matching", "symmetry"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"objective.{name} must be zero or positive; got {getattr(self, name)!r}")

    @property
    def needs_trajectory(self) -> bool:
        return any((self.image, self.ssim, self.alignment))


def objective(
    trajectory: Trajectory,
    target: Tensor,
    config: ObjectiveConfig,
    reference: Trajectory | None = None,
    n_maps: int = 1,
) -> dict[str, Tensor]:
    """The terms of the loss on a trajectory and their weighted sum under the key `loss`.

    `target` complex (batch, y, x), with several maps (batch, map, y, x); `reference` is what the trajectory is aligned
    with, see `alignment`.
    """
    terms = {"image": distance(trajectory.image, target, config.image_norm, n_maps)}
    total = config.image * terms["image"]
    if config.ssim:
        terms["ssim"] = 1 - magnitude_ssim(trajectory.image, target, n_maps)
        total = total + config.ssim * terms["ssim"]
    if config.alignment:
        form, norm = config.alignment_form, config.alignment_norm
        terms["alignment"] = alignment(trajectory, target, form, norm, reference, n_maps)
        total = total + config.alignment * terms["alignment"]
    return {"loss": total, **terms}


LEAST_SQUARE = 1e-9
"""Mean squared difference below which `distance` in decibels counts no more: 90 dB under an image of about one."""


def distance(a: Tensor, b: Tensor, norm: Norm, n_maps: int = 1) -> Tensor:
    """Mean absolute or mean squared difference of complex images (batch, y, x), or its mean level in decibels.

        db:  mean over images of 10 log10(mean |a - b|^2 + 1e-9)

    The level weighs each image by the inverse of its own squared error: halving any of them gains 3 dB. With several
    maps (batch, map, y, x) the difference of a pixel is that of the vectors of coils, `|sum_m S_m (a_m - b_m)|`.
    """
    difference = pixel_magnitude(a - b, n_maps)
    if norm == "l1":
        return difference.mean()
    if norm == "l2":
        return difference.square().mean()
    return 10 * (difference.square().mean((-2, -1)) + LEAST_SQUARE).log10().mean()


def magnitude_ssim(image: Tensor, target: Tensor, n_maps: int = 1) -> Tensor:
    """Mean SSIM of magnitudes (batch, y, x), each with the maximum of its target as data range.

    Of a series (batch, frame, y, x) every frame counts for itself.
    """
    seen, goal = (pixel_magnitude(each, n_maps).flatten(0, -3) for each in (image, target))
    data_range = goal.flatten(1).amax(1).clamp_min(torch.finfo(goal.dtype).eps)
    return ssim(seen, goal, data_range)


def alignment(
    trajectory: Trajectory,
    target: Tensor,
    form: Form = "state",
    norm: Norm = "l1",
    reference: Trajectory | None = None,
    n_maps: int = 1,
) -> Tensor:
    """FLAT: the mean over cascades of the distance to the ideal trajectory `x*_t`.

    Without `reference` it is the line `x*_t = (1 - t) x0 + t x1`; with one, its states and endpoints at the same times.
    `state`: `x^(k)` against `x*_{t_k}`. `velocity`: `(x^(k) - x^(k+1)) / delta_k` against
    `(x*_{t_k} - x^(k+1)) / delta_k`, the same difference over `|delta_k|`. `endpoint`: the network's own
    `x0_hat_k` against `x0`, or against the endpoint of the reference at that time. A network that is no discretization
    of time is aligned on uniform times, so that the same loss can be given to every baseline. The source `x1` is the
    first state, without gradient. arXiv 2512.03020.
    """
    if form == "endpoint":
        goals = reference.endpoints if reference else [target] * len(trajectory.endpoints)
        pairs = zip(trajectory.endpoints, goals, strict=True)
        return torch.stack([distance(endpoint, goal, norm, n_maps) for endpoint, goal in pairs]).mean()
    times = trajectory.times
    if times is None:
        uniform = uniform_schedule(len(trajectory.endpoints))
        times = torch.tensor(uniform, dtype=target.real.dtype, device=target.device)
    source = trajectory.source.detach()
    states = reference.states if reference else [interpolate(target, source, time) for time in times]
    terms = []
    for (before, after), state, goal in zip(pairwise(times), trajectory.states[1:], states[1:], strict=True):
        weight = 1 if form == "state" else 1 / (before - after).clamp_min(torch.finfo(times.dtype).eps)
        terms.append(distance(weight * state, weight * goal, norm, n_maps))
    return torch.stack(terms).mean()
