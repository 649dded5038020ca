"""Streams of training problems and the fixed validation set that a configuration asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch.utils.data import DataLoader, Dataset

from laminar.data.acquisition import AcquisitionStream
from laminar.data.cases import Case, FullScans
from laminar.data.formats import find_scans
from laminar.data.images import find_images
from laminar.data.loading import loader_of, said_plainly
from laminar.data.packed import PackedStream
from laminar.data.simulated import Images, Objects, Phantoms, SimulationStream
from laminar.data.stream import FileStream, Mixture, Stream
from laminar.errors import ConfigError, explaining
from laminar.models import UnrolledConfig
from laminar.training.config import DataConfig, TrainConfig
from laminar.training.reference import NetworkTeacher, ReferenceStream

# Validation draws from another stream than training; the same for every seed, so that seeds can be compared.
VALIDATION_SEED = 2**31


def make_data(config: TrainConfig) -> tuple[Stream, list[Case]]:
    """The training stream and the fixed validation batches. Raises ConfigError if files are asked for but missing."""
    data = config.data
    stream = training_stream(config)
    held_out = _stream(data.kind, data.validation, "data.validation", config, VALIDATION_SEED)
    if data.distinct_batches:
        stream = Repeated(stream, data.distinct_batches)
    if config.reference.kind == "ode":
        stream = with_reference(stream, config)
    return stream, [held_out.batch(index) for index in range(data.validation_batches)]


def prefetched(stream: Stream, order: Sequence[int], workers: int) -> Iterator[Case]:
    """The batches of a stream at the indices `order`, prepared ahead by `workers` processes (0: by this one)."""
    return said_plainly(batches_of(stream, order, workers))


def batches_of(stream: Stream, order: Sequence[int], workers: int) -> DataLoader[Case]:
    """A loader of the batches of a stream at the indices `order`, whose workers end with this process."""
    return loader_of(_Indexed(stream), workers, order)


class _Indexed(Dataset[Case]):
    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __getitem__(self, index: int) -> Case:
        with explaining(f"batch {index} of the stream"):
            return self.stream.batch(index)


@dataclass(frozen=True, eq=False)
class Repeated:
    """The first `count` batches of a stream, again and again; they stay in memory once they were made."""

    stream: Stream
    count: int
    made: dict[int, Case] = field(default_factory=dict)

    def batch(self, index: int) -> Case:
        index %= self.count
        if index not in self.made:
            self.made[index] = self.stream.batch(index)
        return self.made[index]


def with_reference(stream: Stream, config: TrainConfig) -> ReferenceStream:
    """`stream` with the trajectories of the configured teacher's flow, at the times of the configured network."""
    reference, model = config.reference, config.model
    assert isinstance(model, UnrolledConfig)  # TrainConfig sees to it
    teacher = NetworkTeacher.load(str(reference.teacher))
    for name in ("source", "source_noise", "source_std", "source_motion_std", "source_iterations", "noise_floor"):
        ours, theirs = getattr(model, name), getattr(teacher.network.config, name)
        if ours != theirs:
            raise ConfigError(f"model.{name} is {ours!r} and that of the teacher {theirs!r}: their flows start apart")
    return ReferenceStream(
        stream,
        teacher,
        model.times,
        model.source_noise,
        Path(reference.cache),
        reference.tolerance,
        config.seed,
    )


def training_stream(config: TrainConfig) -> Stream:
    """The stream of problems that a training draws from. Raises ConfigError as `make_data` does."""
    return _stream(config.data.kind, config.data.train, "data.train", config, config.seed)


def _stream(kind: str, names: list[str], setting: str, config: TrainConfig, seed: int) -> Stream:
    """The stream of one kind of data; `names` are the files or folders that `setting` gives."""
    data = config.data
    if kind == "mixed":
        return Mixture(
            [_stream(each, names, setting, config, seed) for each in data.mixture], list(data.mixture.values()), seed
        )
    if kind == "simulation":
        return simulation_of(Phantoms(data.simulation.anatomy, data.simulation.matrices), data, seed)
    if not names:
        raise ConfigError(f"data.kind is {kind}: {setting} must name at least one file or folder")
    paths = [Path(name) for name in names]
    if kind == "images":
        return simulation_of(Images(find_images(paths)), data, seed)
    if kind == "problems":
        return PackedStream.open(paths, data.sampling, seed, data.n_maps)
    scans = FullScans(find_scans(paths), data.request, undersampled=config.objective.self_supervised)
    scans.check()
    return FileStream(scans, data.sampling, data.batch_size, seed, data.n_maps)


def simulation_of(objects: Objects, data: DataConfig, seed: int) -> Stream:
    """Scans of objects in the geometry that the settings name."""
    if data.acquisition is None:
        return SimulationStream(objects, data.simulation, data.sampling, data.batch_size, seed, data.n_maps)
    return AcquisitionStream(data.acquisition, objects, data.simulation, data.batch_size, seed)
