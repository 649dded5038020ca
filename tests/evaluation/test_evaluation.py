"""Evaluation of files: agreement with fastMRI's own, and every volume that cannot be scored is named."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from laminar.cli import evaluate as cli
from laminar.cli.options import frozen
from laminar.errors import DataFormatError, LaminarError
from laminar.evaluation import evaluate_files, read_volume


def write(path: Path, **datasets: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three volumes with predictions of known quality, taller than wide."""
    rng = np.random.default_rng(3)
    predictions, references = tmp_path / "predictions", tmp_path / "references"
    for index in range(3):
        truth = rng.random((2, 20, 16)).astype(np.float32)
        noisy = truth + (index + 1) * 0.02 * rng.standard_normal(truth.shape).astype(np.float32)
        write(references / f"volume{index}.h5", reconstruction_rss=truth)
        write(predictions / f"volume{index}.h5", reconstruction=noisy)
    return predictions, references


def laminar_evaluate(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    args = parser.parse_args(["evaluate", *argv])
    return int(args.run(frozen(args.options, args)))


def test_equals_the_evaluation_of_the_fastmri_package(folders: tuple[Path, Path]) -> None:
    oracle = pytest.importorskip("fastmri.evaluate", reason="the oracle; `make setup` installs it")
    predictions, references = folders
    args = SimpleNamespace(target_path=references, predictions_path=predictions, acquisition=None, acceleration=None)
    expected = oracle.evaluate(args, "reconstruction_rss")
    summary = evaluate_files(predictions, references, center_crop=True).summary()
    for name in ("psnr", "ssim", "nmse"):
        values = summary[name]
        assert values["mean"] == pytest.approx(float(np.squeeze(expected.means()[name.upper()])), rel=1e-5)
        assert values["std"] == pytest.approx(float(np.squeeze(expected.stddevs()[name.upper()])), rel=1e-4)


def test_interval_covers_the_mean_and_does_not_depend_on_the_run(folders: tuple[Path, Path]) -> None:
    first, second = (evaluate_files(*folders).summary() for _ in range(2))
    assert first == second
    for values in first.values():
        assert values["low"] < values["mean"] < values["high"]


def test_command_writes_json_and_a_table_that_states_the_protocol(
    folders: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    out = tmp_path / "new" / "scores.json"
    assert laminar_evaluate(*map(str, folders), "--out", str(out)) == 0
    found = json.loads(out.read_text())
    assert [path.name for path in out.parent.iterdir()] == ["scores.json"]
    assert found["failures"] == {}
    volume = found["volumes"]["volume1.h5"]
    assert np.mean(volume["slices"]["ssim"]) == pytest.approx(volume["ssim"])
    printed = capsys.readouterr().out
    for said in ("data range = maximum of the reference volume", " volume1 ", f"{volume['psnr']:.2f}"):
        assert said in printed


def test_equal_files_are_perfect_and_still_valid_json(tmp_path: Path) -> None:
    truth = np.random.default_rng(0).random((2, 9, 9))
    path = write(tmp_path / "a.h5", reconstruction=truth)
    assert laminar_evaluate(str(path), str(path), "--out", str(tmp_path / "a.json")) == 0
    volume = json.loads((tmp_path / "a.json").read_text())["volumes"]["a"]
    assert volume["psnr"] is None
    assert volume["nmse"] == 0
    assert volume["ssim"] == pytest.approx(1)


def test_bad_volumes_are_named_and_the_others_are_still_scored(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions, references = folders
    truth = np.ones((2, 20, 16))
    bad = {
        "no_prediction.h5": (None, truth, "no such file"),
        "no_reference.h5": (truth, None, "no such file"),
        "shape.h5": (truth[:, 1:], truth, "(2, 19, 16)"),
        "complex.h5": (truth + 0j, truth, "complex128"),
        "nan.h5": (truth * np.nan, truth, "NaN"),
        "dark.h5": (truth, 0 * truth, "positive"),
    }
    for name, (prediction, reference, _) in bad.items():
        if prediction is not None:
            write(predictions / name, reconstruction=prediction)
        if reference is not None:
            write(references / name, reconstruction_esc=reference)
    write(predictions / "other.h5", image=truth)
    write(references / "other.h5", reconstruction_rss=truth)
    (predictions / "volume0.h5").write_bytes((predictions / "volume0.h5").read_bytes()[:600])

    out = tmp_path / "scores.json"
    assert laminar_evaluate(str(predictions), str(references), "--out", str(out)) == 1
    found = json.loads(out.read_text())
    assert set(found["volumes"]) == {"volume1.h5", "volume2.h5"}
    expected = {name: said for name, (_, _, said) in bad.items()}
    expected |= {"other.h5": "the file has: image", "volume0.h5": "truncated or corrupt"}
    assert set(found["failures"]) == set(expected)
    for name, said in expected.items():
        assert said in found["failures"][name]
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("laminar: error: ")]) == len(expected)
    assert lines[-1] == "laminar: 8 of 10 volumes failed"


def test_center_crop_is_that_of_the_width_of_the_reference(tmp_path: Path) -> None:
    truth = np.random.default_rng(0).random((1, 20, 16))
    reference = write(tmp_path / "reference.h5", mine=truth[:, 2:18])
    prediction = write(tmp_path / "prediction.h5", reconstruction=np.pad(truth, ((0, 0), (3, 3), (5, 5))))
    found = evaluate_files(prediction, reference, reference="mine", center_crop=True)
    assert found.scores["prediction"].volume["nmse"] == 0
    assert evaluate_files(prediction, reference, reference="mine").failures
    assert evaluate_files(prediction, reference, center_crop=True).failures


def test_paths_that_cannot_be_matched_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for first, second, said in (
        (tmp_path / "absent", folders[1], "no such file or folder"),
        (folders[0] / "volume0.h5", folders[1], "two files or two folders"),
        (tmp_path / "empty", tmp_path / "empty", "no .h5"),
        (tmp_path / "empty", folders[1], "same name in both folders: .*empty .none., references .*volume0.h5"),
    ):
        with pytest.raises(LaminarError, match=said):
            evaluate_files(first, second)


@pytest.mark.parametrize("kept", [0, 1, 100, 2000, -1])
def test_a_truncated_file_is_a_clear_error(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "a.h5", reconstruction=np.random.default_rng(0).random((2, 20, 20)))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataFormatError, match=r"a\.h5"):
        read_volume(path, "reconstruction")


def test_a_group_in_place_of_the_dataset_is_a_clear_error(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("reconstruction")
    with pytest.raises(DataFormatError, match="no dataset reconstruction; the file has: reconstruction"):
        read_volume(tmp_path / "a.h5", "reconstruction")
