"""The audit of a trajectory: any unrolled network, seen cascade by cascade against a known image. See docs/audit.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from laminar.audit.door import open_subject, subject_of
from laminar.audit.measure import Measured, measure
from laminar.audit.record import METHOD, make_record
from laminar.audit.scenario import ScenarioConfig, describe, make_cases
from laminar.audit.subject import Coefficients, Subject
from laminar.data.cases import Case
from laminar.errors import ConfigError

__all__ = [
    "Audit",
    "Case",
    "Coefficients",
    "Measured",
    "ScenarioConfig",
    "Subject",
    "audit",
    "make_cases",
    "open_subject",
    "subject_of",
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
    Raises ConfigError if the subject does not keep to the protocol of `laminar.audit.subject`.
    """
    if cases is None:
        cases, data = make_cases(ScenarioConfig(seed=seed))
    if not cases:
        raise ConfigError("an audit needs at least one case; got none")
    subject = subject_of(subject)
    slices = []
    for index, case in enumerate(cases):
        slices.append(measure(subject, case, seed * 1_000_003 + index))
        report(index + 1)
    lengths = {len(s.states) for s in slices}
    if len(lengths) > 1:
        raise ConfigError(
            f"{subject.name}: every slice must take as many cascades; got {sorted(n - 1 for n in lengths)}"
        )
    return Audit(make_record(subject, slices, describe(cases) | (data or {}), METHOD | {"seed": seed}), slices)
