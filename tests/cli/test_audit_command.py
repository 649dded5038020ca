"""`laminar audit` on small data: what it prints, writes and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from laminar.methods import open_model

Run = Callable[..., tuple[int, str, str]]
SMALL = ("--slices", 2, "--acceleration", 2, "--calibration-lines", 10)


@pytest.fixture
def scans(tmp_path: Path, laminar: Run) -> Path:
    folder = tmp_path / "scans"
    size = ("--volumes", 1, "--slices", 2, "--matrix", "48,40", "--coils", 3)
    assert laminar("simulate", "--out", folder, *size)[0] == 0
    return folder


def test_audit_writes_record_and_page(tiny_model: Path, scans: Path, tmp_path: Path, laminar: Run) -> None:
    pytest.importorskip("matplotlib", reason="draws the pictures")
    out = tmp_path / "audit"
    code, text, _ = laminar("audit", tiny_model, "--data", scans, "--out", out, *SMALL)
    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == ["audit.html", "audit.json"]
    assert max(len(line) for line in text.splitlines() if "written to" not in line) <= 100
    record = json.loads((out / "audit.json").read_text())
    assert record["subject"]["name"] == "tiny"
    assert record["subject"]["sha256"] == open_model(str(tiny_model)).fingerprint
    assert len(record["cascades"]) == 2
    for finding in record["findings"]:
        assert finding["question"].split()[0] in text
    assert f"{record['cascades'][-1]['psnr']:.2f}" in text


def test_json_only_gives_the_same_bytes_and_no_page(
    tiny_model: Path, scans: Path, tmp_path: Path, laminar: Run
) -> None:
    records = []
    for name in ("a", "b"):
        out = tmp_path / name
        assert laminar("audit", tiny_model, "--data", scans, "--out", out, "--json-only", *SMALL)[0] == 0
        assert [path.name for path in out.iterdir()] == ["audit.json"]
        records.append((out / "audit.json").read_bytes())
    assert records[0] == records[1]


def test_the_default_folder_is_named_after_the_model(
    tiny_model: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, laminar: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    assert laminar("audit", tiny_model, "--data", scans, "--json-only", *SMALL)[0] == 0
    assert (tmp_path / "audit-tiny" / "audit.json").is_file()


def test_mistakes_are_one_line_and_write_nothing(tiny_model: Path, scans: Path, tmp_path: Path, laminar: Run) -> None:
    (tmp_path / "model.pt").write_bytes(b"PK")
    for arguments, said in (
        (("absent",), "no model 'absent'"),
        ((tmp_path / "model.pt",), "pickled"),
        ((tiny_model, "--data", scans, "--noise-std", 0.1), "--noise-std is for simulated slices"),
        ((tiny_model, "--slices", 0), "at least 1 slice"),
        ((tiny_model, "--data", tmp_path / "absent.h5"), "no such file"),
    ):
        code, _, error = laminar("audit", *arguments, "--out", tmp_path / "out")
        assert code == 2
        assert error.startswith("laminar: error: ")
        assert said in error
        assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()
