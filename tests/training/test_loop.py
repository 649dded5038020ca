"""Training runs: exact resume, honest failure, the same by any number of interruptions."""

import json
import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from laminar.data.cases import Case
from laminar.data.config import SamplingConfig, SimulationConfig
from laminar.errors import CheckpointError, TrainingError
from laminar.models import PriorConfig, RegularizerConfig, UnrolledConfig, UnrolledNetwork, VarNetConfig, build
from laminar.training.config import DataConfig, OptimizerConfig, TrainConfig
from laminar.training.data import make_data
from laminar.training.loop import Outcome, learning_rate, make_fabric, train
from laminar.training.objectives import ObjectiveConfig
from laminar.training.state import RunFolder

pytest.importorskip("lightning.fabric")

CONFIG = TrainConfig(
    model=UnrolledConfig(n_cascades=2, regularizer=RegularizerConfig(channels=[4, 6]), coefficients="learned"),
    data=DataConfig(
        simulation=SimulationConfig(matrices=[(40, 48)], coils=(3, 4), readout=32),
        sampling=SamplingConfig(kinds=["equispaced-fraction"], acceleration=(2.0, 3.0)),
        batch_size=2,
        validation_batches=1,
        workers=0,
    ),
    optimizer=OptimizerConfig(learning_rate=3e-3, warmup=2),
    steps=6,
    validate_every=3,
    accelerator="cpu",
)


FLOW_MATCHING = replace(
    CONFIG,
    model=replace(CONFIG.model, shared=True, coefficients="flow", source_noise=0.1),
    objective=ObjectiveConfig(flow_matching=1.0),
)


PRIOR = replace(CONFIG, model=PriorConfig(channels=[4, 6], embedding=8), ema=0.9)
VARNET = replace(CONFIG, model=VarNetConfig(2, 3, 1, 2, 1), ema=0.5)
SELF_SUPERVISED = replace(CONFIG, objective=ObjectiveConfig(self_supervised=True))
KINDS = {
    "flat": CONFIG,
    "self-supervised": SELF_SUPERVISED,
    "flow matching, noisy source": FLOW_MATCHING,
    "prior": PRIOR,
    "varnet": VARNET,
}


def run(folder: Path, config: TrainConfig = CONFIG, **options: Any) -> Outcome:
    torch.manual_seed(config.seed)
    model = options.pop("model", None) or build(config.model)
    stream, validation = make_data(config)
    stream = options.pop("stream", stream)
    return train(make_fabric(config), model, stream, validation, config, RunFolder(folder), **options)


def interrupt_at(step: int) -> Any:
    def report(current: int, losses: dict[str, float]) -> None:
        if current == step:
            signal.raise_signal(signal.SIGINT)

    return report


