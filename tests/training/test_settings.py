"""What a training starts from says what model it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from laminar.errors import LaminarError
from laminar.models import RegularizerConfig, UnrolledConfig, UnrolledNetwork, preset, save
from laminar.training.config import TrainConfig
from laminar.training.settings import Settings

TINY = UnrolledConfig(n_cascades=2, cg_iterations=9, regularizer=RegularizerConfig(channels=[4, 6]))


def parsed(name: str | None, *arguments: str) -> TrainConfig:
    return Settings.of_preset(name, arguments).parse(arguments)


def test_a_training_that_starts_from_a_checkpoint_has_its_model_and_preset(tmp_path: Path) -> None:
    save(UnrolledNetwork(config=TINY), tmp_path / "mine", {"config.yaml": "preset: default\n"})
    start = ("--start", str(tmp_path / "mine"))
    usual = TrainConfig.suited(preset("default"), "default")
    for config in (parsed(None, *start), parsed("default", f"--start={start[1]}")):
        assert (config.model, config.objective, config.optimizer) == (TINY, usual.objective, usual.optimizer)
    assert parsed(None, *start, "--model.cg_iterations", "4").model == TINY.changed(cg_iterations=4)
    file = tmp_path / "settings.yaml"
    file.write_text(f"start: {start[1]}\nsteps: 7\n")
    assert (parsed(None, "--config", str(file)).model, parsed(None, "--config", str(file)).steps) == (TINY, 7)
    assert parsed("flat", *start).model == preset("flat")  # which no weights of that checkpoint will fit
    assert parsed(None, "--start", "default").model.n_cascades == 6  # type: ignore[union-attr]
    with pytest.raises(LaminarError, match=r"no model 'defualt'.*did you mean 'default'"):
        parsed(None, "--start", "defualt")
