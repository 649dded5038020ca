"""The notebooks run from the first cell to the last, and are kept with the outputs that they have."""

import json
from pathlib import Path

import pytest

from benchmarks.notebooks import NOTEBOOKS, code_cells, run

MOST_BYTES = 400_000


def test_all_are_kept_small_and_with_their_outputs() -> None:
    assert len(NOTEBOOKS) == 5
    for path in NOTEBOOKS:
        cells = code_cells(json.loads(path.read_text(encoding="utf-8")))
        assert path.stat().st_size < MOST_BYTES, path.name
        assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), path.name
        assert any(output["output_type"] == "display_data" for cell in cells for output in cell["outputs"]), path.name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path) -> None:
    """Warnings are errors; what is printed has as many lines as what is kept: numbers may differ a little."""
    pytest.importorskip("matplotlib")
    kept, now = (code_cells(notebook) for notebook in (json.loads(path.read_text(encoding="utf-8")), run(path)))
    assert [_lines(cell) for cell in kept] == [_lines(cell) for cell in now]


def _lines(cell: dict) -> int:
    return sum(len(output.get("text", ())) for output in cell["outputs"])
