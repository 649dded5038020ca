"""The run folder: what it takes to continue a training run exactly where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from torch import Tensor

from laminar.errors import CheckpointError, explaining
from laminar.files import holding, recover, remove, replacing
from laminar.models import Model, fill, save
from laminar.training.average import Average

OPTIMIZER, AVERAGE, STATE = "optimizer.safetensors", "average.safetensors", "state.json"


@dataclass(frozen=True)
class RunFolder:
    """`config.yaml`, `metrics.jsonl`, and the checkpoints `last` (with optimizer and averaged weights) and `best`."""

    path: Path

    @property
    def last(self) -> Path:
        return self.path / "last"

    @property
    def best(self) -> Path:
        return self.path / "best"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def parts(self) -> tuple[Path, ...]:
        """Everything that belongs to a run; `last` is set aside first, and written or brought back last."""
        return self.last, self.best, self.metrics, self.config

    @property
    def _aside(self) -> Path:
        return self.path / ".replaced"

    def is_a_run(self) -> bool:
        """Whether there are results, of a run that ended well or of one that did not."""
        return any(path.exists() for path in (self.last, self.best, self.metrics))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out of the folder, and first mend what a kill left. Raises LaminarError if one is in."""
        with holding(self.path):
            self.recover()
            yield

    @contextmanager
    def renewing(self) -> Iterator[None]:
        """The block writes the first checkpoint of a new run; an old one is kept aside until that is complete."""
        self.recover()
        try:
            with explaining(f"cannot write {self.path}", OSError):
                for part in self.parts:
                    if os.path.lexists(part):
                        self._aside.mkdir(exist_ok=True)
                        part.rename(self._aside / part.name)
            yield
        finally:
            self.recover()

    def validations(self) -> list[dict[str, Any]]:
        """What was logged at each validation: step, seconds, loss and its terms, learning rate, scores.

        A last line that a kill cut off is left out. Raises CheckpointError for a file that cannot be read.
        """
        try:
            *whole, last = self.metrics.read_text(encoding="utf-8").splitlines() or [""]
            rows = [json.loads(line) for line in whole]
            with suppress(ValueError):
                rows.append(json.loads(last))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.metrics}: cannot be read: {error}") from error
        if not all(isinstance(row, dict) and {"step", "seconds", "loss", "validation"} <= set(row) for row in rows):
            raise CheckpointError(
                f"{self.metrics}: not the log of a training: expected step, seconds, loss, validation"
            )
        return rows

    def recover(self) -> None:
        """What was being replaced comes back if its successor is not complete, that is if there is no `last`."""
        with explaining(f"cannot write {self.path}", OSError):
            for folder in (self.last, self.best):
                recover(folder)
            if self._aside.is_dir() and not self.last.exists():
                for part in reversed(self.parts):
                    if os.path.lexists(self._aside / part.name):
                        remove(part)
                        (self._aside / part.name).rename(part)
            remove(self._aside)

    def save_config(self, text: str) -> None:
        """Write the settings of the run."""
        with replacing(self.config) as temporary:
            temporary.write_text(f"# laminar train\n{text}", encoding="utf-8")

    def save_last(
        self,
        model: Model,
        optimizer: torch.optim.Optimizer,
        average: Average | None,
        state: Mapping[str, Any],
        card: Mapping[str, Any],
    ) -> None:
        """Replace `last` by model, optimizer, averaged weights and progress, all or none."""
        with replacing(self.last) as temporary:
            save(model, temporary, card)
            (temporary / OPTIMIZER).write_bytes(save_tensors(_optimizer_tensors(optimizer)))
            if average:
                (temporary / AVERAGE).write_bytes(save_tensors(_stored(average.model.state_dict())))
            (temporary / STATE).write_text(json.dumps(dict(state), indent=2) + "\n", encoding="utf-8")

    def restore(self, model: Model, optimizer: torch.optim.Optimizer, average: Average | None) -> dict[str, Any]:
        """Load `last` into what training goes on with and return the progress; drop metrics written after it."""
        self.recover()
        if bool(average) != (self.last / AVERAGE).exists():
            raise CheckpointError(f"{self.last}: averaged weights (ema) cannot be switched on or off in a run")
        fill(model, self.last)
        try:
            if average:
                average.model.load_state_dict(load_file(self.last / AVERAGE))
            state: dict[str, Any] = json.loads((self.last / STATE).read_text(encoding="utf-8"))
            _restore_optimizer(optimizer, load_file(self.last / OPTIMIZER))
            step = int(state["step"])
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(f"{self.last}: cannot continue from it: {error}") from error
        self._drop_metrics_after(step)
        return state

    def log(self, entry: Mapping[str, Any]) -> None:
        """Append one line to `metrics.jsonl`."""
        with explaining(f"cannot write {self.metrics}"):
            self.path.mkdir(parents=True, exist_ok=True)
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(entry)) + "\n")

    def _drop_metrics_after(self, step: int) -> None:
        if not self.metrics.exists():
            return
        lines = self.metrics.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _step_of(line) <= step]
        with replacing(self.metrics) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _step_of(line: str) -> float:
    """The step of a line of `metrics.jsonl`; infinite for a line that was cut off."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Every state tensor of every parameter, named by the parameter's position."""
    return _stored(
        {
            f"{index}.{key}": value
            for index, parameter in enumerate(_parameters(optimizer))
            for key, value in optimizer.state.get(parameter, {}).items()
        }
    )


def _stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = _parameters(optimizer)
    for name, value in tensors.items():
        index, key = name.split(".")
        parameter = parameters[int(index)]
        optimizer.state[parameter][key] = value if key == "step" else torch.empty_like(parameter).copy_(value)


def find_runs(place: Path) -> list[RunFolder]:
    """The runs in a folder and below."""
    return [RunFolder(path.parent) for path in sorted(place.rglob("metrics.jsonl")) if path.stat().st_size]
