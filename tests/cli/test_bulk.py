"""Many scans by an executor: broken ones are named, finished ones skipped, results those of the plain loop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from laminar.cli import bulk
from laminar.data.simulation import simulate_slice
from laminar.executors import Place, run_all

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def scans(tmp_path: Path) -> list[Path]:
    """Four scans, one of them broken."""
    paths = [tmp_path / f"{name}.npy" for name in "abcd"]
    for seed, path in enumerate(paths):
        np.save(path, simulate_slice("brain", (40, 32), 2, 0.01, torch.Generator().manual_seed(seed)).kspace.numpy())
    paths[1].write_bytes(b"no array")
    return paths


@pytest.mark.parametrize(("kind", "package"), [("local", "numpy"), ("dask", "distributed"), ("submitit", "submitit")])
def test_an_executor_does_what_the_plain_loop_does(
    kind: str, package: str, scans: list[Path], tmp_path: Path, laminar: Run
) -> None:
    pytest.importorskip(package)
    options = ("--axes", "coil,ky,kx", "--method", "zero-filled")
    threads = torch.get_num_threads()
    if kind == "dask":
        torch.set_num_threads(1)  # as its workers have: with more the last bits differ
    plain = laminar("reconstruct", *scans, *options, "--out", tmp_path / "plain")
    torch.set_num_threads(threads)
    many = [*options, "--executor", kind, *(("--cluster", "local") if kind == "submitit" else ())]
    code, text, error = laminar("reconstruct", *scans, *many, "--out", tmp_path / "out")
    assert (code, plain[0]) == (1, 1)
    assert "3 scans reconstructed" in text
    assert error.splitlines() == plain[2].splitlines()
    results = sorted(path.name for path in (tmp_path / "plain").iterdir())
    assert len(results) == 6
    for name in results:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    (tmp_path / "out" / "d.png").unlink()
    code, text, error = laminar("reconstruct", *scans, *many, "--out", tmp_path / "out")
    assert "1 scan reconstructed" in text
    assert "2 were finished" in text
    assert "1 of 4 scans failed: b" in error


def test_a_process_may_say_more_than_a_pipe_holds() -> None:
    [ended] = run_all(Place(), bytes, [10**6])
    assert ended.value == bytes(10**6)


def test_another_request_is_not_finished(scans: list[Path], tmp_path: Path, laminar: Run) -> None:
    """Skipping results of another method was the danger of looking at names alone."""
    options = ("--axes", "coil,ky,kx", "--executor", "local", "--out", tmp_path / "out")
    laminar("reconstruct", scans[0], "--method", "zero-filled", *options)
    _, text, _ = laminar("reconstruct", scans[0], "--method", "cg-sense", *options)
    assert "1 scan reconstructed" in text
    os.utime(scans[0], (2**33, 2**33))
    _, text, _ = laminar("reconstruct", scans[0], "--method", "cg-sense", *options)
    assert "1 scan reconstructed" in text


def kill_at_two(task: int) -> int:
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return task + 1


def test_a_process_that_dies_takes_no_other_along() -> None:
    ended = {each.task: each for each in run_all(Place(workers=2), kill_at_two, [1, 2, 3])}
    assert [ended[1].value, ended[3].value] == [2, 4]
    assert ended[2].died
    assert ended[2].error == "its process was killed: out of memory, or by hand"


def die_unless_alone(scans: tuple[bulk.Scan, ...]) -> list[bulk.Told]:
    if len(scans) > 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return [(name, None) for _, name in scans]


def test_scans_beside_one_that_kills_the_process_are_tried_alone() -> None:
    scans = [(Path(name), name) for name in "ab"]
    found = bulk.in_bulk(Place(), die_unless_alone, scans, lambda scan: False)
    assert (found.skipped, found.failed) == (["a", "b"], {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--executor", "local", "--address", "here:1"], "address"),
        (["--executor", "dask", "--workers", "0"], "workers"),
        (["--executor", "submitit"], "pip install 'laminar-mri[submitit]'"),
        (["--executor", "dask"], "pip install 'laminar-mri[dask]'"),
    ],
)
def test_what_an_executor_cannot_is_one_line(
    options: list[str],
    message: str,
    scans: list[Path],
    tmp_path: Path,
    laminar: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for package in ("submitit", "distributed"):
        monkeypatch.setitem(__import__("sys").modules, package, None)
    inputs = ("reconstruct", scans[0], "--axes", "coil,ky,kx", "--method", "zero-filled", "--out", tmp_path / "out")
    code, _, error = laminar(*inputs, *options)
    assert code == 2
    assert message in error
    assert len(error.splitlines()) == 1
