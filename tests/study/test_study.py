"""Studies from end to end on a tiny grid: nothing is computed twice, nothing is lost, failures are named."""

from __future__ import annotations

import copy
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch

import laminar as laminar_package
from laminar.data.simulation import simulate_slice
from laminar.errors import ConfigError, LaminarError
from laminar.executors import attempt
from laminar.models import load_prior, save
from laminar.study import compute, folder, versions
from laminar.study.cell import train_config
from laminar.study.folder import Plan, StudyFolder, make_plan
from laminar.study.grid import dotted, nested
from laminar.study.held_out import TUNING, held_out
from laminar.study.page import FILES, REPORT, SUMMARY, TABLES
from laminar.study.reading import load_study

pytest.importorskip("lightning.fabric")
pytest.importorskip("matplotlib")
ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., tuple[int, str, str]]
SMALL = {"model.n_cascades": 2, "model.regularizer.channels": [4, 6]}
STUDY: dict[str, Any] = {
    "name": "Tiny",
    "base": {
        "steps": 3,
        "validate_every": 1,
        "accelerator": "cpu",
        "threads": 1,
        "optimizer": {"warmup": 1},
        "data": {
            "workers": 0,
            "batch_size": 1,
            "validation_batches": 1,
            "simulation": {"anatomy": "brain", "matrices": [[40, 48]], "readout": 32, "coils": [3, 3]},
            "sampling": {"kinds": ["random"], "acceleration": [2, 3]},
        },
    },
    "axes": {
        "method": {
            "FLAT": {"preset": "flat", **SMALL},
            "MoDL": {"preset": "modl", **SMALL},
            "CG-SENSE": {"method": "cg-sense", "tune": [{"weight": 0.01}, {"weight": 0.1}]},
        }
    },
    "seeds": 2,
    "tests": {"R 2": {"slices": 2}, "R 4": {"slices": 2, "data.sampling.acceleration": [4, 4]}},
    "reference": {"method": "FLAT"},
    "questions": {
        "a": {"title": "FLAT against MoDL", "select": {"method": "FLAT"}, "against": {"method": "MoDL"}},
        "b": {"title": "Spread", "measure": "deviation", "select": {"method": ["FLAT", "MoDL"]}},
        "i": {"title": "Overhead", "measure": "cost", "select": {"method": "FLAT"}, "against": {"method": "MoDL"}},
    },
}


