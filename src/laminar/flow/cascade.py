r"""The closed-form map from (schedule, noise level, prior width) to the coefficients of a cascade, and back.

A cascade goes from `t_{k+1}` to `t_k` with the relative step `h = (t_{k+1} - t_k) / t_{k+1}`. It asks a denoiser
`D(x) = x - R(x)` for the image and brings in the data in one of the ways of `ROWS`. The one dimensionless number of a
data step is `w = sigma^2 / nu^2`: noise variance over the variance of the image given the state, both per complex
sample. `ROWS` is data: the table in docs/theory.md is made from it, the network looks up its closed form here.

Sources: arXiv 2512.03020 (FLAT), 2004.06688 (E2E-VarNet), 1712.02862 (MoDL), 1704.02422 (hard and soft replacement),
1706.07929 (ISTA-Net), 1705.06869 (ADMM-Net), 2303.05754 (DDS).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow.path import relative_steps

DataStep = Literal[
    "proximal",
    "imex",
    "gradient_endpoint",
    "gradient",
    "paper",
    "soft",
    "hard",
    "ista",
    "admm",
    "none",
]
DATA_STEPS: tuple[str, ...] = get_args(DataStep)
ENDPOINT_STEPS = ("proximal", "gradient_endpoint", "none")
"""The rows that estimate the image and then step: they have a velocity `(x - x0_hat) / t` at every time."""

ClosedForm = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Row:
    """One way to bring data into a cascade.

    `coefficient(h, w)` is the closed form of its data coefficient c, `ratio(h, c)` the inverse. `update`, `formula` and
    `reading` say the same in LaTeX and words; `mix` there stands for the Euler step `(1 - h) x + h D(x)`.
    """

    coefficient: ClosedForm
    ratio: ClosedForm
    update: str
    formula: str
    reading: str


ROWS: dict[str, Row] = {
    "proximal": Row(
        lambda h, w: w,
        lambda h, c: c,
        r"\hat x_0 = (A^HA + c)^{-1}(A^Hy + c\,D(x)),\quad x \leftarrow (1-h)x + h \hat x_0",
        r"c = w",
        "if the source does not depend on y: the exact conditional mean for a Gaussian image of scalar variance; then "
        "explicit Euler. MoDL is h = 1, DDS follows with a DDIM step",
    ),
    "imex": Row(
        lambda h, w: w / h,
        lambda h, c: c * h,
        r"x \leftarrow (A^HA + c)^{-1}(A^Hy + c\,[(1-h)x + hD(x)])",
        r"c = w/h",
        "explicit Euler on the prior, backward Euler on the data",
    ),
    "gradient_endpoint": Row(
        lambda h, w: 1 / (1 + w),
        lambda h, c: 1 / c - 1,
        r"\hat x_0 = D(x) - c\,A^H(A D(x) - y),\quad x \leftarrow (1-h)x + h \hat x_0",
        r"c = 1/(1+w)",
        "the proximal row with one gradient step; equal to it where the singular values of A are 0 and 1",
    ),
    "gradient": Row(
        lambda h, w: h / w,
        lambda h, c: h / c,
        r"x \leftarrow x - c\,A^H(Ax - y) - h\,R(x)",
        r"c = h/w",
        "forward-forward splitting, the form of E2E-VarNet in the image domain; stable only for small c",
    ),
    "paper": Row(
        lambda h, w: h / w,
        lambda h, c: h / c,
        r"x \leftarrow x - c\,A^H(Ax - y) - \lvert\delta\rvert\,R(x)",
        r"c = \lvert\delta\rvert/\sigma^2",
        "explicit Euler of a gradient flow to the MAP estimate, the form of FLAT's paper; not scale-free",
    ),
    "soft": Row(
        lambda h, w: h / (h + w),
        lambda h, c: h * (1 - c) / c,
        r"z = (1-h)x + hD(x),\quad x \leftarrow z - c\,A^H(Az - y)",
        r"c = v/(1+v),\ v = h/w",
        "a single coil: backward Euler on the data, sampled k become (k + v y)/(1 + v); several coils: a gradient step",
    ),
    "hard": Row(
        lambda h, w: torch.ones_like(h * w),
        lambda h, c: torch.zeros_like(h * c),
        r"z = (1-h)x + hD(x),\quad x \leftarrow z - c\,A^H(Az - y)",
        r"c = 1",
        "the limit of no noise; a single coil: sampled k are replaced by y",
    ),
    "ista": Row(
        lambda h, w: h / ((1 - h) * w),
        lambda h, c: h / ((1 - h) * c),
        r"r = x - c\,A^H(Ax - y),\quad x \leftarrow (1-h)r + hD(r)",
        r"c = s/w,\ s = h/(1-h)",
        "explicit data, then the prior's resolvent with parameter s (ISTA-Net); no finite c in the last step, where "
        "the network takes that of gradient_endpoint",
    ),
    "admm": Row(
        lambda h, w: w * (1 - h) / h,
        lambda h, c: c * h / (1 - h),
        r"z = (1-h)x + hD(x),\quad x \leftarrow (A^HA + c)^{-1}(A^Hy + c\,(2z - x)) + (x - z)",
        r"c = w\rho,\ \rho = t_k/\lvert\delta_k\rvert",
        "Douglas-Rachford; x - z is the scaled dual, on the path the step itself. The last step (rho = 0) leaves no "
        "weight; there the network takes the proximal endpoint",
    ),
    "none": Row(
        lambda h, w: torch.zeros_like(h * w),
        lambda h, c: torch.full_like(h * c, torch.inf),
        r"x \leftarrow (1-h)x + hD(x)",
        r"c = 0",
        "the regularizer alone, which then has to know the data (an oracle, a conditional network)",
    ),
}


LAST_ROW = {"ista": "gradient_endpoint", "admm": "proximal"}
"""Rows whose closed form is infinite or zero in the last step (h = 1), and the row that gives its coefficient there."""


def data_coefficients(data_step: DataStep, steps: Tensor, ratio: Tensor) -> Tensor:
    """Coefficients (N, ...) of the data steps from `steps` (N,) and the ratios `w_k = sigma^2 / nu_k^2` (N, ...).

    In order of execution. For `paper` the steps are `|delta_k|` and the ratio is `sigma^2` itself: that form knows no
    prior width.
    """
    return _by_cascade(data_step, steps, ratio, lambda row: row.coefficient)


def noise_ratios(data_step: DataStep, steps: Tensor, data: Tensor) -> Tensor:
    """The inverse of `data_coefficients` in its last argument; `hard` and `none` give the limits 0 and infinity."""
    return _by_cascade(data_step, steps, data, lambda row: row.ratio)


def _by_cascade(data_step: str, steps: Tensor, values: Tensor, form: Callable[[Row], ClosedForm]) -> Tensor:
    steps = steps.view(-1, *[1] * (values.ndim - 1))
    most, last = form(ROWS[data_step]), form(ROWS[LAST_ROW.get(data_step, data_step)])
    return torch.cat([most(steps[:-1], values[:-1]), last(steps[-1:], values[-1:])])


def cascade_steps(data_step: DataStep, times: Tensor) -> Tensor:
    """The steps (N,) between times (N + 1,): `h_k = |delta_k| / t_{k+1}`, in the paper's form `|delta_k|`."""
    return times[:-1] - times[1:] if data_step == "paper" else relative_steps(times)


