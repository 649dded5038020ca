"""The Python of the README runs as it stands, and its commands exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import tables
from laminar.cli.main import build_parser
from laminar.data.formats import write_fastmri
from laminar.data.masks import make_mask
from laminar.data.simulation import simulate_slice

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^laminar (.*?)(?:\s+#.*)?$", README, re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS)
def test_python_of_the_readme_runs(block: str, tmp_path: Path) -> None:
    scan = simulate_slice("brain", (64, 48), 4, 0.01, torch.Generator().manual_seed(0)).scan
    write_fastmri(tmp_path / "scan.h5", scan.undersample(make_mask("equispaced-fraction", (64, 48), 3, 10, 0)))
    (tmp_path / "block.py").write_text(block)
    command = [sys.executable, "-W", "error", "block.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_commands_of_the_readme_parse() -> None:
    assert len(BLOCKS) == 3
    assert len(COMMANDS) >= 10
    for command in COMMANDS:
        arguments = [part.strip("'") for part in command.split()]
        args, rest = build_parser().parse_known_args(arguments)
        assert hasattr(args, "settings") or not rest, command


def test_tables_are_those_of_the_results() -> None:
    for document in tables.DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        assert "<!-- table: " in text
        assert tables.filled(text) == text, f"{document.name}: run python -m benchmarks.tables"


def test_tests_named_in_the_theory_exist() -> None:
    root = Path(__file__).resolve().parent
    text = (root.parent / "docs" / "theory.md").read_text(encoding="utf-8")
    there = {
        name
        for path in root.rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    named = set(re.findall(r"`(test_\w+)`", text))
    assert len(named) > 20
    assert named <= there, sorted(named - there)
