"""The Python of the README runs as it stands; its commands, and those of all documents, exist with their options."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import laminar
from benchmarks import tables
from laminar.cli.main import build_parser, main
from laminar.data.formats import write_fastmri
from laminar.data.masks import make_mask
from laminar.data.simulation import simulate_slice
from laminar.training.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = {
    path.name: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
}
README = DOCUMENTS["README.md"]
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
RECIPES = re.findall(r"```python\n(.*?)```", DOCUMENTS["cookbook.md"], re.DOTALL)
COMMANDS = [
    pytest.param(line, id=f"{name}: {line[:60]}")
    for name, text in DOCUMENTS.items()
    # Lines of code blocks; what stands inside a sentence may be a part, but in the cells of a table it is whole.
    for line in re.findall(r"^(?: {4})?laminar (.*)$|\|[^|\n]*?`laminar ([^`]* --out [^`]*)`", text, re.MULTILINE)
    for line in filter(None, line)
]


@pytest.mark.parametrize("block", BLOCKS)
def test_python_of_the_readme_runs(block: str, tmp_path: Path) -> None:
    scan = simulate_slice("brain", (64, 48), 4, 0.01, torch.Generator().manual_seed(0)).scan
    write_fastmri(tmp_path / "scan.h5", scan.undersample(make_mask("equispaced-fraction", (64, 48), 3, 10, 0)))
    (tmp_path / "block.py").write_text(block)
    command = [sys.executable, "-W", "error", "block.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", RECIPES)
def test_recipes_of_the_cookbook_run(block: str, tmp_path: Path) -> None:
    small = ("--volumes", "2", "--slices", "1", "--matrix", "64,64", "--coils", "4", "--anatomy", "brain")
    assert main(["simulate", "--out", str(tmp_path / "scans"), *small]) == 0
    (tmp_path / "block.py").write_text(block)
    (tmp_path / "laminar").write_text(f'#!/bin/sh\nexec {sys.executable} -m laminar "$@"\n')
    (tmp_path / "laminar").chmod(0o755)
    warnings = "default" if "import lightning" in block else "error"  # Lightning warns of itself
    done = subprocess.run(
        [sys.executable, "-W", warnings, "block.py"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_python_of_the_geometries_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENTS["geometries.md"], re.DOTALL)
    assert len(blocks) == 3
    (tmp_path / "blocks.py").write_text("\n".join(blocks))
    command = [sys.executable, "-W", "error", "blocks.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    errors = [float(line.split()[0]) for line in done.stdout.splitlines() if line[0].isdigit()]
    assert len(errors) == 3
    assert max(errors) < 0.5, done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_documents_parse(command: str) -> None:
    """Verbs, options and the values that they may have; of `train`, the settings too. Nothing is run."""
    args, rest = build_parser().parse_known_args(shlex.split(re.split(" [<>|] ", command)[0], comments=True))
    assert hasattr(args, "settings") or not rest, f"unknown: {rest}"
    if args.verb == "train" and not args.resume and "--config" not in rest:
        told = ["--data.geometry", args.geometry] if args.geometry else []
        Settings.of_preset(args.preset, rest).parse([*rest, *told])


def test_the_documents_are_there() -> None:
    """All have a place in the site, and its reference has all that is public."""
    assert (len(BLOCKS), len(RECIPES)) == (3, 5)
    assert len(COMMANDS) >= 60
    named = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [name for name in DOCUMENTS if name not in (*named.split(), "README.md")] == []
    public = re.findall(r"^::: laminar\.(\w+)$", DOCUMENTS["reference.md"], re.MULTILINE)
    assert sorted([*public, "__version__"]) == sorted(laminar.__all__)


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
