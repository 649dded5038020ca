"""What must stay true of the house as a whole: a light core, a fast command line, no foreign code run."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import laminar

SOURCE = Path(laminar.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
EXTRAS = (
    "scipy",
    "matplotlib",
    "lightning",
    "pytorch_lightning",
    "jsonargparse",
    "yaml",
    "ismrmrd",
    "skimage",
    "torchdiffeq",
    "submitit",
    "distributed",
    "pydicom",
    "nibabel",
    "onnxruntime",
    "onnxscript",
    "prometheus_client",
)
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
FORBIDDEN_CALLS = {"eval", "exec", "torch.load", "torch.save", "numpy.load", "np.load"}


def python(code: str) -> None:
    """Run `code` in a fresh interpreter that must end well."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_module_imports_without_the_extras() -> None:
    python(f"""
import importlib, pkgutil, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
import laminar
for module in pkgutil.walk_packages(laminar.__path__, "laminar."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
""")


@pytest.mark.parametrize(
    ("given", "expected"), [({}, "6000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")]
)
def test_waiting_threads_spin_briefly_unless_told_otherwise(given: dict[str, str], expected: str) -> None:
    clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    line = "import os, laminar; print(os.environ.get('GOMP_SPINCOUNT'))"
    run = subprocess.run([sys.executable, "-c", line], env=clean | given, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == expected


def test_help_is_printed_without_importing_torch() -> None:
    python("""
import sys
from laminar.cli.main import main

sys.argv = ["laminar", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code
heavy = {"torch", "numpy", "h5py", "matplotlib", "lightning", "scipy"} & set(sys.modules)
assert not heavy, f"laminar --help imports {heavy}"
""")


def test_what_is_plainly_wrong_is_said_without_importing_torch(tmp_path: Path) -> None:
    python(f"""
import sys
from pathlib import Path
from laminar.cli.main import main

there, out = {str(tmp_path / "a.h5")!r}, ["--out", {str(tmp_path / "out")!r}]
Path(there).touch()
for command in (
    ["send", "nope.h5", "--to", "localhost:9002"],
    ["send", there, "--to", "9002"],
    ["send", there, "--to", "localhost:9002", "--parameters", "method=cg-sense"],
    ["reconstruct", "nope.h5", "neither"],
    ["reconstruct", there, "--format", "dicom", "--pacs", "localhost:11112"],
):
    assert main([*command, *out]) == 2
    assert "torch" not in sys.modules, command
""")


def unsafe(code: str) -> list[str]:
    """What in the code could run a foreign program: unpickling, `eval`, `exec`, arrays of objects.

    `numpy.load` is fine with `allow_pickle=False` written out.
    """
    found = []
    for node in ast.walk(ast.parse(code)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [module.partition(".")[0], *(f"{module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call):
            safe = any(
                word.arg == "allow_pickle" and isinstance(word.value, ast.Constant) and word.value.value is False
                for word in node.keywords
            )
            names = [] if safe else [ast.unparse(node.func)]
        found += [name for name in names if name in FORBIDDEN_MODULES | FORBIDDEN_CALLS]
    return found


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "from torch import load",
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
    ],
)
def test_the_scan_for_unsafe_code_finds_it(code: str) -> None:
    assert unsafe(code)


def test_the_scan_for_unsafe_code_knows_what_is_safe() -> None:
    assert not unsafe("network.eval(); np.load(path, allow_pickle=False); json.load(file)")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_module_can_run_foreign_code(path: Path) -> None:
    assert not unsafe(path.read_text(encoding="utf-8"))


def with_tensors() -> list[type]:
    """Every dataclass of the package with a field of tensors, arrays or of another one of these."""
    modules = pkgutil.walk_packages(laminar.__path__, "laminar.")
    loaded = [importlib.import_module(module.name) for module in modules if not module.name.endswith("__main__")]
    classes = {
        value
        for module in loaded
        for value in vars(module).values()
        if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.__name__
    }
    names, found = {"Tensor", "ndarray"}, set[type]()
    while more := {one for one in classes - found if any(holds(field, names) for field in dataclasses.fields(one))}:
        found |= more
        names |= {one.__name__ for one in more}
    found = {one for one in found if not inspect.isabstract(one)}
    return sorted(found, key=lambda one: (one.__module__, one.__name__))


def holds(field: dataclasses.Field[object], names: set[str]) -> bool:
    kept = re.sub(r"Callable\[.*\]", "", str(field.type))
    return not names.isdisjoint(re.findall(r"\w+", kept))


@pytest.mark.parametrize("holder", with_tensors(), ids=lambda holder: holder.__name__)
def test_what_holds_tensors_is_compared_and_hashed_by_identity(holder: type) -> None:
    one, other = object.__new__(holder), object.__new__(holder)
    for field in dataclasses.fields(holder):
        for instance in (one, other):
            object.__setattr__(instance, field.name, torch.zeros(2))
    assert one == one
    assert one != other
    assert len({one, other, one}) == 2


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_module_imports_a_private_name_of_another(path: Path) -> None:
    imports = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
    names = [alias.name for node in imports if (node.module or "").startswith("laminar") for alias in node.names]
    assert [name for name in names if name.startswith("_") and name != "__version__"] == []
