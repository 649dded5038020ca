"""Run the notebooks of docs/notebooks and keep what they print and draw: `python -m benchmarks.notebooks`.

Each runs from its first cell to its last in a process of its own, as Jupyter would; the last figure of a cell is kept
as a small PNG. Seconds of the processor, start included, and sizes go to results/notebooks.json.
"""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from benchmarks.record import write_record
from laminar.files import replacing

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def run(path: Path) -> dict[str, Any]:
    """The notebook with the outputs of its cells, from a fresh process. Raises RuntimeError for a cell that fails."""
    command = [sys.executable, "-W", "error", "-m", "benchmarks.notebooks", "--cells", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{path.name}: {done.stderr}")
    notebook: dict[str, Any] = json.loads(done.stdout)
    return notebook


def _with_outputs(notebook: dict[str, Any]) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(code_cells(notebook), 1):
        cell["outputs"], cell["execution_count"] = _outputs("".join(cell["source"]), names), number
    return notebook


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _outputs(source: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    said = io.StringIO()
    with redirect_stdout(said):
        exec(compile(source, "<cell>", "exec"), names)  # noqa: S102 (our own notebooks, which are to be run)
    outputs: list[dict[str, Any]] = []
    if text := said.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": text.splitlines(keepends=True)})
    if (picture := _figure()) is not None:
        outputs.append({"output_type": "display_data", "data": {"image/png": picture}, "metadata": {}})
    return outputs


def _figure() -> str | None:
    import matplotlib.pyplot as plt

    if not plt.get_fignums():
        return None
    content = io.BytesIO()
    plt.savefig(content, format="png", dpi=72, bbox_inches="tight", metadata={"Software": "Laminar"})
    plt.close("all")
    return base64.b64encode(content.getvalue()).decode()


def main() -> None:
    found = {}
    for path in NOTEBOOKS:
        before = os.times()
        notebook = run(path)
        after = os.times()
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        seconds = after.children_user + after.children_system - before.children_user - before.children_system
        found[path.stem] = {"cpu_seconds": round(seconds, 1), "bytes": path.stat().st_size}
        print(path.stem, found[path.stem])
    write_record("notebooks", {"notebooks": found})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--cells"]:
        import matplotlib

        matplotlib.use("Agg")
        print(json.dumps(_with_outputs(json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))))
    else:
        main()
