"""What a verb says, where it is kept, and what other programs read of it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from laminar.data.simulation import simulate_slice
from laminar.figures.sheet import Sheet

Run = Callable[..., tuple[int, str, str]]
MINE = """
import torch

class Mine(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.1))

    def forward(self, x, t):
        return self.weight * x
"""


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for seed, name in enumerate("ab"):
        scan = simulate_slice("brain", (40, 32), 2, 0.01, torch.Generator().manual_seed(seed)).kspace
        np.save(folder / f"{name}.npy", scan.numpy())
    return folder


SHORT = ("--axes", "coil,ky,kx", "--method", "zero-filled", "--acceleration", 2, "--calibration-lines", 8)


def test_json_says_all_that_was_done(scans: Path, tmp_path: Path, laminar: Run) -> None:
    (scans / "c.npy").write_bytes(b"\x93NUMPY and no more")
    out = tmp_path / "out"
    code, text, error = laminar("reconstruct", scans / "a.npy", scans / "c.npy", *SHORT, "--out", out, "--json")
    told = json.loads(text)
    assert (code, list(told["failed"]), told["skipped"]) == (1, ["c"], {})
    (scan,) = told["scans"]
    assert scan["shape"] == {"slice": 1, "coil": 2, "y": 40, "x": 32}
    assert scan["mask"] == "equispaced-fraction R=2 n=8 seed=0 axis=y"
    assert all(Path(path).exists() for path in scan["outputs"])
    assert scan["metrics"].keys() >= {"psnr", "ssim", "nmse"}
    assert told["failed"]["c"] in error
    code, text, _ = laminar("reconstruct", scans, *SHORT, "--out", out, "--json", "--skip-existing")
    told = json.loads(text)
    assert (code, told["skipped"], [one["name"] for one in told["scans"]]) == (1, {"a": scan["outputs"]}, ["b"])
    code, text, _ = laminar("reconstruct", scans / "b.npy", *SHORT, "--seed", 3, "--out", out, "--skip-existing")
    assert (code, "finished" in text) == (0, False)  # another mask is another image
    assert "b: replaces a reconstruction by zero-filled with other settings" in text


def test_pictures_name_the_images_of_a_series_as_the_log_does(
    tmp_path: Path, laminar: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(Sheet, "_text", lambda self, x, y, text, *more, **style: written.append(text))
    one = simulate_slice("brain", (40, 32), 2, 0.01, torch.Generator().manual_seed(0)).kspace
    series = torch.stack([one, one, 0 * one, one]).reshape(2, 2, *one.shape)
    np.save(tmp_path / "a.npy", series.numpy())
    told = ("--axes", "time,slice,coil,ky,kx", "--method", "zero-filled", "--out", tmp_path / "out")
    code, said, _ = laminar("reconstruct", tmp_path / "a.npy", *told)
    names = [f"time {time}, slice {place}" for time in range(2) for place in range(2)]
    assert (code, [text for text in written if text]) == (0, names)
    assert "a: time 1, slice 0 holds no signal: its image is zero" in said
    written.clear()
    np.save(tmp_path / "b.npy", series[:, 1:].numpy())
    code, _, _ = laminar("reconstruct", tmp_path / "b.npy", *told, "--acceleration", 2, "--calibration-lines", 8)
    assert (code, written[0]) == (0, "b, R = 2.0, time 1; numbers of all 2 images")


def test_without_figures_there_are_none(
    scans: Path, tmp_path: Path, laminar: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, text, _ = laminar("reconstruct", scans, *SHORT, "--out", tmp_path / "out", "--no-figures")
    assert (code, "mean of 2" in text, "png" in text) == (0, True, False)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.h5", "b.h5"]


def test_several_targets_are_described(scans: Path, tiny_model: Path, laminar: Run) -> None:
    code, text, error = laminar("info", scans, tiny_model, scans / "absent.npy", "--axes", "coil,ky,kx", "--json")
    told = json.loads(text)
    assert code == 1
    assert list(told) == [str(scans / "a.npy"), str(scans / "b.npy"), str(tiny_model)]
    assert told[str(scans / "b.npy")]["read as"]["coils"] == 2
    assert told[str(tiny_model)]["configuration"]["n_cascades"] == 2
    assert error.count("\n") == 1
    code, text, _ = laminar("info", scans / "a.npy", scans / "b.npy")
    assert (code, text.count("path: "), "\n\npath" in text) == (0, 2, True)


def test_a_log_keeps_what_is_said_and_grows(scans: Path, tmp_path: Path, laminar: Run) -> None:
    log = tmp_path / "logs" / "batch.txt"
    command = ("reconstruct", scans / "a.npy", scans / "no.npy", *SHORT, "--out", tmp_path / "out", "--log", log)
    code, text, error = laminar(*command, "--quiet")
    assert (code, text) == (1, "")
    said = log.read_text()
    assert said.startswith("# laminar log\n")
    for line in ("Reconstructions by zero-filled", error.splitlines()[0], "exit code 1"):
        assert re.search(rf"^\d{{4}}-\d\d-\d\dT[\d:]+Z .*{re.escape(line)}", said, re.MULTILINE), line
    assert "\x1b" not in said
    assert laminar("reconstruct", scans / "a.npy", "--method", "nothing", "--out", tmp_path, "--log", log)[0] == 2
    assert log.read_text().startswith(said)
    assert "Traceback" in log.read_text()
    code, _, error = laminar("info", "default", "--log", scans / "a.npy")
    assert (code, "no log of laminar" in error) == (2, True)
    assert (scans / "a.npy").read_bytes().startswith(b"\x93NUMPY")


def test_a_regularizer_of_ones_own_goes_through_every_verb(
    scans: Path, tmp_path: Path, laminar: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "networks_of_mine.py").write_text(MINE)
    own = ("--regularizer", "networks_of_mine:Mine")
    tiny = ["--model.n_cascades", 2, "--data.simulation.matrices", "[[32, 32]]", "--validate_every", 1]
    tiny += ["--data.batch_size", 1, "--data.validation_batches", 1]
    assert laminar("train", "--out", "run", *own, *tiny, "--steps", 1)[0] == 0
    assert laminar("train", "--out", "run", *own, "--resume", "--steps", 2)[0] == 0
    code, _, error = laminar("train", "--out", "run", "--resume", "--steps", 3)
    assert (code, "--regularizer MODULE:CLASS" in error) == (2, True)
    used = ("reconstruct", scans, "--axes", "coil,ky,kx", "--model", "run/best", "--acceleration", 2, "--out", "images")
    code, _, error = laminar(*used, "--calibration-lines", 8)
    assert (code, "--regularizer MODULE:CLASS" in error) == (2, True)
    assert laminar(*used, "--calibration-lines", 8, *own)[0] == 0
    audited = ("--data", scans, "--axes", "coil,ky,kx", "--acceleration", 2, "--calibration-lines", 8, "--slices", 1)
    assert laminar("audit", "run/best", *own, *audited, "--json-only")[0] == 0
    code, _, error = laminar(*used, "--regularizer", "networks_of_mine:torch")
    assert (code, "expected a torch.nn.Module" in error) == (2, True)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_is_a_script_of_the_shell(shell: str, laminar: Run) -> None:
    pytest.importorskip("shtab")
    code, text, _ = laminar("completion", shell)
    assert code == 0
    assert "reconstruct" in text
    assert "--skip-existing" in text
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that has no space")
def test_a_full_disk_ends_the_log_and_not_the_work(tiny_model: Path, laminar: Run) -> None:
    code, text, error = laminar("info", tiny_model, "--log", "/dev/full")
    assert (code, "tiny" in text) == (0, True)
    assert error == "laminar: /dev/full: No space left on device: the log ends here\n"
