"""Whatever happens to a process or a disk, the old or the new result is there, whole, and nothing else is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from laminar.cli import one_scan
from laminar.data.simulation import simulate_slice
from laminar.files import holding

pytestmark = pytest.mark.durability
Run = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).resolve().parent.parent
TINY_RUN = [
    "--model.n_cascades", "1", "--model.regularizer.channels", "[4,6]", "--data.simulation.matrices", "[[40,48]]",
    "--data.simulation.readout", "32", "--data.sampling.acceleration", "[2,3]", "--data.sampling.kinds", "[random]",
    "--data.validation_batches", "1", "--accelerator", "cpu", "--data.batch_size", "1",
]  # fmt: skip


@pytest.fixture
def scans(tmp_path: Path) -> list[Path]:
    """Two scans, each of which becomes an image of about 40 kB."""
    (tmp_path / "in").mkdir()
    paths = [tmp_path / "in" / f"{name}.npy" for name in "ab"]
    for seed, path in enumerate(paths):
        np.save(path, simulate_slice("brain", (64, 48), 3, 0.01, torch.Generator().manual_seed(seed)).kspace.numpy())
    return paths


ZERO_FILLED = ("--axes", "coil,ky,kx", "--method", "zero-filled")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def python(*arguments: object, **options: object) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, text=True, stdout=-1, stderr=-1, **options)  # type: ignore[call-overload, no-any-return]


def test_every_operation_of_every_write_may_be_the_last(tmp_path: Path) -> None:
    memory = Path("/dev/shm")  # no disk to wait for
    folder = memory if memory.is_dir() else tmp_path
    attack = python("-m", "benchmarks.attack", "--out", tmp_path / "attack.json", "--where", folder, cwd=ROOT)
    _, error = attack.communicate()
    assert attack.returncode == 0, error
    record = json.loads((tmp_path / "attack.json").read_text())
    assert record["broken"] == []
    ends = {end.partition(": ")[2] for end in record["counts"]}
    assert ends == {"old", "new", "unhit"}
    assert record["attacks"] > 100


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.name != "posix" or os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_costs_no_scan_but_those_that_do_not_fit(scans: list[Path], small_disk: Path, laminar: Run) -> None:
    pytest.importorskip("matplotlib", reason="draws the pictures")
    (small_disk / "filling").write_bytes(b"0" * 40_000)
    code, _, error = laminar("reconstruct", *scans, *ZERO_FILLED, "--out", small_disk)
    assert code == 2
    lines = error.splitlines()
    assert len(lines) == 3
    for scan, line in zip(scans, lines, strict=False):
        assert line == f"laminar: error: cannot write {small_disk / scan.stem}.h5: No space left on device"
    assert names(small_disk) == ["filling"]


def test_memory_that_runs_out_is_not_blamed_on_the_disk_and_ends_one_scan(
    scans: list[Path], tmp_path: Path, laminar: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = one_scan._write_slices

    def starved(file: Path, name: str, *more: object) -> object:
        if name == "a":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
        return write(file, name, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(one_scan, "_write_slices", starved)
    code, _, error = laminar("reconstruct", *scans, *ZERO_FILLED, "--out", tmp_path / "out")
    assert code == 1
    assert error.startswith(f"laminar: error: {scans[0]}: out of memory (DefaultCPUAllocator")
    assert names(tmp_path / "out") == ["b.h5", "b.png"]


def test_sigterm_leaves_nothing_half_written(
    scans: list[Path], tmp_path: Path, laminar: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice, as `timeout` sends it."""

    def terminated(*_: object) -> None:
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(one_scan, "_write_slices", terminated)
    code, _, error = laminar("reconstruct", *scans, *ZERO_FILLED, "--out", tmp_path / "out")
    assert (code, error) == (143, "laminar: terminated\n")
    assert names(tmp_path / "out") == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_no_input_and_nothing_of_others_is_replaced(
    scans: list[Path], tmp_path: Path, laminar: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert laminar("simulate", "--out", out, "--volumes", 1, "--slices", 1, "--matrix", "64,48", "--coils", 3)[0] == 0
    scan = min(out.iterdir())
    raw = scan.read_bytes()
    monkeypatch.chdir(out)
    for command in (
        ("reconstruct", scan.name, "--method", "zero-filled", "--out", "."),
        ("evaluate", scan.name, scan.name, "--reference", "reconstruction_rss", "--out", scan),
        ("audit", "zero-filled", "--data", ".", "--out", ".", "--json-only"),
        ("calibrate", "--data", scan, "--out", scan),
    ):
        if command[0] == "audit":
            (out / "audit.json").write_text("{}")
        code, _, error = laminar(*command, "--overwrite")
        assert code == 2
        assert "is an input of this command" in error
        assert len(error.splitlines()) == 1
        assert scan.read_bytes() == raw
    others = tmp_path / "others"
    others.mkdir()
    for name in ("a.png", "comparison.png"):
        (others / name).write_text("a photograph")
    for command in (("reconstruct", scans[0], *ZERO_FILLED), ("demo",)):
        code, _, error = laminar(*command, "--out", others)
        assert code == 2
        assert "does not say that laminar wrote it: --overwrite replaces it" in error
    assert {(others / name).read_text() for name in names(others)} == {"a photograph"}
    for options in (["--overwrite"], []):  # the second time they are ours
        assert laminar("reconstruct", scans[0], *ZERO_FILLED, "--out", others, *options)[0] == 0


def test_an_old_run_stays_until_a_new_one_has_a_checkpoint(tmp_path: Path, laminar: Run) -> None:
    run, tiny = tmp_path / "run", [*TINY_RUN, "--data.workers", "0", "--steps", "1"]
    assert laminar("train", "--out", run, *tiny)[0] == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    missing = ["--data.kind", "files", "--data.train", "[nowhere.h5]", "--data.validation", "[nowhere.h5]"]
    for options, message in (
        ([], "holds a run already"),
        (["--overwrite", *missing], "nowhere.h5"),
        (["--overwrite", "--start", str(run / "best")], "is an input of this command"),
        (["--overwrite", f"--config={run / 'config.yaml'}"], "is an input of this command"),
    ):
        code, _, error = laminar("train", "--out", run, *tiny, *options)
        assert code == 2
        assert message in error
        assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    (run / "last").rename(tmp_path / "elsewhere")
    code, _, error = laminar("train", "--out", run, *tiny)
    assert code == 2
    assert "holds a run already" in error
    assert laminar("train", "--out", run, *tiny, "--overwrite", "--seed", 1)[0] == 0
    assert names(run) == ["best", "config.yaml", "last", "metrics.jsonl"]
    assert (run / "best" / "model.safetensors").read_bytes() != before[run / "best" / "model.safetensors"]


def test_a_run_has_one_training(tmp_path: Path, laminar: Run) -> None:
    with holding(tmp_path / "run"):
        code, _, error = laminar("train", "--out", tmp_path / "run", *TINY_RUN)
    assert code == 2
    assert f"{tmp_path / 'run'} is in use by another process" in error


def children(parent: int) -> set[int]:
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return {int(child) for child in text.split()}


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


def wait_for(what: Callable[[], object], process: subprocess.Popen[str]) -> None:
    while not what():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_training_that_is_terminated_can_go_on_and_one_that_is_killed_takes_its_workers_along(tmp_path: Path) -> None:
    """SLURM and `timeout` signal the whole group, workers included, and the latter twice."""
    pytest.importorskip("lightning.fabric")
    run = tmp_path / "run"
    command = ("-m", "laminar", "train", "--out", run)
    forever = (*TINY_RUN, "--data.workers", "2", "--steps", "100000", "--validate_every", "1")
    training = python(*command, *forever, start_new_session=True)
    try:
        wait_for((run / "last").exists, training)
        for _ in range(2):
            os.killpg(training.pid, signal.SIGTERM)
        out, error = training.communicate()
        assert (training.returncode, error) == (130, "")
        assert f"continue with: laminar train --out {run} --resume" in out
        assert names(run) == ["best", "config.yaml", "last", "metrics.jsonl"]
        done = len((run / "metrics.jsonl").read_text().splitlines())
        training = python(*command, "--resume", "--quiet", start_new_session=True)
        wait_for(lambda: len((run / "metrics.jsonl").read_text().splitlines()) > done, training)
        workers = children(training.pid)
        assert len(workers) >= 2
        training.kill()
        training.communicate()
        while any(map(alive, workers)):
            time.sleep(0.05)
        with holding(run):  # the dead hold nothing
            pass
    finally:
        if training.poll() is None:
            os.killpg(training.pid, signal.SIGKILL)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the kernel of Linux")
def test_a_busy_worker_dies_with_its_parent() -> None:
    code = (
        "import os, time; from laminar.runtime import follow_parent; child = os.fork() == 0; child and follow_parent()"
    )
    with python("-c", f"{code}; child and print(os.getpid(), flush=True); time.sleep(600)") as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        os.kill(worker, signal.SIGTERM)  # meant for the parent, which still needs it
        assert alive(worker)
        parent.kill()
    for _ in range(400):
        if not alive(worker):
            return
        time.sleep(0.05)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker outlived its parent")


def test_a_loader_that_is_left_does_not_keep_the_program() -> None:
    """Its workers leave SIGTERM to their parent, which multiprocessing sends them at the end and waits."""
    code = "import laminar; some = iter(laminar.loader(9, workers=1, simulation={'matrices': [(32, 32)]})); next(some)"
    with python("-c", code) as program:
        assert program.wait(timeout=120) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["--data.workers", "100000"], "data.workers must be a number from 0 to 128; got 100000"),
        (["--devices", "100000"], "devices must be a number from 1 to 64; got 100000"),
        (["--threads", "100000"], "threads must be a number from 0 to 1024; got 100000"),
        (["--config", "seed.yaml"], "seed must be a number from 0 to 9007199254740992; got 1" + 23 * "0"),
    ],
)
def test_settings_that_a_machine_cannot_obey_are_one_line(
    settings: list[str], message: str, tmp_path: Path, laminar: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("seed.yaml").write_text(f"seed: 1{23 * '0'}\n")
    code, _, error = laminar("train", "--out", "run", *settings)
    assert code == 2
    assert message in error
    assert names(tmp_path) == ["seed.yaml"]


@pytest.mark.parametrize(
    "change",
    [{"card": None}, {"config": [1]}, {"sha256": 3}, {"format": ["laminar-varnet"]}, {"config": {"regularizer": 3}}],
)
def test_a_card_that_was_tampered_with_is_one_line(
    change: dict[str, object], tiny_model: Path, tmp_path: Path, laminar: Run
) -> None:
    folder = tmp_path / "run" / "last"
    folder.mkdir(parents=True)
    for path in tiny_model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(card | change))
    for command in (("info", folder), ("audit", folder), ("train", "--out", folder.parent, "--resume")):
        code, _, error = laminar(*command)
        assert code == 2
        assert len(error.splitlines()) == 1


@pytest.mark.parametrize("code", ["raise SystemExit(0)", "1 / 0", "import sys\ndef subject():\n    sys.exit(0)"])
def test_foreign_code_that_leaves_does_not_take_the_command_along(
    code: str, tmp_path: Path, laminar: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"leaving{abs(hash(code))}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    status, _, error = laminar("audit", f"{name}:subject")
    assert status == 2
    assert f"{name}:subject: cannot be imported" in error
    assert len(error.splitlines()) == 1
