"""What the site needs beyond docs/: README and CONTRIBUTING as pages, results to link to, formulas as MathML."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "docs" / "notebooks"
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}
LINK = re.compile(r"\[((?:[^][]|\[[^]]*\])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=_as_markdown(path)))
    for path in sorted((ROOT / "results").rglob("*.json")):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def _as_markdown(path: Path) -> str:
    """A notebook as a page: its texts, its code, and below that what it printed and drew."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        for output in cell.get("outputs", ()):
            if "text" in output:
                parts.append(f"```text\n{''.join(output['text'])}```")
            else:
                parts.append(f"<img alt='' src='data:image/png;base64,{output['data']['image/png']}'>")
    title, *rest = parts
    about = (
        f"The notebook is `docs/notebooks/{path.name}`; `python -m benchmarks.notebooks` runs it and keeps its outputs."
    )
    return "\n\n".join([title, *rest, about])


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links of the repository become links of the site; to what has no page there, such as a test, they become text."""
    folder = ROOT if page.file.src_uri in PAGES.values() else ROOT / "docs"

    def of_the_site(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        if "://" in target:
            return found[0]
        path = (folder / target).resolve()
        if not path.exists():  # left as it is, for the strict build to refuse
            return found[0]
        name = path.relative_to(ROOT).as_posix()
        name = PAGES.get(name, name.removeprefix("docs/"))
        return f"[{text}]({name}{anchor})" if files.get_file_from_path(name) else text

    return LINK.sub(of_the_site, markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Formulas are set by the browser itself, without a script."""
    return FORMULA.sub(
        lambda found: convert(html.unescape(found[2]), display="block" if found[1] == "div" else "inline"), content
    )
