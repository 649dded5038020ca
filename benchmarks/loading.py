"""Training batches from files: what reading them costs, beside the rest of a batch and of a step.

The files are in the page cache, more of them than a loader keeps open, and taken in turn at random. "h5py": opening a
file and reading the same slices, nothing else. "slices": the same as checked scans of one slice. "batches": as
training problems, with mask, sensitivities and scale. "training from files" and "from memory": steps of a network far
smaller than any that is of use, so that reading weighs the most.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from benchmarks.operators import Task, summary, take_turns
from laminar.data.cases import KEPT, Case, FullScans
from laminar.data.formats import write_fastmri
from laminar.data.simulation import simulate_slice
from laminar.models import RegularizerConfig, UnrolledConfig, UnrolledNetwork
from laminar.scan import cartesian
from laminar.training.config import DataConfig, TrainConfig
from laminar.training.data import training_stream

FILES, SLICES, COILS, SIZE, BATCHES = 2 * KEPT, 4, 8, 256, 12


def write_files(folder: Path) -> None:
    """Scans of the same simulated slice, at several scales."""
    one = simulate_slice("brain", (SIZE, SIZE), COILS, 0.01, torch.Generator().manual_seed(0)).scan
    for index in range(FILES):
        kspace = (1 + index) * one.kspace.expand(SLICES, -1, -1, -1)
        write_fastmri(folder / f"{index:02}.h5", cartesian(kspace, one.mask, readout_axis=-2))


def stepping() -> Any:
    """A function that does one step of training with a case."""
    torch.manual_seed(0)
    network = UnrolledNetwork(config=UnrolledConfig(n_cascades=1, regularizer=RegularizerConfig(channels=[4, 8])))
    optimizer = torch.optim.Adam(network.parameters())

    def step(case: Case) -> None:
        problem = case.problem
        image = network.trajectory(problem.y, problem.operator, problem.noise_level).image
        optimizer.zero_grad()
        (image - case.image).abs().mean().backward()
        optimizer.step()

    return step


def tasks(folder: Path) -> dict[str, Task]:
    """The same slices of the same files by each of them."""
    data = DataConfig(kind="files", train=[str(folder)], batch_size=1)
    stream = training_stream(TrainConfig(data=data))
    paths, step = sorted(folder.iterdir()), stepping()
    drawn = np.random.default_rng(0).integers((FILES, SLICES), size=(BATCHES, 2)).tolist()
    order, scans = [(paths[file], index) for file, index in drawn], FullScans(paths)
    made = [stream.batch(index) for index in range(BATCHES)]

    def plain() -> None:
        for path, index in order:
            with h5py.File(path) as file:
                _ = file["kspace"][index]

    return {
        "h5py": plain,
        "slices": lambda: list(itertools.starmap(scans.slice, order)),
        "batches": lambda: [stream.batch(index) for index in range(BATCHES)],
        "training from files": lambda: [step(stream.batch(index)) for index in range(BATCHES)],
        "training from memory": lambda: [step(case) for case in made],
    }


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds a batch: median, least and greatest of the rounds."""
    write_files(folder)
    found = summary(take_turns(tasks(folder), rounds), "training from memory")
    of_one = {who: {key: row[key] for key in ("seconds", "processor_seconds")} for who, row in found.items()}
    return {
        "files": FILES,
        "kept_open": KEPT,
        "slice": [COILS, SIZE, SIZE],
        "seconds_a_batch": {
            who: {key: [value / BATCHES for value in values] for key, values in row.items()}
            for who, row in of_one.items()
        },
        "from_files_over_memory": found["training from files"]["processor_seconds_ratio"],
    }
