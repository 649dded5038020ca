"""The slices that every method of a study is tested on: the same for all, and whose each one is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from laminar.data.cases import Case, FullScans, case_of
from laminar.data.formats import find_scans
from laminar.data.images import find_images
from laminar.data.simulated import Images
from laminar.data.stream import Stream
from laminar.errors import ConfigError
from laminar.runtime import seed_of
from laminar.study.cell import data_config
from laminar.training.config import DataConfig, TrainConfig
from laminar.training.data import simulation_of, training_stream

TESTING, TUNING = 2**31 + 2, 2**31 + 3
"""Seeds of test sets, and of the slices that settings are chosen on; training and validation have others."""
T = TypeVar("T")


def held_out(test: dict[str, Any], seed: int = TESTING, slices: int | None = None) -> Iterator[tuple[Case, str]]:
    """The cases of a test set, each of one slice, and the name of the person; every one its own where none is known.

    Of several files or stacks the slices come in turn, spread over each. Raises ConfigError if nothing is there.
    """
    data, wanted = data_config(test["data"]), slices or int(test["slices"])
    if data.kind == "images":
        stacks = _chosen(find_images(_paths(data)), test["only"], lambda stack: stack.name)
        streams: list[Stream] = [
            simulation_of(Images([stack]), replace(data, batch_size=1), seed_of(seed, place))
            for place, stack in enumerate(stacks)
        ]
        for index in range(wanted):
            turn, place = divmod(index, len(stacks))
            yield streams[place].batch(turn), _person(stacks[place].name, test["person"])
    elif data.kind == "files":
        yield from _of_scans(data, test, seed, wanted)
    else:
        stream = training_stream(TrainConfig(data=data, seed=seed))
        for index in range(wanted):
            yield stream.batch(index), f"{index}"


def _of_scans(data: DataConfig, test: dict[str, Any], seed: int, wanted: int) -> Iterator[tuple[Case, str]]:
    scans = FullScans(_chosen(find_scans(_paths(data)), test["only"], lambda path: path.name), data.request)
    each = -(-wanted // len(scans.paths))
    done = count()
    for place, path in enumerate(scans.paths):
        there = scans.slices(path)
        for index in sorted({there[int(i)] for i in np.linspace(0, len(there) - 1, min(each, len(there)))}):
            if next(done) >= wanted:
                return
            random = np.random.default_rng((seed, place, index))
            part = scans.slice(path, index)
            assert part is not None  # `slices` are those with signal
            kind, axis = data.sampling.draw_kind(random)
            axis = axis if part.grid.readout_axis is None else part.grid.phase_axis
            mask = data.sampling.draw(part.matrix, axis, kind, random)
            yield case_of(part, mask, n_maps=data.n_maps), _person(path.name, test["person"])


def _paths(data: DataConfig) -> list[Path]:
    if not data.train:
        raise ConfigError(f"a test set of kind {data.kind} needs files: [...]")
    return [Path(name) for name in data.train]


def _chosen(found: list[T], only: str, name: Callable[[T], str]) -> list[T]:
    """Those whose name holds the regular expression `only`."""
    chosen = [one for one in found if re.search(only, name(one))]
    if not chosen:
        raise ConfigError(f"no file or stack of the test set matches {only!r}: there are {len(found)}")
    return chosen


def _person(name: str, pattern: str) -> str:
    """Group 1 of the pattern in the name, or the name."""
    found = re.search(pattern, name) if pattern else None
    return found[found.re.groups and 1] if found else name
