"""`laminar calibrate` on small data: what it prints, writes and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from laminar.uncertainty import read_calibration

Run = Callable[..., tuple[int, str, str]]
SMALL = ("--slices", 6, "--acceleration", 2, 3, "--calibration-lines", 10, "--samples", 3, "--level", 0.75)


@pytest.fixture
def scans(tmp_path: Path, laminar: Run) -> Path:
    folder = tmp_path / "scans"
    size = ("--volumes", 2, "--slices", 3, "--matrix", "48,40", "--coils", 3)
    assert laminar("simulate", "--out", folder, *size)[0] == 0
    return folder


def test_calibrate_writes_what_it_says_and_the_same_bytes_again(
    sampling_model: Path, scans: Path, tmp_path: Path, laminar: Run
) -> None:
    written = []
    for name in ("a.json", "b.json"):
        code, text, _ = laminar(
            "calibrate", "--model", sampling_model, "--data", scans, "--out", tmp_path / name, *SMALL
        )
        assert code == 0
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]
    made = read_calibration(tmp_path / "a.json")
    assert (made.slices, made.samples, made.level, made.kind) == (6, 3, 0.75, "conformal")
    assert made.data["acceleration"] == [2.0, 3.0]
    assert [file["name"] for file in made.data["files"]] == sorted(path.name for path in scans.iterdir())
    assert made.coverage_after >= 0.75
    assert f"factor {made.factor:.3f}" in text
    assert f"{100 * made.coverage_before:.1f} %" in text
    assert f"{100 * made.coverage_held_out:.1f} ± " in text
    assert max(len(line) for line in text.splitlines() if "written to" not in line) <= 80


def test_mistakes_are_one_line_and_write_nothing(
    tiny_model: Path, sampling_model: Path, tmp_path: Path, laminar: Run
) -> None:
    for arguments, said in (
        (("--model", tiny_model), "draws no samples"),
        (("--method", "cg-sense"), "draws no samples"),
        (("--model", sampling_model, "--slices", 4), "needs at least 10 slices; there are 4"),
        (("--model", sampling_model, "--level", 1), "between 0 and 1"),
        (("--model", sampling_model, "--samples", 1), "at least 2 samples; got 1"),
        (("--model", sampling_model, "--data", tmp_path, "--noise-std", 0.1), "--noise-std is for simulated slices"),
    ):
        code, _, error = laminar("calibrate", "--out", tmp_path / "out.json", *arguments)
        assert code == 2
        assert error.startswith("laminar: error: ")
        assert said in error
        assert len(error.splitlines()) == 1
    assert not (tmp_path / "out.json").exists()


def test_the_file_says_what_was_measured_on_what(
    sampling_model: Path, scans: Path, tmp_path: Path, laminar: Run
) -> None:
    out = tmp_path / "uncertainty.json"
    options = ("--kind", "scale", "--nfe", 7)
    code, _, error = laminar("calibrate", "--model", sampling_model, "--data", scans, "--out", out, *SMALL, *options)
    assert code == 2
    assert "nfe 7 does nothing" in error
    assert laminar("calibrate", "--model", sampling_model, "--data", scans, "--out", out, *SMALL, *options[:2])[0] == 0
    values = json.loads(out.read_text())
    assert values["coverage_after"] == pytest.approx(0.75, abs=0.05)
    assert (values["method"], values["settings"]) == ("network", {})
    assert len(values["fingerprint"]) == 64
