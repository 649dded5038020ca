"""The real commands on small data: what they print, write and refuse."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from laminar.cli import simulate
from laminar.cli.main import main
from laminar.cli.undersampling import MASKS
from laminar.data.formats import write_fastmri
from laminar.data.masks import MASK_KINDS, make_mask
from laminar.data.simulation import simulate_slice
from laminar.data.simulation.phantoms import ANATOMIES

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def scans(tmp_path: Path, laminar: Run) -> Path:
    code, _, _ = laminar(
        "simulate",
        "--out",
        tmp_path / "scans",
        "--volumes",
        2,
        "--slices",
        2,
        "--matrix",
        "64,48",
        "--coils",
        3,
        "--seed",
        5,
    )
    assert code == 0
    return tmp_path / "scans"


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def test_simulate_reconstruct_evaluate(scans: Path, tmp_path: Path, tiny_model: Path, laminar: Run) -> None:
    inputs = sorted(scans.iterdir())
    out = tmp_path / "out"
    code, text, _ = laminar(
        "reconstruct",
        *inputs,
        "--model",
        tiny_model,
        "--out",
        out,
        "--acceleration",
        2,
        "--calibration-lines",
        10,
        "--trajectory",
    )
    assert code == 0
    assert "PSNR" in text
    assert files(out) == sorted(f"{p.stem}{suffix}" for p in inputs for suffix in (".h5", ".png"))
    with h5py.File(out / inputs[0].name) as file:
        assert file["reconstruction"].shape == (2, 64, 48)
        assert file["reconstruction"].dtype == np.float32
        np.testing.assert_allclose(np.abs(file["reconstruction_complex"][:]), file["reconstruction"][:], rtol=1e-5)
        assert file["trajectory"].shape == (3, 2, 64, 48)
        np.testing.assert_allclose(file["times"][:], [1, 0.5, 0])
        np.testing.assert_allclose(file["trajectory"][-1], file["reconstruction_complex"][:])
    code, text, _ = laminar("evaluate", out, scans, "--out", tmp_path / "scores.json")
    assert code == 0
    assert "SSIM" in text
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert set(scores["volumes"]) == {p.name for p in inputs}


def test_same_seed_same_file(scans: Path, tmp_path: Path, tiny_model: Path, laminar: Run) -> None:
    first = min(scans.iterdir())
    again = ("--volumes", 2, "--slices", 2, "--matrix", "64,48", "--coils", 3, "--seed", 5)
    laminar("simulate", "--out", tmp_path / "again", *again)
    assert (tmp_path / "again" / first.name).read_bytes() == first.read_bytes()
    for out in ("a", "b"):
        laminar(
            "reconstruct",
            first,
            "--model",
            tiny_model,
            "--out",
            tmp_path / out,
            "--acceleration",
            3,
            "--calibration-lines",
            8,
        )
    for suffix in (".h5", ".png"):
        assert (tmp_path / "a" / first.name).with_suffix(suffix).read_bytes() == (
            tmp_path / "b" / first.name
        ).with_suffix(suffix).read_bytes()


def test_one_bad_file_does_not_stop_the_others(scans: Path, tmp_path: Path, tiny_model: Path, laminar: Run) -> None:
    good = min(scans.iterdir())
    bad = scans / "bad.h5"
    bad.write_bytes(good.read_bytes()[:2000])
    missing = scans / "missing.h5"
    out = tmp_path / "out"
    code, text, error = laminar("reconstruct", bad, good, missing, "--model", tiny_model, "--out", out)
    assert code == 1
    assert good.stem in text
    assert files(out) == [f"{good.stem}.h5", f"{good.stem}.png"]
    assert error.splitlines()[-1] == "laminar: 2 of 3 scans failed: bad, missing"
    assert sum(line.startswith("laminar: error:") for line in error.splitlines()) == 2


def test_a_scan_torn_in_its_last_slice_leaves_nothing(tmp_path: Path, tiny_model: Path, laminar: Run) -> None:
    scan = torch.stack([kspace((64, 48))] * 3)
    scan[2, 0, 5, 5] = float("nan")
    with h5py.File(tmp_path / "torn.h5", "w") as file:
        file["kspace"] = scan.numpy()
    out = tmp_path / "out"
    code, _, error = laminar("reconstruct", tmp_path / "torn.h5", "--model", tiny_model, "--out", out)
    assert code == 2
    assert "torn.h5: k-space holds NaN or Inf" in error
    assert not out.exists()


def kspace(matrix: tuple[int, int] = (48, 40)) -> torch.Tensor:
    return simulate_slice("brain", matrix, 3, 0.01, torch.Generator().manual_seed(0)).kspace


def save_all(folder: Path) -> None:
    """k-space in every state of disrepair, as (coil, ky, kx)."""
    full = kspace()
    with_nan = full.clone()
    with_nan[0, 3, 3] = float("nan")
    arrays = {
        "good": full,
        "nan": with_nan,
        "silent": 0 * full,
        "no_center": full * (torch.arange(40) % 4 == 0),
        "no_coils": full[:0],
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array.numpy())
    (folder / "text.npy").write_text("not an array")
    (folder / "empty").mkdir()


AXES = ["--axes", "coil,ky,kx"]
BAD_SCANS: dict[str, tuple[str, list[str], str]] = {
    "axes missing": ("good.npy", [], "--axes"),
    "nan": ("nan.npy", AXES, "NaN"),
    "nothing acquired": ("silent.npy", AXES, "no acquired line"),
    "no calibration": ("no_center.npy", AXES, "calibration"),
    "not an array": ("text.npy", AXES, "text.npy"),
    "directory": ("empty", [], "no scan in this folder"),
    "unknown axis": ("good.npy", ["--axes", "coil,ky,kq"], "kq"),
    "impossible mask": ("good.npy", [*AXES, "--acceleration", "10", "--calibration-lines", "30"], "30"),
    "useless option": ("good.npy", [*AXES, "--calibration-lines", "20"], "without --acceleration"),
    "negative seed": ("good.npy", [*AXES, "--acceleration", "2", "--seed", "-1"], "seed"),
    "device": ("good.npy", [*AXES, "--device", "abacus"], "abacus"),
    "model": ("good.npy", [*AXES, "--model", "nowhere"], "nowhere"),
    "method": ("good.npy", [*AXES, "--method", "cg-sense", "--model", "default"], "does nothing with method"),
    "zero coils": ("no_coils.npy", AXES, "empty"),
}


@pytest.mark.parametrize("case", BAD_SCANS)
def test_bad_input_is_one_line_and_nothing_is_written(
    case: str, tmp_path: Path, tiny_model: Path, laminar: Run
) -> None:
    (tmp_path / "in").mkdir()
    save_all(tmp_path / "in")
    name, args, message = BAD_SCANS[case]
    model = [] if "--model" in args else ["--model", tiny_model]
    code, _, error = laminar("reconstruct", tmp_path / "in" / name, *args, *model, "--out", tmp_path / "out")
    assert code == 2
    assert error.startswith("laminar: error:")
    assert len(error.splitlines()) == 1
    assert message in error
    assert files(tmp_path / "out") == []


def test_an_unwritable_output_is_one_line(scans: Path, tmp_path: Path, tiny_model: Path, laminar: Run) -> None:
    (tmp_path / "file").write_text("in the way")
    code, _, error = laminar("reconstruct", min(scans.iterdir()), "--model", tiny_model, "--out", tmp_path / "file")
    assert code == 2
    assert "--out is a folder" in error
    assert len(error.splitlines()) == 1


def test_the_phase_axis_is_undersampled(tmp_path: Path, tiny_model: Path, laminar: Run) -> None:
    np.save(tmp_path / "good.npy", kspace((64, 64)).numpy())
    undersampled = {"coil,kx,ky": -1, "coil,ky,kx": -2}
    for axes, axis in undersampled.items():
        out = tmp_path / axes
        options = ["--acceleration", 3, "--calibration-lines", 10, "--trajectory", "--axes", axes]
        code, _, _ = laminar("reconstruct", tmp_path / "good.npy", "--model", tiny_model, "--out", out, *options)
        assert code == 0
        with h5py.File(out / "good.h5") as file:
            assert file.attrs["mask"].endswith(f"axis={'y' if axis == -2 else 'x'}")


def test_the_parser_offers_every_mask_and_anatomy() -> None:
    """It lists them itself, so that --help need not import what they are made with."""
    assert tuple(MASK_KINDS) == MASKS
    assert (*ANATOMIES, "mixed") == simulate.ANATOMIES


def test_two_inputs_of_one_name_are_refused(scans: Path, tmp_path: Path, tiny_model: Path, laminar: Run) -> None:
    first = min(scans.iterdir())
    code, _, error = laminar("reconstruct", first, first, "--model", tiny_model, "--out", tmp_path / "out")
    assert code == 2
    assert "two inputs" in error


def test_info_of_scan_and_model(tmp_path: Path, tiny_model: Path, laminar: Run) -> None:
    scan = simulate_slice("brain", (48, 40), 3, 0.01, torch.Generator().manual_seed(0)).scan
    write_fastmri(tmp_path / "scan.h5", scan.undersample(make_mask("equispaced-fraction", (48, 40), 3, 8, 0)))
    code, text, _ = laminar("info", tmp_path / "scan.h5")
    assert code == 0
    for fact in ("coils: 3", "matrix (y, x): [48, 40]", "undersampled axis: x", "measured acceleration: 3."):
        assert fact in text
    code, text, _ = laminar("info", tiny_model)
    assert code == 0
    assert "n_cascades: 2" in text
    assert "trained_on: nothing" in text


TINY_RUN = [
    "--model.n_cascades", "2", "--model.regularizer.channels", "[4,6]", "--data.simulation.matrices", "[[40,48]]",
    "--data.simulation.readout", "32", "--data.sampling.acceleration", "[2,3]", "--data.sampling.kinds", "[random]",
    "--data.validation_batches", "1", "--data.workers", "0", "--accelerator", "cpu", "--validate_every", "2",
]  # fmt: skip


def test_train_resume_and_use(scans: Path, tmp_path: Path, laminar: Run) -> None:
    run = tmp_path / "run"
    code, text, _ = laminar("train", "--out", run, "--steps", 4, *TINY_RUN)
    assert code == 0
    assert "PSNR from the source through the cascades" in text
    assert {"best", "last", "config.yaml", "metrics.jsonl"} <= set(files(run))
    weights = (run / "last" / "model.safetensors").read_bytes()
    code, _, error = laminar("train", "--out", run, "--steps", 4, *TINY_RUN)
    assert code == 2
    assert "--resume continues it" in error
    assert (run / "last" / "model.safetensors").read_bytes() == weights
    code, text, _ = laminar("train", "--out", run, "--resume", "--steps", 6)
    assert code == 0
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [2, 4, 6]
    code, _, _ = laminar("reconstruct", min(scans.iterdir()), "--model", run / "best", "--out", tmp_path / "out")
    assert code == 0
    code, _, _ = laminar(
        "train", "--out", tmp_path / "files", "--steps", 2, *TINY_RUN, "--preset", "varnet",
        "--data.kind", "files", "--data.train", f"[{scans}]", "--data.validation", f"[{scans}]",
    )  # fmt: skip
    assert code == 0


def test_train_and_resume_a_prior(tmp_path: Path, laminar: Run) -> None:
    run, data = tmp_path / "run", TINY_RUN[TINY_RUN.index("--data.simulation.matrices") :]
    model = ["--preset", "prior", "--model.channels", "[4,6]"]
    code, text, _ = laminar("train", "--out", run, "--steps", 2, *model, *data)
    assert code == 0
    assert "validation: loss" in text
    assert "dB at a noise level" in text
    code, text, _ = laminar(
        "train", "--out", run, "--resume", "--steps", 3
    )  # no preset: the checkpoint says what it is
    assert code == 0
    assert "finished at step 3 of 3" in text
    code, _, error = laminar("train", "--out", tmp_path / "other", *model, *data, "--objective.ssim", 0)
    assert code == 2
    assert "'objective.ssim' means nothing for a Prior" in error
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["--model.n_cascade", "3"], "did you mean 'model.n_cascades'"),
        (["--stps", "3"], "did you mean 'steps'"),
        (["--steps", "many"], "steps"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--preset", "flet"], "did you mean 'flat'"),
        (["--model.n_cascades", "0"], "n_cascades must be a whole number"),
        (["--data.kind", "files"], "data.train"),
        (["--resume"], "nothing to resume"),
        (["--validate_every", "0"], "validate_every must be at least 1"),
        (["--data.batch_size", "0"], "data.batch_size must be at least 1"),
        (["--steps", "0"], "steps must be at least 1"),
        (["--seed", "-1"], "seed must be at least 0"),
        (["--model.regularizer.channels", "[]"], "channels"),
    ],
)
def test_wrong_settings_are_one_line(settings: list[str], message: str, tmp_path: Path, laminar: Run) -> None:
    code, _, error = laminar("train", "--out", tmp_path / "run", *settings)
    assert code == 2
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_yaml_file_with_a_wrong_key_names_the_nearest(tmp_path: Path, laminar: Run) -> None:
    (tmp_path / "c.yaml").write_text("model:\n  n_cascade: 3\n")
    code, _, error = laminar("train", "--out", tmp_path / "run", "--config", tmp_path / "c.yaml")
    assert code == 2
    assert "did you mean 'model.n_cascades'" in error


def test_print_config_can_be_read_back(tmp_path: Path, laminar: Run) -> None:
    code, text, _ = laminar("train", "--print_config", "--preset", "varnet", "--steps", 7)
    assert code == 0
    assert "data_step: gradient" in text
    assert "steps: 7" in text
    (tmp_path / "c.yaml").write_text(text)
    _, again, _ = laminar("train", "--print_config", "--config", tmp_path / "c.yaml")

    def settings(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]

    assert settings(again) == settings(text)


def test_the_demo_draws_its_figures(tmp_path: Path, tiny_model: Path, laminar: Run) -> None:
    code, text, _ = laminar("demo", "--out", tmp_path / "none", "--model", tiny_model, "--no-figures")
    assert code == 0
    assert not (tmp_path / "none").exists()
    code, text, _ = laminar("demo", "--out", tmp_path, "--model", tiny_model)
    assert code == 0
    for method in ("zero-filled", "CG-SENSE", "FLAT"):
        assert method in text
    assert files(tmp_path) == ["comparison.png", "trajectory.png"]


@pytest.mark.parametrize(
    ("verb", "instead"),
    [
        ("demo --model absent", ", or --no-figures"),
        ("reconstruct a.h5 --model absent --out x", ", or --no-figures"),
        ("audit absent", ", or --json-only"),
    ],
)
def test_without_matplotlib_a_verb_that_draws_stops_before_it_works(
    verb: str, instead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, laminar: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    Path("a.h5").touch()
    code, _, error = laminar(*verb.split())
    needs = "laminar: error: this needs the package 'matplotlib': pip install 'laminar-mri[figures]'"
    assert (code, error) == (2, f"{needs}{instead}\n")
    assert files(tmp_path) == ["a.h5"]


def test_runs_are_listed_and_resumed_as_they_were_started(tmp_path: Path, laminar: Run) -> None:
    tiny = ["--model.n_cascades", 1, "--model.regularizer.channels", "[4, 4]"]
    tiny += ["--data.simulation.matrices", "[[32, 32]]"]
    short = ["--data.batch_size", 1, "--data.validation_batches", 1, "--validate_every", 1, "--quiet"]
    out = tmp_path / "run"
    assert laminar("train", "--out", out, "--steps", 2, *tiny, *short)[0] == 0
    code, text, _ = laminar("runs", tmp_path, "--png", tmp_path / "curves.png")
    assert (code, " 2 " in text, (tmp_path / "curves.png").exists()) == (0, True, True)
    row = json.loads(laminar("runs", out, "--json")[1])[str(out)][-1]
    assert row.keys() >= {"step", "seconds", "loss", "image", "learning_rate", "validation"}
    code, _, error = laminar("train", "--out", out, "--resume", "--optimizer.learning_rate", 0.1)
    assert (code, "optimizer.learning_rate was" in error) == (2, True)
    assert laminar("train", "--out", out, "--resume", "--steps", 3, "--quiet")[0] == 0
    code, _, error = laminar("runs", tmp_path / "nothing")
    assert (code, "no training run in" in error) == (2, True)


def test_a_range_wants_two_numbers(tmp_path: Path, laminar: Run) -> None:
    code, _, error = laminar("train", "--out", tmp_path / "run", "--data.sampling.acceleration", 4)
    assert code == 2
    assert "'data.sampling.acceleration' is a range of two numbers, such as '[4, 4]'; got 4" in error
    code, _, error = laminar("train", "--out", tmp_path / "run", "--data.train", "scans")
    assert (code, "'data.train' is a list, such as '[scans]'; got scans" in error) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["recontruct", "a.h5"], "no verb 'recontruct'; did you mean 'reconstruct'?"),
        (["reconstruct", "a.h5", "--out", "o", "--accelaration", "4"], "did you mean '--acceleration'?"),
        (["study", "status", "o", "--quite"], "did you mean '--quiet'?"),
        (
            ["--quiet", "reconstruct", "a.h5", "--out", "o", "--format", "nift"],
            "'nift' is no format; did you mean 'nifti'?",
        ),
        (["reconstruct", "--out", "o", "--format", "dicom", __file__], "scans stand before --format"),
    ],
)
def test_a_misspelled_word_is_answered_with_the_nearest(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert message in capsys.readouterr().err


def test_without_a_verb_there_is_help(laminar: Run) -> None:
    code, text, _ = laminar()
    assert (code, "reconstruct" in text) == (0, True)


def test_a_reader_that_has_seen_enough_is_told_nothing() -> None:
    command = [sys.executable, "-m", "laminar", "info", "default"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 128 + signal.SIGPIPE)  # what the shell says of it
