"""Training batches for a loop of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.data import DataLoader

from laminar.data.cases import Case
from laminar.data.config import SamplingConfig, SimulationConfig
from laminar.errors import ConfigError
from laminar.training.config import DataConfig, TrainConfig
from laminar.training.data import batches_of, training_stream

_GROUPS = {"sampling": SamplingConfig, "simulation": SimulationConfig}


def loader(steps: int, *, seed: int = 0, **data: Any) -> DataLoader[Case]:
    """The batches that `laminar train` would draw, `steps` of them, for PyTorch, Lightning or Fabric.

    `data` are the settings that `--data.` has there: `kind="files", train=["scans"], batch_size=2, workers=2,
    sampling={"acceleration": (4, 8)}`; without any, endless simulation. Batch i is the same for every number of
    workers, and another one for every `seed`: epochs of their own take seeds of their own.

    Each is a `Case`: a `problem` with `y`, `operator` and `noise_level`, and the `image` (batch, y, x) to be found, in
    the same units. It goes to a device by `case.to(device)`, as Lightning does by itself. Raises ConfigError for
    settings that do not exist or fit.
    """
    if steps < 1:
        raise ConfigError(f"steps must be at least 1; got {steps}")
    try:
        for name, kind in _GROUPS.items():
            if isinstance(data.get(name), Mapping):
                data[name] = kind(**data[name])
        config = TrainConfig(data=DataConfig(**data), seed=seed, steps=steps)
    except TypeError as error:
        raise ConfigError(f"no settings of data: {error}") from error
    return batches_of(training_stream(config), range(steps), config.data.workers)
