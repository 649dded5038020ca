"""`laminar audit` on small data: what it prints, writes and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from laminar.data.formats import write_fastmri
from laminar.data.simulation import simulate_slice
from laminar.methods import open_model
from laminar.models import VarNetConfig, build, save

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


def test_an_object_larger_than_its_field_of_view_is_measured_with_two_maps(
    tiny_model: Path, sampling_model: Path, tmp_path: Path, laminar: Run
) -> None:
    """The known image then fits its own data; `--maps` says how many sets there are, as it does of `reconstruct`."""
    for index in range(3):
        whole = simulate_slice("brain", (48, 80), 6, 0.003, torch.Generator().manual_seed(index))
        write_fastmri(tmp_path / "scans" / f"{index}.h5", whole.fold(-1, 48).scan)
    data = ("--slices", 3, "--acceleration", 2, "--calibration-lines", 10, "--data", tmp_path / "scans")
    records = {}
    for maps in ("1", "2", "auto"):
        command = ("audit", tiny_model, "--json-only", "--out", tmp_path / maps, "--maps", maps, *data)
        assert laminar(*command)[0] == 0
        records[maps] = json.loads((tmp_path / maps / "audit.json").read_text())
    assert [record["data"]["maps"] for record in records.values()] == [[1], [2], [1, 2]]  # one is hardly folded
    assert records["2"]["reference"]["data_residual"] < 0.7 * records["1"]["reference"]["data_residual"]
    assert records["2"]["source"]["psnr"] > records["1"]["source"]["psnr"] + 1
    drawn = ("--samples", 2, "--level", 0.5, "--out", tmp_path / "u.json")
    assert laminar("calibrate", "--model", sampling_model, *drawn, *data)[0] == 0
    assert json.loads((tmp_path / "u.json").read_text())["data"]["maps"] == [1, 2]


def test_what_takes_one_set_of_sensitivities_is_not_given_two(tmp_path: Path, laminar: Run) -> None:
    save(build(config=VarNetConfig(2, 3, 1, 2, 1)), tmp_path / "varnet", {})
    command = ("audit", tmp_path / "varnet", "--json-only", "--out", tmp_path / "out", *SMALL)
    assert "varnet takes one set of sensitivities" in laminar(*command, "--maps", 2)[2]
    assert laminar(*command)[0] == 0
    assert "--maps 2 is of planar Cartesian scans" in laminar(*command, "--maps", 2, "--geometry", "radial")[2]
