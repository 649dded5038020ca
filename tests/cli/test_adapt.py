"""`laminar adapt`: what it writes, and what it refuses."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import torch

from laminar.data.formats import write_fastmri
from laminar.data.masks import make_mask
from laminar.data.simulation import simulate_slice
from laminar.methods import NetworkMethod
from laminar.models import load

Run = Callable[..., tuple[int, str, str]]


def test_a_checkpoint_that_names_its_scan_and_the_image_by_it(tmp_path: Path, tiny_model: Path, laminar: Run) -> None:
    full = simulate_slice("brain", (48, 40), 4, 0.01, torch.Generator().manual_seed(0)).scan
    scan, out = tmp_path / "scan.h5", tmp_path / "out"
    write_fastmri(scan, full.undersample(make_mask("equispaced-fraction", (48, 40), 2, 8, 0)))
    options = ("--model", tiny_model, "--out", out, "--learning-rate", 1e-3)
    code, text, error = laminar("adapt", scan, *options, "--steps", 2)
    assert (code, error) == (0, "")
    assert "samples held out" in text or "stays as it is" in text
    assert sorted(path.name for path in out.iterdir()) == ["scan-adapted", "scan.h5", "scan.png"]
    card = json.loads((out / "scan-adapted" / "model.json").read_text())["card"]
    assert card["adapted to the scan of sha256"] == hashlib.sha256(scan.read_bytes()).hexdigest()
    assert card["from"] == "tiny"
    losses = card["loss of samples held out (dB)"]
    assert losses["after"] <= losses["before"]
    assert str(tmp_path) not in json.dumps(card)
    with h5py.File(out / "scan.h5") as file:
        assert file.attrs["fingerprint"] == NetworkMethod(load(out / "scan-adapted")).fingerprint
    assert laminar("adapt", scan, *options, "--steps", 1)[0] == 0  # its own files may be replaced
    code, _, error = laminar("adapt", scan, "--model", out / "scan-adapted", "--out", out)
    assert code == 2
    assert "scan-adapted is an input of this command: choose another --out" in error
    (tmp_path / "other" / "scan-adapted").mkdir(parents=True)
    code, _, error = laminar("adapt", scan, "--model", tiny_model, "--out", tmp_path / "other")
    assert code == 2
    assert "is there already and no checkpoint" in error


def test_training_without_ground_truth_says_the_loss_on_samples_held_out(tmp_path: Path, laminar: Run) -> None:
    small = ("--data.simulation.matrices", "[[40,48]]", "--data.simulation.readout", 32, "--data.workers", 0)
    small += ("--data.validation_batches", 1, "--data.batch_size", 1, "--model.n_cascades", 1, "--steps", 1)
    code, text, _ = laminar("train", "--out", tmp_path, "--objective.self_supervised", "true", *small)
    assert code == 0
    assert "validation: loss on samples held out" in text


def test_a_full_scan_can_be_undersampled_first_and_scored(tmp_path: Path, tiny_model: Path, laminar: Run) -> None:
    full = simulate_slice("brain", (48, 40), 4, 0.01, torch.Generator().manual_seed(0)).scan
    write_fastmri(tmp_path / "scan.h5", full)
    out = ("--model", tiny_model, "--out", tmp_path / "out", "--steps", 1)
    code, text, _ = laminar(
        "adapt", tmp_path / "scan.h5", *out, "--acceleration", 2, "--calibration-lines", 8, "--seed", 3
    )
    assert code == 0
    assert "PSNR" in text
    card = json.loads((tmp_path / "out" / "scan-adapted" / "model.json").read_text())["card"]
    assert card["mask"] == "equispaced-fraction R=2 n=8 seed=3 axis=x"
