"""What the benchmarks of images share: the best weight of a row, measures with a known answer, loud failure."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from benchmarks import do_no_harm, trials
from benchmarks.ghosts import disc, measured
from benchmarks.record import header
from benchmarks.rivals import OURS, Scores, settled
from laminar.data.simulation.phantoms import phantom
from laminar.errors import ConfigError
from laminar.training.config import TrainConfig


def scores(**values: float) -> Scores:
    """A method's metrics, all of the same size, by its name with _ for a blank."""
    return {
        name.replace("_", " ").replace("CG ", "CG-SENSE "): {"psnr": v, "object_psnr": 50 - v, "ssim": v, "nmse": -v}
        for name, v in values.items()
    }


def test_every_metric_gets_its_own_best_weight_over_the_row_and_ours_the_paired_gain() -> None:
    row = [scores(CG_1=20, CG_2=24, FLAT=23), scores(CG_1=24, CG_2=22, FLAT=25)]
    found = settled(row)
    assert found["CG-SENSE"] == {"psnr": 23, "object_psnr": 28, "ssim": 23, "nmse": -23}
    assert found["CG-SENSE weight"] == {"psnr": 2, "object_psnr": 1, "ssim": 2, "nmse": 2}
    assert found[f"{OURS} - CG-SENSE (dB)"] == {"mean": 1, "low": -1, "high": 3}
    assert found[f"{OURS} - CG-SENSE, object (dB)"]["mean"] == -2
    assert (found["best"], found[f"{OURS} - best, object (dB)"]["mean"]) == ("CG-SENSE", -2)


def test_a_ghost_of_a_third_is_found_as_a_third() -> None:
    """A structure that keeps 0.8 of itself and leaves 0.3 at one of three fold distances."""
    center = 20.0, 30.0
    s = disc((48, 64), center, 2.5).to(torch.complex64)
    ghost = disc((48, 64), (20.0, 30.0 + 2 * 64 / 4), 2.5)
    found = measured(0.8 * s + 0.3 * ghost, s, center, 4)
    assert found == pytest.approx({"ghost": 0.3, "energy": 0.09, "kept": 0.8}, rel=1e-5)
    beside = disc((48, 64), (20.0, 38.0), 2.5)
    assert measured(s + 0.3 * beside, s, center, 4)["ghost"] == pytest.approx(0, abs=1e-6)


def test_a_command_in_a_result_names_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["benchmarks/x.py", "--data", "../a/b/", "--out=/tmp/c/d.json", "R/2", "--model", "default"]
    monkeypatch.setattr(sys, "argv", words)
    assert header()["command"] == "python -m benchmarks.x --data b --out=d.json 2 --model default"


def test_harm_is_said_and_fails(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    with h5py.File(tmp_path / "corpus.h5", "w") as file:
        group = file.create_group("brain_p1")
        group.attrs["person"] = "p1"
        image = phantom("brain", (96, 80), torch.Generator().manual_seed(0)).abs().clamp(0, 1)
        group["images"] = (255 * image.numpy()[None]).astype(np.uint8)
    monkeypatch.setattr(do_no_harm, "phantoms", lambda count: [])
    monkeypatch.setattr(do_no_harm, "ACCELERATIONS", (2.0,))
    out = tmp_path / "harm.json"
    words = ["do_no_harm", "--quick", "--corpus", str(tmp_path / "corpus.h5"), "--model", str(tiny_model)]
    monkeypatch.setattr(sys, "argv", [*words, "--out", str(out)])
    assert do_no_harm.main() == 1
    assert "HARM: 1 of 1 scans are worse" in capsys.readouterr().err
    record = json.loads(out.read_text())
    assert record["worse"] == record["scans"] == 1
    assert record["rows"][0]["gain"] < -0.1
    assert str(tmp_path) not in out.read_text()
    monkeypatch.setattr(do_no_harm, "ALLOWED", 1e3)
    assert do_no_harm.main() == 0


TRIALS = """
base:
  settings: {data.kind: simulation, data.simulation.matrices: [[40, 48]], data.simulation.readout: 32,
             data.sampling.kinds: [equispaced-fraction], data.batch_size: 1, data.validation_batches: 2,
             data.workers: 0, model.n_cascades: 1, model.regularizer.channels: [4, 6], accelerator: cpu}
trials:
  - as it is: {}
  - free: {model.coefficients: free}
"""


def test_trials_are_rows_that_are_not_done_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out, made = tmp_path / "trials.yaml", tmp_path / "trials.json", list[str]()
    path.write_text(TRIALS)
    run_trial = trials.run_trial

    def counted(trial: trials.Trial, config: TrainConfig, minutes: float) -> dict[str, Any]:
        made.append(trial.name)
        return run_trial(trial, config, minutes)

    monkeypatch.setattr(trials, "run_trial", counted)
    monkeypatch.setattr(trials, "TIMED_STEPS", 2)
    rows = trials.run_all(path, 0.002, 0, out)
    assert made == ["as it is", "free"]
    assert rows[0]["gain (dB)"] == {"mean": 0, "low": 0, "high": 0}
    assert [len(row["psnr_of_each"]) for row in rows] == [2, 2]
    assert rows[1]["change"] == {"model.coefficients": "free"}
    assert all(row["slices"] == row["steps"] and row["seconds"] > 0 for row in rows)
    assert trials.run_all(path, 0.002, 0, out) == rows
    assert json.loads(out.read_text())["trials"] == rows
    path.write_text(re.sub("free: .*", "free: {model.coefficients: learned}", TRIALS))
    monkeypatch.setattr(trials, "run_trial", lambda *_: rows[1] | {"change": {"model.coefficients": "learned"}})
    assert trials.run_all(path, 0.002, 0, out)[1]["change"] == {"model.coefficients": "learned"}
    assert made == ["as it is", "free"]


@pytest.mark.parametrize("text", ["a: 1", "base: {}\ntrials: []", "base: {}\ntrials: [{a: {data.validation: [b]}}]"])
def test_lists_of_another_form_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "trials.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"trials\.yaml: "):
        trials.read_trials(tmp_path / "trials.yaml")
