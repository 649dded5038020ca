"""Files are written whole or not at all."""

import errno
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from laminar.cli.outputs import check_output
from laminar.data.formats.guard import reading
from laminar.errors import ConfigError, DataFormatError, LaminarError, explaining
from laminar.figures import reconstruction_png
from laminar.files import LOCK, _sweep, holding, recover, replacing, write_json, writing_hdf5


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("make", [lambda p: p.write_text("new"), lambda p: p.mkdir()])
def test_a_failure_leaves_what_was_there(tmp_path: Path, make: object) -> None:
    (tmp_path / "thing").write_text("old")

    def fail() -> None:
        with replacing(tmp_path / "thing") as temporary:
            make(temporary)  # type: ignore[operator]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(tmp_path) == ["thing"]
    assert (tmp_path / "thing").read_text() == "old"


def test_a_file_does_not_replace_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "work").write_text("hours")
    with pytest.raises(LaminarError, match="cannot write"):
        write_json(tmp_path / "folder", {})
    assert (tmp_path / "folder" / "work").read_text() == "hours"


def test_a_folder_that_was_being_replaced_comes_back(tmp_path: Path) -> None:
    (tmp_path / "last").mkdir()
    (tmp_path / "last" / "work").write_text("hours")
    (tmp_path / "last").rename(tmp_path / ".last.laminar-old")  # as a kill between the two renames leaves it
    recover(tmp_path / "last")
    assert (tmp_path / "last" / "work").read_text() == "hours"
    with replacing(tmp_path / "last") as temporary:
        temporary.mkdir()
    assert names(tmp_path) == ["last"]
    recover(tmp_path / "last")
    assert names(tmp_path / "last") == []


def test_an_error_while_a_file_is_made_is_not_one_of_writing(tmp_path: Path) -> None:
    def fail() -> None:
        with writing_hdf5(tmp_path / "a.h5") as file:
            file["x"] = 1
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        fail()
    assert names(tmp_path) == []


def test_a_name_prepared_by_others_is_not_followed(tmp_path: Path) -> None:
    """Temporaries have unpredictable names; a link in the place of the output is replaced, not followed."""
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "a.json").symlink_to("theirs")
    (tmp_path / f".a.json.{os.getpid()}.tmp").symlink_to("theirs")
    write_json(tmp_path / "a.json", 1)
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert (tmp_path / "a.json").read_text() == "1\n"


def test_what_a_killed_writer_left_is_swept_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    dead, foreign = tmp_path / ".laminar-dead.tmp", tmp_path / ".laminar-mine.tmp"
    for folder in (dead, foreign):
        folder.mkdir()
        (folder / "work").write_text("work")
    (dead / LOCK).touch()
    with replacing(tmp_path / "a") as living:
        living.write_text("a")
        _sweep.cache_clear()
        write_json(tmp_path / "b", 1)
        assert living.exists()
    assert names(tmp_path) == [foreign.name, "a", "b"]


def test_a_folder_has_one_holder(tmp_path: Path) -> None:
    with holding(tmp_path / "run"):
        with pytest.raises(LaminarError, match=r"run is in use by another process"), holding(tmp_path / "run"):
            pass
        (tmp_path / "run" / "work").touch()
    with holding(tmp_path / "run"):
        pass
    assert names(tmp_path / "run") == ["work"]


def test_what_is_written_knows_its_writer_and_no_input_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="draws a picture")
    theirs, ours = tmp_path / "theirs.h5", [tmp_path / f"ours.{kind}" for kind in ("h5", "png", "json")]
    with h5py.File(theirs, "w") as file:
        file["x"] = 1
    with writing_hdf5(ours[0]) as file:
        file["x"] = 1
    reconstruction_png(np.eye(16), ours[1])
    write_json(ours[2], {"laminar": "0"})
    for path in (*ours, tmp_path / "new"):
        check_output(path, [theirs], overwrite=False)
    with pytest.raises(ConfigError, match="does not say that laminar wrote it: --overwrite"):
        check_output(theirs, [], overwrite=False)
    check_output(theirs, [], overwrite=True)
    (tmp_path / "link").symlink_to(theirs)
    (tmp_path / "hard").hardlink_to(theirs)
    for path in (theirs, tmp_path / "link", tmp_path / "hard", tmp_path / "x" / ".." / "theirs.h5"):
        (tmp_path / "x").mkdir(exist_ok=True)
        for given in (theirs, tmp_path):
            with pytest.raises(ConfigError, match="is an input of this command"):
                check_output(path, [given], overwrite=True)
    for path in (tmp_path / "x", Path(os.devnull)):
        with pytest.raises(ConfigError, match="not a file"):
            check_output(path, [], overwrite=True)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
        (RuntimeError("CUDA error: an illegal address\nKernel errors"), "the device failed (CUDA error: an illegal"),
        (OSError(errno.EMFILE, "Too many", "scan.h5"), "Too many open files: scan.h5"),
        (OSError(errno.ENOSPC, "No space"), "No space left on device"),
        (PermissionError(errno.EACCES, "no", "scan.h5"), "Permission denied: scan.h5"),
        (np.linalg.LinAlgError("Singular matrix"), "a matrix cannot be decomposed"),
        (torch.linalg.LinAlgError("not positive-definite"), "a matrix cannot be decomposed"),
        (SafetensorError("header too large"), "not a sound safetensors file"),
    ],
)  # fmt: skip
def test_a_failure_of_the_machine_is_called_by_its_name(error: Exception, line: str) -> None:
    with pytest.raises(LaminarError) as caught, explaining("scan.h5"):
        raise error
    assert str(caught.value).startswith(f"scan.h5: {line}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EMFILE, "Too many")])
def test_a_file_is_not_blamed_for_the_machine(error: Exception) -> None:
    with (
        pytest.raises(DataFormatError, match=r"^scan.h5: (out of memory|Too many open files)"),
        reading(Path("scan.h5")),
    ):
        raise error


def test_a_bug_is_not_explained_away() -> None:
    with pytest.raises(KeyError), explaining("scan.h5"):
        raise KeyError("bug")
