"""A study as it is written: a base configuration, axes, excluded points, seeds, tests, questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal, get_args

from laminar.errors import ConfigError
from laminar.registry import nearest

Settings = dict[str, Any]
"""Settings by their dotted names."""
Labels = dict[str, str]
"""The level of every axis at a point."""
Selection = Mapping[str, Any]
"""Levels, or lists of them, by axis (or `seed`); what is not named is free."""

WHOLE = ("data.mixture", "tune")
"""Settings whose value is itself a mapping or holds some."""
Measure = Literal["difference", "deviation", "mean", "cost"]


@dataclass(frozen=True)
class Question:
    """A named table of the report: what is measured of the arms in `select`, paired with the arms `against`.

    `against` replaces levels of an arm: that names its partner. `tests` are the names of those to look at; all if none.
    """

    title: str
    measure: Measure = "difference"
    select: Selection = field(default_factory=dict)
    against: Selection = field(default_factory=dict)
    tests: list[str] = field(default_factory=list)
    metric: str = "psnr"

    def __post_init__(self) -> None:
        if self.measure not in get_args(Measure):
            raise ConfigError(f"measure must be one of {', '.join(get_args(Measure))}; got {self.measure!r}")
        if self.measure == "difference" and not self.against:
            raise ConfigError(f"question {self.title!r}: a difference needs `against`, such as {{method: MoDL}}")


@dataclass(frozen=True)
class Point:
    """One place of the grid: its labels, its seed and all settings that it has."""

    labels: Labels
    seed: int
    settings: Settings
    chosen: frozenset[str]
    """Settings that the axes gave, and not the base."""


@dataclass(frozen=True)
class Study:
    """The declaration of a study.

    Args:
        name: its title.
        base: settings of `laminar train`, nested or dotted, for all points; `preset` names the network.
        axes: by name. A list holds the values of the setting of that name; a mapping holds named levels, each some
            settings: those of `laminar train`, or a whole method (see `laminar.study.cell`).
        exclude: selections of points that are left out.
        seeds: their number, or a list of them.
        budget: equal steps (default), `{seconds: S}` or `{slices: N}` for every training.
        tests: by name, `slices` and settings under `data`; those not named are the point's own.
        questions: by name, what the report answers.
        reference: the levels of the arm that every other one is compared with, such as {method: FLAT}.
    """

    name: str
    axes: dict[str, dict[str, Settings]]
    tests: dict[str, Settings]
    base: Settings = field(default_factory=dict)
    exclude: list[Selection] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0])
    budget: dict[str, float] = field(default_factory=dict)
    questions: dict[str, Question] = field(default_factory=dict)
    reference: Selection = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.tests:
            raise ConfigError("a study needs at least one test set: tests: {NAME: {slices: 20}}")
        if len(self.budget) > 1 or not set(self.budget) <= {"seconds", "slices"}:
            raise ConfigError(f"budget must be {{seconds: S}} or {{slices: N}}, or nothing: steps; got {self.budget!r}")
        if not all(isinstance(most, int | float) and 0 < most < float("inf") for most in self.budget.values()):
            raise ConfigError(f"a budget is a positive number; got {self.budget!r}")
        questioned = [each for q in self.questions.values() for each in (q.select, q.against)]
        for selection in (*self.exclude, self.reference, *questioned):
            self._check(selection)
        for question in self.questions.values():
            for test in question.tests:
                _known("test", test, self.tests)

    def _check(self, selection: Selection) -> None:
        """Raise ConfigError for an axis or level that does not exist."""
        for axis, levels in selection.items():
            if axis == "seed":
                continue
            _known("axis", axis, self.axes)
            for level in _levels(levels):
                _known(f"level of axis {axis!r}", level, self.axes[axis])

    def points(self) -> Iterator[Point]:
        """Every point that is not excluded, the seeds innermost."""
        for levels in product(*(axis.items() for axis in self.axes.values())):
            labels = dict(zip(self.axes, (name for name, _ in levels), strict=True))
            chosen: Settings = {}
            for _, settings in levels:
                chosen |= settings
            for seed in self.seeds:
                if not any(matches(labels, each, seed) for each in self.exclude):
                    yield Point(labels, seed, self.base | chosen, frozenset(chosen))


def matches(labels: Labels, selection: Selection, seed: int | None = None) -> bool:
    """Whether a point is one of a selection."""
    there = labels | {"seed": str(seed)}
    return all(there[axis] in _levels(levels) for axis, levels in selection.items())


def study_of(values: Any) -> Study:
    """The study that plain values declare. Raises ConfigError."""
    if not isinstance(values, dict):
        raise ConfigError(f"a study is a mapping with axes and tests; got {type(values).__name__}")
    names = list(Study.__dataclass_fields__)
    for name in values:
        _known("entry of a study", name, names)
    made: dict[str, Any] = {"name": "Study", "axes": {}, "tests": {}} | values
    for name in ("axes", "tests", "base", "budget", "questions", "reference"):
        if not isinstance(made.get(name, {}), dict):
            raise ConfigError(f"{name} must be a mapping; got {made[name]!r}")
    made["base"] = dotted(made.get("base", {}))
    made["axes"] = {str(name): _axis(str(name), levels) for name, levels in made["axes"].items()}
    made["tests"] = {str(name): dotted(_mapping(f"test {name!r}", test)) for name, test in made["tests"].items()}
    made["seeds"] = _seeds(made.get("seeds", 1))
    if not isinstance(made.get("exclude", []), list):
        raise ConfigError(f"exclude must be a list of selections; got {made['exclude']!r}")
    for selection in (*made.get("exclude", []), made.get("reference", {})):
        _mapping("a selection", selection)
    made["questions"] = {str(name): _question(name, one) for name, one in made.get("questions", {}).items()}
    return Study(**made)


def _axis(name: str, levels: Any) -> dict[str, Settings]:
    if isinstance(levels, dict) and levels:
        return {
            str(level): dotted(_mapping(f"level {level!r} of {name!r}", values)) for level, values in levels.items()
        }
    if isinstance(levels, list) and levels:
        return {str(value): {name: value} for value in levels}
    raise ConfigError(f"axis {name!r} must be a list of values or a mapping of named levels; got {levels!r}")


def _question(name: Any, values: Any) -> Question:
    for key in _mapping(f"question {name!r}", values):
        _known(f"entry of question {name!r}", key, list(Question.__dataclass_fields__))
    return Question(**{"title": str(name), **values})


def _seeds(given: Any) -> list[int]:
    seeds = list(range(given)) if isinstance(given, int) else given
    if not isinstance(seeds, list) or not seeds or not all(isinstance(seed, int) and seed >= 0 for seed in seeds):
        raise ConfigError(f"seeds must be their number or a list of whole numbers of at least 0; got {given!r}")
    return seeds


def _mapping(what: str, values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ConfigError(f"{what} must be a mapping of settings; got {values!r}")
    return values


def _known(what: str, name: Any, valid: Any) -> None:
    if str(name) not in valid:
        raise ConfigError(f"unknown {what} {str(name)!r}{nearest(str(name), list(map(str, valid)))}")


def _levels(levels: Any) -> list[str]:
    return list(map(str, levels)) if isinstance(levels, list) else [str(levels)]


def dotted(values: dict[str, Any], prefix: str = "") -> Settings:
    """Nested settings by their dotted names."""
    found: Settings = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= dotted(value, f"{name}.") if isinstance(value, dict) and name not in WHOLE else {name: value}
    return found


def nested(settings: Settings) -> dict[str, Any]:
    """The inverse of `dotted`."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        *groups, last = name.split(".")
        place = found
        for group in groups:
            place = place.setdefault(group, {})
            if not isinstance(place, dict):
                raise ConfigError(f"setting {name!r} does not fit: {group!r} has a value of its own")
        place[last] = value
    return found