def weights(folder: Path) -> bytes:
    return (folder / "last" / "model.safetensors").read_bytes()


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_and_resumed_is_bit_identical(tmp_path: Path, kind: str) -> None:
    config = KINDS[kind]
    whole = run(tmp_path / "whole", config)
    assert (whole.step, whole.interrupted) == (6, False)
    first = run(tmp_path / "parts", config, report=interrupt_at(2))
    assert (first.step, first.interrupted) == (2, True)
    second = run(tmp_path / "parts", config, report=interrupt_at(3), resume=True)
    assert (second.step, second.interrupted) == (3, True)
    run(tmp_path / "parts", config, resume=True)
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    stored = {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.safetensors")}
    assert len(stored) == 4 if config.ema else 3
    for path in stored:
        assert (tmp_path / "parts" / path).read_bytes() == (tmp_path / "whole" / path).read_bytes(), path
    drop = lambda entry: {k: v for k, v in entry.items() if k != "seconds"}  # noqa: E731
    assert [drop(e) for e in lines(tmp_path / "parts")] == [drop(e) for e in lines(tmp_path / "whole")]
    scores = lines(tmp_path / "whole")[0]["validation"]
    if kind == "self-supervised":
        assert set(scores) == {"loss"}
    else:
        assert len(scores["psnr_per_level" if kind == "prior" else "psnr_per_cascade"]) == (5 if kind == "prior" else 3)


class Drawing(nn.Module):
    """A regularizer that draws, and that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Dropout(0.5))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        channels = self.net(torch.view_as_real(x).permute(0, 3, 1, 2))
        return torch.view_as_complex(channels.permute(0, 2, 3, 1).contiguous())


def test_a_module_that_draws_is_resumed_in_the_same_bits_and_its_counts_are_averaged_too(tmp_path: Path) -> None:
    def go(name: str, steps: int, *, resume: bool = False) -> None:
        torch.manual_seed(0)
        model = UnrolledNetwork(regularizer=Drawing(), n_cascades=2)
        config = replace(CONFIG, model=model.config, steps=4, ema=0.9)
        run(tmp_path / name, config, model=model, resume=resume, report=interrupt_at(steps))

    go("whole", 4)
    go("parts", 2)
    torch.manual_seed(7)
    go("parts", 4, resume=True)
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    average, last = (load_file(tmp_path / "whole" / name) for name in AVERAGED[:2])
    counted = [name for name in last if "running" in name]
    assert counted
    assert all(torch.equal(average[name], last[name]) for name in counted)


def test_with_ema_the_averaged_weights_are_judged_and_become_best(tmp_path: Path) -> None:
    run(tmp_path, replace(PRIOR, steps=1))
    average, last, best = (load_file(tmp_path / name) for name in AVERAGED)
    assert all(torch.equal(best[name], tensor) for name, tensor in average.items())
    assert any(not torch.equal(best[name], tensor) for name, tensor in last.items())
    with pytest.raises(CheckpointError, match=r"averaged weights \(ema\) cannot be switched"):
        run(tmp_path, replace(PRIOR, steps=2, ema=0.0), resume=True)


AVERAGED = ("last/average.safetensors", "last/model.safetensors", "best/model.safetensors")


def test_the_best_prior_is_that_of_the_lowest_loss(tmp_path: Path) -> None:
    run(tmp_path, replace(PRIOR, validate_every=1))
    losses = [entry["validation"]["loss"] for entry in lines(tmp_path)]
    card = json.loads((tmp_path / "best" / "model.json").read_text())["card"]
    assert card["validation"]["loss"] == min(losses)


def test_another_seed_is_another_run_and_a_restart_forgets_the_old_one(tmp_path: Path) -> None:
    run(tmp_path)
    first = weights(tmp_path)
    run(tmp_path, replace(CONFIG, seed=1))
    assert weights(tmp_path) != first
    assert len(lines(tmp_path)) == 2


class Poisoned:
    """A stream whose batch 4 has NaN in its k-space."""

    def __init__(self) -> None:
        self.stream = make_data(CONFIG)[0]

    def batch(self, index: int) -> Case:
        batch = self.stream.batch(index)
        bad = replace(batch.problem, y=batch.problem.y * float("nan"))
        return replace(batch, problem=bad) if index == 4 else batch


def test_nan_stops_with_step_sample_and_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"step 5, batch 4 of the stream; last good checkpoint: .*last") as caught:
        run(tmp_path, stream=Poisoned())
    assert "\n" not in str(caught.value)
    run(tmp_path, resume=True)
    assert all(torch.isfinite(torch.tensor(entry["validation"]["psnr"])) for entry in lines(tmp_path))


def test_resuming_another_configuration_is_refused(tmp_path: Path) -> None:
    run(tmp_path, replace(CONFIG, steps=1))
    other = replace(CONFIG, model=replace(CONFIG.model, coefficients="free"))
    with pytest.raises(CheckpointError, match="another configuration"):
        run(tmp_path, other, resume=True)


def test_learning_rate_warms_up_and_decays_to_zero() -> None:
    rates = [learning_rate(step, 100, OptimizerConfig(learning_rate=1.0, warmup=10)) for step in range(1, 101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(rates[9])
    assert rates[-1] < 1e-3
    assert all(a >= b for a, b in pairwise(rates[9:]))