def implied_times(steps: Tensor) -> Tensor:
    """Times `(1, ..., t_0)` that relative steps `h` in order of execution imply: `t_k = prod (1 - h_j)`."""
    return torch.cat([torch.ones_like(steps[:1]), torch.cumprod(1 - steps, 0)])


@dataclass(frozen=True, eq=False)
class Discretization:
    """What the coefficients of a network say about the flow that it discretizes, in order of execution.

    `times` (N + 1,) that the steps imply, from 1; `steps` (N,) the relative steps; `ratio` (N, ...) the
    `w_k = sigma^2 / nu_k^2` of the data steps (`sigma^2` in the paper's form); `margin`: the least distance of
    the steps before the last from 0 and from 1, negative outside (0.5 if there are none); `last_step_error`:
    `|1 - lam_0|`, for the last step must land on the image; in the paper's form `|1 - sum |delta_k||`.
    """

    times: Tensor
    steps: Tensor
    ratio: Tensor
    margin: float
    last_step_error: float

    @property
    def final_time(self) -> float:
        """The time at which the network ends, 0 for a discretization. By itself that proves nothing."""
        return float(self.times[-1])

    def holds(self, tolerance: float = 1e-6) -> bool:
        """Whether the network is a discretization: the last step 1, every other strictly between 0 and 1."""
        return self.last_step_error <= tolerance and self.margin > 0


def discretization(data_step: DataStep, steps: Tensor, data: Tensor) -> Discretization:
    """The inverse map: schedule and noise ratios from the coefficients `steps` (N,) and `data` (N, ...).

    A network is a discretization iff `lam_0 = 1` and `0 < lam_k < 1` for k >= 1, with `t_k = prod_{j>=k} (1 - lam_j)`;
    in the paper's form, where the steps are `|delta_k|`, they sum to 1. Raises ConfigError if the lengths differ.
    """
    if steps.ndim != 1 or len(data) != len(steps) or len(steps) == 0:
        raise ConfigError(
            "a network has one step and one data coefficient a cascade; "
            f"got {tuple(steps.shape)} and {tuple(data.shape)}"
        )
    if data_step == "paper":
        times = torch.cat([torch.ones_like(steps[:1]), 1 - steps.cumsum(0)])
        relative, missed = steps / times[:-1], times[-1]
    else:
        times, relative, missed = implied_times(steps), steps, 1 - steps[-1]
    ratio = noise_ratios(data_step, steps, data)
    inner = relative[:-1]
    margin = float(torch.minimum(inner, 1 - inner).min()) if len(inner) else 0.5
    return Discretization(times, relative, ratio, margin, float(missed.abs()))
