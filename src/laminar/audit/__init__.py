"""The audit of a trajectory: any unrolled network, seen cascade by cascade against a known image. See docs/audit.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from laminar.audit.measure import Measured, measure
from laminar.audit.record import METHOD, make_record
from laminar.audit.scenario import ScenarioConfig, describe, make_cases
from laminar.data.cases import Case
from laminar.errors import ConfigError
from laminar.methods import Coefficients, as_method
from laminar.runtime import seed_of

__all__ = [
    "Audit",
    "Case",
    "Coefficients",
    "Measured",
    "ScenarioConfig",
    "audit",
    "make_cases",
]


@dataclass(frozen=True, eq=False)
class Audit:
    """`record`: the plain values of `audit.json`; `slices`: the measurements behind it, with images for pictures."""

    record: dict[str, Any]
    slices: list[Measured]


def audit(
    subject: Any,
    cases: Sequence[Case] | None = None,
    data: dict[str, Any] | None = None,
    *,
    seed: int = 0,
    report: Callable[[int], None] = lambda slices_done: None,
) -> Audit:
    """Audit a network of ours, a `fastmri` VarNet, or any callable from a Problem to its images.

    `cases` come from `make_cases`, or are a user's own; `data` says what they are. Without them, the simulated slices
    of `make_cases`. `seed` draws the perturbations.
    Raises ConfigError if the subject does not keep to the protocol of `laminar.methods.Method`.
    """
    if cases is None:
        cases, data = make_cases(ScenarioConfig(seed=seed))
    if not cases:
        raise ConfigError("an audit needs at least one case; got none")
    method = as_method(subject)
    slices = []
    for index, case in enumerate(cases):
        slices.append(measure(method, case, seed_of(seed, index)))
        report(index + 1)
    lengths = {len(s.states) for s in slices}
    if len(lengths) > 1:
        raise ConfigError(
            f"{method.name}: every slice must take as many cascades; got {sorted(n - 1 for n in lengths)}"
        )
    return Audit(make_record(method, slices, describe(cases) | (data or {}), METHOD | {"seed": seed}), slices)
