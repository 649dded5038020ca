"""The slices that every method of a study is tested on: the same for all, and whose each one is."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import cache, partial
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

    Of several files or stacks the slices come in turn, spread over each. With another `seed` than that of the test,
    those of files are slices that the test does not hold, as far as there are any; beyond, and of images, the same ones
    may come, simulated or undersampled anew. Raises ConfigError if nothing is there.
    """
    data, wanted = data_config(test["data"]), int(test["slices"]) if slices is None else slices
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
    there = cache(lambda place: scans.slices(scans.paths[place]))
    every, several = partial(_spread, there, len(scans.paths)), len(scans.paths) * wanted
    if seed == TESTING:
        chosen = every(wanted)
    else:
        tested = every(int(test["slices"]))
        chosen = every(wanted, tested)
        chosen += every(several, [*tested, *chosen]) if len(chosen) < wanted else []
        chosen = [*chosen, *tested][:wanted]
    for place, index in chosen:
        path, random = scans.paths[place], np.random.default_rng((seed, place, index))
        part = scans.slice(path, index)
        assert part is not None  # `slices` are those with signal
        kind, axis = data.sampling.draw_kind(random)
        axis = axis if part.grid.readout_axis is None else part.grid.phase_axis
        mask = data.sampling.draw(part.matrix, axis, kind, random)
        yield case_of(part, mask, n_maps=data.n_maps), _person(path.name, test["person"])


def _spread(
    slices: Callable[[int], list[int]], files: int, wanted: int, without: Collection[tuple[int, int]] = ()
) -> list[tuple[int, int]]:
    """So many slices, or fewer where no more are there, evenly spaced in each file: its place and that of the slice.

    `slices` are those of the file at a place; of no more files than are needed.
    """
    found: list[tuple[int, int]] = []
    for place in range(files):
        if len(found) >= wanted:
            break
        there = [index for index in slices(place) if (place, index) not in without]
        each = min(-(-wanted // files), len(there))
        found += [(place, there[i]) for i in sorted({int(i) for i in np.linspace(0, len(there) - 1, each)})]
    return found[:wanted]


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
