"""HTML in which nothing can be forgotten to be escaped: only what `tag` made is markup, every other string is text."""

from __future__ import annotations

from html import escape
from typing import Any


class Markup(str):
    """A string that is markup already."""

    __slots__ = ()


def tag(element: str, /, *children: Any, **attributes: Any) -> Markup:
    """An element. Children that are not Markup are escaped, None is left out; `class_` and `stroke_width` stand for
    `class` and `stroke-width`.
    """
    written = "".join(f' {key.strip("_").replace("_", "-")}="{escape(str(v))}"' for key, v in attributes.items())
    if element in ("img", "meta"):
        return Markup(f"<{element}{written}>")
    return Markup(f"<{element}{written}>{join(*children)}</{element}>")


def join(*children: Any) -> Markup:
    """Children one after the other, lists unfolded."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, list | tuple):
            parts.append(join(*child))
        elif child is not None:
            parts.append(child if isinstance(child, Markup) else escape(str(child)))
    return Markup("".join(parts))


def table(head: list[Any], rows: list[list[Any]], *, words: int = 1) -> Markup:
    """A table whose first `words` columns are words, the others numbers."""

    def row(cells: list[Any], kind: str) -> Markup:
        return tag("tr", [tag(kind, cell, **({} if i < words else {"class_": "n"})) for i, cell in enumerate(cells)])

    body = tag("table", tag("thead", row(head, "th")), tag("tbody", [row(cells, "td") for cells in rows]))
    return tag("div", body, class_="scroll")


def number(value: float | None, places: int = 2, sign: bool = False) -> str:
    if value is None:
        return "–"
    return f"{value:{'+' if sign else ''}.{places}f}".replace("-", "−")


def interval(values: list[float] | None, places: int = 2) -> str:
    return "–" if values is None else f"{number(values[0], places)} to {number(values[1], places)}"


def definitions(rows: list[tuple[str, Any]]) -> Markup:
    """A list of terms and what they are."""
    return tag("dl", [(tag("dt", name), tag("dd", value)) for name, value in rows])


def document(title: str, css: str, content: list[Any]) -> str:
    """A whole page without a script or a link to anything."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="generator", content="Laminar"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        Markup(f"<style>{css}</style>"),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', tag('main', content)), lang='en')}\n"
