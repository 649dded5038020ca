"""A data set with planted faults: each is found, clean files are left alone, and what is known is not read again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from benchmarks.dataset_check import plant, score
from benchmarks.record import result
from laminar.cli.main import main
from laminar.data.check import INDEX, check_folder, suspicions
from laminar.data.check import index as index_module
from laminar.data.simulation import simulate_slice
from laminar.errors import DataFormatError


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, set[str]]]:
    root = tmp_path_factory.mktemp("planted")
    return root, plant(root)


def test_every_planted_fault_is_found_and_nothing_else(planted: tuple[Path, dict[str, set[str]]]) -> None:
    kinds, false = score(*planted)
    assert all(found == there for found, there in kinds.values()), kinds
    assert false == []
    record = result("dataset_check")
    assert {kind: list(count) for kind, count in kinds.items()} == record["kinds"]
    report = check_folder(planted[0])
    assert report.others == 1
    said = {finding.kind: finding for finding in report.findings}
    assert "in several splits" in said["duplicate"].said
    assert set(said["leak"].files) == {"test/leaked.h5", "train/clean3.h5"}
    rows = {(row["split"], row["coils"]): row["files"] for row in report.table()}
    assert rows == {("train", 4): 18, ("train", 5): 1, ("val", 4): 4, ("test", 4): 3}


def test_only_what_is_new_or_changed_is_read(
    planted: tuple[Path, dict[str, set[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = planted[0]
    first = check_folder(root)
    read: list[str] = []
    facts_of = index_module.facts_of
    monkeypatch.setattr(index_module, "facts_of", lambda path, **told: read.append(path.name) or facts_of(path, **told))
    assert check_folder(root) == first
    assert read == []
    changed = root / "train/clean4.h5"
    os.utime(changed, ns=(0, changed.stat().st_mtime_ns + 1))
    assert check_folder(root) == first
    assert read == ["clean4.h5"]
    (root / INDEX).write_text("{")
    assert check_folder(root) == first
    assert len(read) > 20


def test_the_command_prints_a_table_or_json(
    planted: tuple[Path, dict[str, set[str]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(planted[0])
    assert main(["dataset", "check", root]) == 1
    printed = capsys.readouterr().out
    for said in ("train", "leak: 1", "train/cut.h5: truncated or corrupt", "1 other file is no scan"):
        assert said in printed
    assert main(["dataset", "check", root, "--json", "--index", str(tmp_path / "index.json")]) == 1
    found = json.loads(capsys.readouterr().out)
    assert len(found["files"]) == sum(row["files"] for row in found["table"]) + 2
    assert (tmp_path / "index.json").exists()
    raw = (planted[0] / "train" / "clean0.h5").read_bytes()
    shutil.copy(planted[0] / "train" / "clean0.h5", tmp_path / "raw.h5")
    for index, code in (("index.json", 1), ("raw.h5", 2)):  # ours is replaced, a scan never
        assert main(["dataset", "check", root, "--json", "--index", str(tmp_path / index)]) == code
    assert "raw.h5 is there already and no index of laminar" in capsys.readouterr().err
    assert (tmp_path / "raw.h5").read_bytes() == raw
    (tmp_path / "empty").mkdir()
    assert main(["dataset", "check", str(tmp_path / "empty")]) == 2
    assert "no scan in this folder" in capsys.readouterr().err
    with pytest.raises(DataFormatError, match="no such folder"):
        check_folder(tmp_path / "absent")


@pytest.mark.parametrize("n_coils", [1, 8])
@pytest.mark.parametrize("anatomy", ["brain", "knee", "cardiac", "abstract"])
def test_sound_kspace_raises_no_suspicion(anatomy: str, n_coils: int) -> None:
    scan = simulate_slice(anatomy, (128, 144), n_coils, 0.01, torch.Generator().manual_seed(n_coils)).scan
    assert suspicions(scan.kspace[0], scan.mask, 0.01) == {}
    sparse = torch.zeros_like(scan.mask)
    sparse[:, 1::4] = True  # of no sample the mirror image
    assert "hermitian" not in suspicions(scan.kspace[0] * sparse, sparse, 0.01)
    if n_coils == 8:
        scan.kspace[0, :5] = 0
        assert suspicions(scan.kspace[0], scan.mask, 0.01)["dead-coil"] == "coil 0, 1, 2, 3, 4 of 8 has no signal"