def changed(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(STUDY) | changes


def written(path: Path, study: dict[str, Any]) -> Path:
    """A study as a file: JSON is YAML."""
    path.write_text(json.dumps(study))
    return path


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells are computed in this process, which has its imports behind it."""
    monkeypatch.setattr("laminar.study.run.run_all", lambda _, function, tasks: (attempt(function, t) for t in tasks))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, computed without a break."""
    out = tmp_path_factory.mktemp("study") / "whole"
    StudyFolder(out).save_plan(make_plan(STUDY))
    for keys in StudyFolder(out).plan().groups.values():
        assert compute.compute(str(out), keys) == {}
    return out


def cells(out: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((out / "cells").glob("*.json"))}


def reproducible(out: Path) -> dict[str, Any]:
    """What must be equal on every run: all but what things cost."""
    return {key: {k: v for k, v in cell.items() if k != "costs"} for key, cell in cells(out).items()}


PROGRAM = """
import sys
from pathlib import Path
from laminar.study.compute import compute
from laminar.study.folder import StudyFolder
for keys in StudyFolder(Path(sys.argv[1])).plan().groups.values():
    compute(sys.argv[1], keys)
"""


@pytest.mark.durability
def test_kills_at_random_moments_change_nothing(whole: Path, tmp_path: Path, laminar: Run) -> None:
    cut = tmp_path / "cut"
    folder.StudyFolder(cut).save_plan(make_plan(STUDY))
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}", "OMP_NUM_THREADS": "1"}
    moments, before = random.Random(0), dict[Path, tuple[bytes, int]]()
    for kill in (True, True, False):
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(cut)], env=environment)
        known = len(list(cut.rglob("*")))
        if kill:
            while process.poll() is None and len(list(cut.rglob("*"))) == known:
                time.sleep(0.01)
            time.sleep(moments.uniform(0, 0.6))
            process.send_signal(signal.SIGKILL)
        process.wait()
        for path, state in before.items():
            assert (path.read_bytes(), path.stat().st_mtime_ns) == state  # never computed twice
        before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (cut / "cells").glob("*.json")}
    assert process.returncode == 0
    assert reproducible(cut) == reproducible(whole)
    for key, cell in cells(whole).items():  # the one thing that no two runs share
        (cut / "cells" / f"{key}.json").write_text(json.dumps(cell, indent=2) + "\n")
    for out in (whole, cut):
        assert laminar("study", "report", out)[0] == 0
    for name in FILES:
        assert (cut / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.usefixtures("here")
def test_what_fails_is_named_and_the_others_go_on(tmp_path: Path, laminar: Run) -> None:
    methods = STUDY["axes"]["method"] | {
        "burst": {"preset": "flat", **SMALL, "optimizer.learning_rate": 1e15, "optimizer.clip": 1e9},
        "confused": {"method": "cg-sense", "steps": 7},
        "GRAPPA": {"method": "grappa", "data.sampling.calibration_lines": [8, 8]},
    }
    asked = {"b": {"title": "Spread", "measure": "deviation", "select": {"method": ["FLAT", "burst"]}}}
    study = written(tmp_path / "study.yaml", changed(axes={"method": methods}, seeds=1, questions=asked))
    code, text, error = laminar("study", "run", study, "--out", tmp_path / "out")
    assert code == 1
    assert "burst, seed 0: failed: " in text
    assert "confused, seed 0 cannot be: method 'cg-sense' is not trained: it cannot take 'steps'" in error
    assert len(cells(tmp_path / "out")) == 4
    code, text, _ = laminar("study", "status", tmp_path / "out")
    assert code == 0
    assert "done 4, running 0, waiting 0, of 5 cells" in text
    assert "failed: burst, seed 0: " in text
    assert "is not finite" in text
    assert laminar("study", "report", tmp_path / "out")[0] == 0
    tables = (tmp_path / "out" / TABLES).read_text()
    assert "| burst, seed 0 | failed | " in tables
    assert "| confused, seed 0 | cannot be | " in tables
    assert "1 of 2 runs diverged" in tables
    row = next(line for line in tables.splitlines() if line.startswith("| burst | 0 |"))
    assert "1 of 1" in row
    _, text, _ = laminar("study", "run", study, "--out", tmp_path / "out")
    assert "5 cells; 0 to compute" in text
    _, text, _ = laminar("study", "run", study, "--out", tmp_path / "out", "--retry-failed")
    assert "[1/1] burst, seed 0: failed" in text


@pytest.mark.usefixtures("here")
def test_shards_merge_by_key_and_say_the_same(whole: Path, tmp_path: Path, laminar: Run) -> None:
    study = written(tmp_path / "study.yaml", STUDY)
    for name in "ab":
        shard = "1/2" if name == "a" else "2/2"
        assert laminar("study", "run", study, "--out", tmp_path / name, "--shard", shard)[0] == 0
    keys = {name: set(cells(tmp_path / name)) for name in "ab"}
    assert keys["a"] | keys["b"] == set(cells(whole))
    assert not keys["a"] & keys["b"]
    assert laminar("study", "report", whole)[0] == 0
    (tmp_path / "tables.md").write_text("my own")
    code, _, error = laminar("study", "report", whole, "--out", tmp_path)
    assert (code, "tables.md is there already" in error) == (2, True)
    assert not (tmp_path / "report.html").exists()
    assert laminar("study", "report", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "merged")[0] == 0
    assert (tmp_path / "merged" / TABLES).read_bytes() == (whole / TABLES).read_bytes()
    found = json.loads((whole / SUMMARY).read_text())
    assert (tmp_path / "merged" / SUMMARY).read_bytes() == (whole / SUMMARY).read_bytes()
    values = [cell["tests"]["R 2"]["slices"] for cell in cells(whole).values() if cell["tests"]["R 2"].get("slices")]
    means = sorted(round(fmean(one["psnr"] for one in slices), 6) for slices in values)
    arms = [arm["tests"]["R 2"].get("psnr", {"by seed": {}}) for arm in found["arms"]]
    assert sorted(value for arm in arms for value in arm["by seed"].values()) == pytest.approx(means, rel=1e-5)
    text = (tmp_path / "merged" / REPORT).read_text()
    assert text.count("data:image/png") == 2 * (1 + 2 * 3)  # target, and image and error of three arms, on two sets
    assert "http" not in text
    other = written(tmp_path / "other.yaml", changed(seeds=3))
    laminar("study", "run", other, "--out", tmp_path / "c", "--shard", "3/9")
    code, _, error = laminar("study", "report", tmp_path / "a", tmp_path / "c")
    assert code == 2
    assert "holds other cells" in error


@pytest.mark.usefixtures("here")
def test_other_code_or_data_is_another_key_and_never_mixed(
    tmp_path: Path, laminar: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = tmp_path / "scan.npy"

    def save(seed: int) -> None:
        np.save(scan, simulate_slice("brain", (40, 48), 3, 0.01, torch.Generator().manual_seed(seed)).kspace.numpy())

    save(0)
    data = {"data.kind": "files", "data.axes": "coil,ky,kx"}
    declared = changed(
        axes={"method": {"CG-SENSE": {"method": "cg-sense"}}},
        tests={"scan": {"slices": 1, "files": [str(scan)], **data}},
        reference={},
        questions={},
    )
    study, out = written(tmp_path / "study.yaml", declared), tmp_path / "out"
    laminar("study", "run", study, "--out", out)
    first = set(cells(out))
    assert len(first) == 1  # without randomness, one cell for all seeds
    save(1)
    _, text, _ = laminar("study", "run", study, "--out", out)
    assert "not used: 1 result of other code, data or settings" in text
    with pytest.raises(ConfigError, match=f"no cell {min(first)} any more: another study was started there"):
        compute.compute(str(out), sorted(first))  # as a run does that the second one overtook
    assert "1 cell; 1 to compute" in text
    monkeypatch.setattr(folder, "code_version", lambda: "0.0+changed")
    monkeypatch.setattr("laminar.study.status.code_version", lambda: "0.0+changed")
    assert "the code has changed since" in laminar("study", "status", out)[1]
    with monkeypatch.context() as patched:
        patched.setattr("laminar.study.cell.code_version", lambda: "0.0+changed")
        patched.setattr(compute, "code_version", lambda: "0.0+changed")
        _, text, _ = laminar("study", "run", study, "--out", out)
    assert "the code has changed, " in text
    assert "[1/1] CG-SENSE, seed 0; CG-SENSE, seed 1: done" in text or "[1/1] CG-SENSE, seed 0: done" in text
    assert len(cells(out)) == 3
    laminar("study", "report", out)
    assert "1 of 1 cells are computed" in (out / TABLES).read_text()
    assert "2 results of other code" in (out / TABLES).read_text()


@pytest.mark.usefixtures("here")
def test_a_full_disk_loses_nothing_and_fails_no_cell(
    tmp_path: Path, laminar: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = written(tmp_path / "study.yaml", changed(seeds=1))

    def full(*_: object) -> None:
        raise LaminarError("cannot write: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(StudyFolder, "save", full)
        code, _, error = laminar("study", "run", study, "--out", tmp_path / "out")
    assert code == 1
    assert "FLAT, seed 0: cannot write: No space left on device" in error
    weights = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").rglob("best/model.safetensors")}
    assert len(weights) == 2
    assert "done 0, running 0, waiting 3, of 3 cells" in laminar("study", "status", tmp_path / "out")[1]
    assert laminar("study", "run", study, "--out", tmp_path / "out")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in weights} == weights


@pytest.mark.parametrize(("kind", "package"), [("local", "numpy"), ("dask", "distributed"), ("submitit", "submitit")])
def test_every_executor_computes_cells(kind: str, package: str, tmp_path: Path, laminar: Run) -> None:
    pytest.importorskip(package)
    axes: dict[str, Any] = {"method": {"CG-SENSE": {"method": "cg-sense"}, "zero-filled": {"method": "zero-filled"}}}
    if kind == "dask":  # whose workers may have no data workers
        axes["method"]["CG-SENSE"] = {"preset": "flat", **SMALL, "data.workers": 1}
    study = written(tmp_path / "study.yaml", changed(axes=axes, reference={}, questions={}))
    options = ("--executor", kind, *(("--cluster", "local") if kind == "submitit" else ()))
    code, text, error = laminar("study", "run", study, "--out", tmp_path / "out", *options)
    assert (code, error) == (0, "")
    assert "zero-filled, seed 0: done" in text
    assert len(cells(tmp_path / "out")) == (3 if kind == "dask" else 2)


def plan_of(**changes: Any) -> Plan:
    return make_plan(changed(**changes))


def test_methods_of_a_seed_see_the_same_data_in_the_same_order() -> None:
    plan = plan_of()
    orders: dict[int, set[str]] = {0: set(), 1: set()}
    for place in plan.places:
        assert place.key is not None
        if plan.cells[place.key].is_trained:
            orders[place.seed].add(plan.cells[place.key].order)
    assert [len(found) for found in orders.values()] == [1, 1]
    assert orders[0] != orders[1]


def test_a_key_changes_with_what_defines_a_cell_and_with_nothing_else() -> None:
    keys = set(plan_of(seeds=1).cells)

    def base(**settings: Any) -> dict[str, Any]:
        return dotted(STUDY["base"]) | settings

    assert (
        set(plan_of(seeds=1, name="Another", questions={}, base=base(**{"data.workers": 1, "threads": 2})).cells)
        == keys
    )
    more = set(plan_of(seeds=2).cells)
    assert keys < more
    for settings in ({"steps": 4}, {"optimizer.clip": 2.0}):
        other = plan_of(seeds=1, base=base(**settings))
        assert len(set(other.cells) & keys) == 1  # CG-SENSE is not trained
    other = plan_of(seeds=1, tests={"R 2": {"slices": 1}})
    assert not set(other.cells) & keys
    assert set(other.groups) == set(plan_of(seeds=1).groups)  # the trainings stay


def test_a_file_to_train_on_is_none_to_validate_on(tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in "abc"]
    for name in names:
        Path(name).write_text(name)
    parts = {"data.kind": "problems", "data.train": names[:1], "data.validation": names[1:]}
    others = parts | {"data.train": names[:2], "data.validation": names[2:]}
    keys = [set(plan_of(seeds=1, base=dotted(STUDY["base"]) | data).cells) for data in (parts, others)]
    assert len(keys[0] & keys[1]) == 1  # CG-SENSE is not trained


def test_what_a_key_leaves_out_is_there() -> None:
    root = Path(laminar_package.__file__).parent
    assert all((root / name).exists() for name in versions.BESIDE)


@pytest.mark.usefixtures("here")
def test_readings_of_one_network_share_its_training(tmp_path: Path, laminar: Run) -> None:
    sampler = {"preset": "sampler", **SMALL}
    methods = {
        "quiet": sampler,
        "mean": sampler | {"estimate": "mean"},
        "sample": sampler | {"estimate": "sample"},
        "average": sampler | {"estimate": "sample", "average": 2},
        "nonsense": {"preset": "modl", **SMALL, "estimate": "mean"},
        "deeper": sampler | {"cascades": 5},
    }
    declared = changed(axes={"method": methods}, seeds=1, tests={"R 2": {"slices": 1}}, reference={}, questions={})
    study = written(tmp_path / "study.yaml", declared)
    _, text, _ = laminar("study", "run", study, "--out", tmp_path / "out")
    assert "6 cells; 6 to compute in 2 trainings or methods" in text
    assert "failed: no endpoint at t = 1" in text
    found = cells(tmp_path / "out").values()
    assert len({cell["run"] for cell in found}) == 1
    assert len({cell["tests"]["R 2"]["slices"][0]["psnr"] for cell in found}) == 5
    assert sorted(cell["tests"]["R 2"]["nfe"] for cell in found) == [1, 2, 2, 4, 5]


def test_a_budget_is_the_same_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = next(iter(plan_of(budget={"slices": 12}, base=STUDY["base"] | {"data.batch_size": 4}).cells.values()))
    assert train_config(cell).steps == 3
    monkeypatch.setattr(compute, "_seconds_a_step", lambda config: 0.5)
    cell = next(iter(plan_of(budget={"seconds": 3}).cells.values()))
    assert compute._budgeted(cell, tmp_path).steps == 6
    monkeypatch.setattr(compute, "_seconds_a_step", lambda config: 0.1)  # a busier machine must not change a run
    assert compute._budgeted(cell, tmp_path).steps == 6


def test_slices_of_scans_come_in_turn_with_their_persons(tmp_path: Path) -> None:
    for person in ("p1", "p2"):
        for visit in "ab":
            many = [
                simulate_slice("brain", (40, 48), 3, 0.01, torch.Generator().manual_seed(i)).kspace for i in range(3)
            ]
            np.save(tmp_path / f"knee_{person}_{visit}.npy", torch.stack(many).numpy())
    (tmp_path / "other.npy").write_bytes((tmp_path / "knee_p1_a.npy").read_bytes())
    test = {"slices": 8, "files": [str(tmp_path)], "only": "knee", "person": r"_(p\d+)_"}
    data = {"data.kind": "files", "data.axes": "slice,coil,ky,kx"}
    plan = plan_of(seeds=1, tests={"knees": test | data})
    resolved = next(iter(plan.cells.values())).tests["knees"]
    persons = [person for _, person in held_out(resolved)]
    assert persons == ["p1"] * 4 + ["p2"] * 4
    tested = [case.image for case, _ in held_out(resolved)]
    for (case, _), image in zip(held_out(resolved), tested, strict=True):
        assert torch.equal(case.image, image)
    others = [case.image for case, _ in held_out(resolved, TUNING, 4)]
    assert len(others) == 4  # one of three slices of each file is not tested
    assert not any(torch.equal(one, image) for one in others for image in tested)


def test_nested_and_dotted_settings_are_the_same() -> None:
    settings = {"a.b": 1, "a.c.d": [2], "data.mixture": {"images": 1.0}}
    assert dotted(nested(settings)) == settings
    with pytest.raises(ConfigError, match="does not fit"):
        nested({"a": 1, "a.b": 2})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axis": {}}, "unknown entry of a study 'axis'; did you mean 'axes'"),
        ({"tests": {}}, "at least one test set"),
        ({"seeds": [-1]}, "seeds must be"),
        ({"budget": {"hours": 3}}, "budget must be"),
        ({"axes": {"method": "FLAT"}}, "must be a list of values or a mapping"),
        ({"exclude": [{"methods": "FLAT"}]}, "unknown axis 'methods'; did you mean 'method'"),
        ({"reference": {"method": "FLET"}}, "unknown level of axis 'method' 'FLET'; did you mean 'FLAT'"),
        ({"questions": {"a": {"title": "t", "measure": "charm"}}}, "measure must be one of"),
        ({"questions": {"a": {"title": "t"}}}, "a difference needs `against`"),
        ({"axes": {"model.n_cascade": [1, 2]}, "reference": {}, "questions": {}}, "did you mean 'model.n_cascades'"),
        ({"tests": {"t": {"slice": 3}}}, "test 't' has no setting 'slice'"),
    ],
)
def test_a_study_that_cannot_be_is_one_line(
    changes: dict[str, Any], message: str, tmp_path: Path, laminar: Run
) -> None:
    study = written(tmp_path / "study.yaml", changed(**changes))
    code, _, error = laminar("study", "run", study, "--out", tmp_path / "out")
    assert code == 2
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_study_that_extends_another_has_its_base_and_tests(tmp_path: Path) -> None:
    written(tmp_path / "base.yaml", STUDY)
    (tmp_path / "inner").mkdir()
    own = {
        "extends": "../base.yaml",
        "base": {"steps": 5, "data.workers": 1},
        "tests": {"R 4": {"slices": 1}, "R 8": {"slices": 3}},
        "seeds": 1,
    }
    found = load_study(written(tmp_path / "inner" / "study.yaml", own))
    assert found["base"] == json.loads(json.dumps(dotted(STUDY["base"]))) | {"steps": 5, "data.workers": 1}
    assert found["tests"] == STUDY["tests"] | own["tests"]
    assert (found["seeds"], found["axes"], found["questions"]) == (1, STUDY["axes"], STUDY["questions"])


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("study.yaml", "extends itself"),
        ("none.yaml", r"cannot read .*none.yaml"),
        (["a"], r"study.yaml: extends must be the path of a study"),
        ("list.yaml", r"list.yaml: a study must be a mapping; got \[1\]"),
        ("base.yaml", r"base.yaml: base must be a mapping; got \[1\]"),
    ],
)
def test_a_study_that_extends_nothing_is_named(extends: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("[1]")
    (tmp_path / "base.yaml").write_text("base: [1]")
    with pytest.raises(LaminarError, match=message):
        load_study(written(tmp_path / "study.yaml", {"extends": extends}))


def test_status_without_a_study_and_a_wrong_shard_are_one_line(tmp_path: Path, laminar: Run) -> None:
    code, _, error = laminar("study", "status", tmp_path)
    assert code == 2
    assert "holds no study" in error
    study = written(tmp_path / "study.yaml", STUDY)
    code, _, error = laminar("study", "run", study, "--out", tmp_path / "out", "--shard", "3/2")
    assert code == 2
    assert "--shard wants I/N" in error


def test_the_key_of_files_and_models_is_that_of_their_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("x")
    assert versions.data_version([str(tmp_path / "a")]) == versions.data_version([str(tmp_path / "b")])
    small = {"method": {"DDS": {"method": "dds", "nfe": 3}}}
    key = set(plan_of(axes=small, reference={}, questions={}, seeds=1).cells)
    found = load_prior("prior")
    torch.nn.init.zeros_(next(found.parameters()))
    save(found, tmp_path / "prior", {})
    for prior, same in (("prior", True), (str(tmp_path / "prior"), False)):
        named = {"method": {"DDS": {"method": "dds", "nfe": 3, "prior": prior}}}
        assert (set(plan_of(axes=named, reference={}, questions={}, seeds=1).cells) == key) is same


@pytest.mark.usefixtures("here")
def test_intervals_of_samples_are_judged_before_and_after_calibration(tmp_path: Path, laminar: Run) -> None:
    tests = {"R 2": {"slices": 1, "samples": 3, "calibration": 10}}
    methods = {"sampler": {"preset": "sampler", **SMALL}, "none": {"method": "zero-filled"}}
    asked = {"c": {"title": "Coverage", "measure": "mean", "metric": "coverage_conformal"}}
    declared = changed(axes={"method": methods}, seeds=1, tests=tests, reference={}, questions=asked)
    assert laminar("study", "run", written(tmp_path / "study.yaml", declared), "--out", tmp_path / "out")[0] == 0
    rows = [one for cell in cells(tmp_path / "out").values() for one in cell["tests"]["R 2"]["slices"]]
    judged = next(row for row in rows if "coverage" in row)
    assert judged["coverage"] < judged["coverage_scale"] <= 1
    assert judged["coverage_conformal"] == pytest.approx(0.9, abs=0.1)
    assert laminar("study", "report", tmp_path / "out")[0] == 0
    assert "| none | R 2 | – |" in (tmp_path / "out" / TABLES).read_text()


STUDIES = sorted((ROOT / "benchmarks" / "studies").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_studies_of_the_project_can_be_planned(path: Path) -> None:
    """With one seed, and a model that ships where one must be trained first, every point of every grid is possible."""
    text = re.sub(r"runs/\w+/(prior/best|teacher/last)", "prior", json.dumps(load_study(path)))
    values = json.loads(text) | {"seeds": 1}
    values["exclude"] = []
    if "optimizer.learning_rate" in values["axes"]:
        values["axes"]["optimizer.learning_rate"] = [1e-3]
    plan = make_plan(values)
    assert [place.error for place in plan.places if place.error is not None] == []
    orders = {cell.order for cell in plan.cells.values() if cell.is_trained}
    expected = {"coverage": 0, "diffusion": 0}
    assert len(orders) == expected.get(path.stem, 1)
