"""Files are written whole or not at all."""

from pathlib import Path

import pytest

from laminar.errors import LaminarError
from laminar.files import recover, replacing, write_json, writing_hdf5


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


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """HDF5 says it as a RuntimeError or an OSError."""
    for error in (RuntimeError("no space left on device"), OSError(28, "No space left on device")):

        def fail(error: Exception = error) -> None:
            with writing_hdf5(tmp_path / "a.h5") as file:
                file["x"] = 1
                raise error

        with pytest.raises(LaminarError, match="o space left") as caught:
            fail()
        assert "\n" not in str(caught.value)
    assert names(tmp_path) == []
