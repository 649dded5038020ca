"""The folder of a study: its plan, one small JSON a finished cell, and what trainings need to go on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from laminar.errors import ConfigError, LaminarError
from laminar.files import replacing, write_json
from laminar.study.cell import Cell, cell_of
from laminar.study.grid import Labels, Study, study_of
from laminar.study.versions import code_version

FORMAT, VERSION = "laminar-study", 1


@dataclass(frozen=True)
class Place:
    """A point of the grid with the key of its cell, or why it has none."""

    labels: Labels
    seed: int
    key: str | None
    error: str | None = None

    @property
    def name(self) -> str:
        return f"{', '.join(self.labels.values()) or 'the one cell'}, seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """All points of a study in order, and the cells behind them by key."""

    declared: dict[str, Any]
    code: str
    places: list[Place]
    cells: dict[str, Cell]

    @property
    def study(self) -> Study:
        return study_of(self.declared)

    @property
    def groups(self) -> dict[str, list[str]]:
        """The keys of the cells that share a training, in the order of the grid."""
        found: dict[str, list[str]] = {}
        for key, cell in self.cells.items():
            found.setdefault(cell.run, []).append(key)
        return found

    def name_of(self, key: str) -> str:
        return next(place.name for place in self.places if place.key == key)


def make_plan(declared: dict[str, Any]) -> Plan:
    """The plan of a declared study with the code and the data of now.

    A point that its method cannot be has its reason in its place. Raises ConfigError if no point can be.
    """
    study = study_of(declared)
    places, cells = list[Place](), dict[str, Cell]()
    for point in study.points():
        try:
            cell = cell_of(study, point)
        except LaminarError as error:
            places.append(Place(point.labels, point.seed, None, str(error)))
            continue
        places.append(Place(point.labels, point.seed, cell.key))
        cells.setdefault(cell.key, cell)
    if not cells:
        raise ConfigError(places[0].error if places and places[0].error else "every point is excluded")
    return Plan(declared, code_version(), places, cells)


@dataclass(frozen=True)
class StudyFolder:
    """`study.json` (the plan of the last run), `cells/KEY.json`, `failed/KEY.json`, `images/`, `runs/`."""

    path: Path

    @property
    def plan_file(self) -> Path:
        return self.path / "study.json"

    def run(self, run: str) -> Path:
        """Where a training lives, or what keeps others out of an untrained cell."""
        return self.path / "runs" / run

    def images(self, key: str) -> Path:
        return self.path / "images" / f"{key}.safetensors"

    def save_plan(self, plan: Plan) -> None:
        head = {"format": FORMAT, "version": VERSION, "code": plan.code, "declared": plan.declared}
        values = {"places": [asdict(p) for p in plan.places], "cells": [asdict(c) for c in plan.cells.values()]}
        write_json(self.plan_file, head | values)

    def plan(self) -> Plan:
        """The plan of the last run. Raises ConfigError if there is none."""
        if not self.plan_file.exists():
            raise ConfigError(f"{self.path} holds no study: laminar study run CONFIG --out {self.path}")
        values = _read(self.plan_file)
        if values is None or values.get("format") != FORMAT or values.get("version") != VERSION:
            raise ConfigError(f"{self.plan_file} is no plan of a study of version {VERSION}")
        cells = [Cell(**cell) for cell in values["cells"]]
        places = [Place(**place) for place in values["places"]]
        return Plan(values["declared"], values["code"], places, {cell.key: cell for cell in cells})

    def save(self, key: str, result: dict[str, Any]) -> None:
        """Keep the result of a cell; an earlier failure is forgotten."""
        write_json(self._cell(key), result)
        self._failure(key).unlink(missing_ok=True)

    def fail(self, key: str, failure: dict[str, str]) -> None:
        """Keep why a cell has no result: `kind` and `message`."""
        write_json(self._failure(key), {"format": f"{FORMAT}-failure", **failure})

    def result(self, key: str) -> dict[str, Any] | None:
        return _read(self._cell(key))

    def failure(self, key: str) -> dict[str, Any] | None:
        return _read(self._failure(key))

    def others(self, plan: Plan) -> list[str]:
        """Keys of results that are not of this plan: of other code, data or settings."""
        there = (self.path / "cells").glob("*.json")
        return sorted(path.stem for path in there if path.stem not in plan.cells)

    def take(self, others: Sequence[StudyFolder]) -> int:
        """Copy results of other folders that this one lacks, by key; how many."""
        return sum(self._take(folder) for folder in others)

    def _take(self, other: StudyFolder) -> int:
        taken = 0
        for key in sorted(path.stem for path in (other.path / "cells").glob("*.json")):
            result = other.result(key)
            if result is not None and self.result(key) is None:
                with suppress(FileNotFoundError):
                    pictures = other.images(key).read_bytes()
                    self.images(key).parent.mkdir(parents=True, exist_ok=True)
                    with replacing(self.images(key)) as temporary:
                        temporary.write_bytes(pictures)
                self.save(key, result)
                taken += 1
        for key, failure in other._failures():
            if self.result(key) is None and self.failure(key) is None:
                self.fail(key, {"kind": failure["kind"], "message": failure["message"]})
        return taken

    def _failures(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for path in sorted((self.path / "failed").glob("*.json")):
            found = _read(path)
            if found is not None:
                yield path.stem, found

    def _cell(self, key: str) -> Path:
        return self.path / "cells" / f"{key}.json"

    def _failure(self, key: str) -> Path:
        return self.path / "failed" / f"{key}.json"


def merged(folders: Sequence[StudyFolder]) -> StudyFolder:
    """The first folder with the results of all. Raises ConfigError if they are not shards of one study."""
    first = folders[0]
    plan = first.plan()
    for other in folders[1:]:
        if set(other.plan().cells) != set(plan.cells):
            raise ConfigError(
                f"{other.path} holds other cells than {first.path}: another study, code ({other.plan().code} and "
                f"{plan.code}) or data"
            )
    first.take(folders[1:])
    return first


def sharded(plan: Plan, index: int, count: int) -> Plan:
    """The plan with the cells of shard `index` of `count` (from 1): trainings in turn, cells of one together."""
    mine = list(plan.groups.values())[index - 1 :: count]
    keys = {key for group in mine for key in group}
    return replace(plan, cells={key: cell for key, cell in plan.cells.items() if key in keys})


def _read(path: Path) -> dict[str, Any] | None:
    """The JSON in a file; None if it is not there or not whole, as no writer of ours leaves it."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    except (FileNotFoundError, ValueError):
        return None
