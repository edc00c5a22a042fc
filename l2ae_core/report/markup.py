"""HTML by hand: elements, tables, figures. Text is escaped unless it is `Markup` already."""

from collections.abc import Iterable, Sequence
from html import escape

LONG = 26  # letters of a cell that may be broken into lines
VOID = ("img", "meta", "link", "br")


class Markup(str):
    """Text that is HTML."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str | None) -> Markup:
    """Return <name …>children</name>; `class_` is class, `data_x` is data-x, None is left out."""
    given = {k.rstrip("_").replace("_", "-"): v for k, v in attributes.items() if v is not None}
    opened = name + "".join(f' {k}="{escape(v)}"' for k, v in given.items())
    if name in VOID:
        return Markup(f"<{opened}>")
    return Markup(f"<{opened}>{join(children)}</{name}>")


def join(children: Iterable[str], between: str = "") -> Markup:
    """Return children one after the other."""
    return Markup(between.join(c if isinstance(c, Markup) else escape(c) for c in children))


def paragraph(*children: str, class_: str | None = None) -> Markup:
    """Return a paragraph."""
    return element("p", *children, class_=class_)


def code(text: str) -> Markup:
    """Return a command or a name as code."""
    return element("code", text)


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "", note: str = "",
    text_columns: int = 1,
) -> Markup:  # fmt: skip
    """Return a table that scrolls sideways where it is too wide; the first columns are words.

    Rows with one of these that begins with "chance" are marked. ValueError for a row of another
    length than `columns`.
    """
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"table: a row has {len(row)} cells but expected {len(columns)}")

    def kind(i: int, cell: str) -> str | None:
        if i >= text_columns:
            return "n"
        return "long" if len(cell) > LONG and not isinstance(cell, Markup) else None

    head = element("tr", *(element("th", c, scope="col", class_=kind(i, ""))
                           for i, c in enumerate(columns)))  # fmt: skip
    body = [
        element(
            "tr",
            *(
                element("td", cell, class_=kind(i, cell)) if i
                else element("th", cell, scope="row", class_=kind(i, cell))
                for i, cell in enumerate(row)
            ),
            class_="chance" if any(c.startswith("chance") for c in row[:text_columns]) else None,
        )
        for row in rows
    ]  # fmt: skip
    inner = [element("caption", element("span", caption))] if caption else []
    inner += [element("thead", head), element("tbody", *body)]
    shown = element("div", element("table", *inner), class_="wide", tabindex="0", role="region",
                    aria_label=caption or ", ".join(columns))  # fmt: skip
    return join([shown, paragraph(note, class_="note")] if note else [shown])


def definitions(pairs: Sequence[tuple[str, str]]) -> Markup:
    """Return a table of names and values without a head."""
    rows = [element("tr", element("th", k, scope="row"), element("td", v)) for k, v in pairs]
    return element("div", element("table", element("tbody", *rows), class_="pairs"), class_="wide")


def figure(*content: str, caption: str) -> Markup:
    """Return pictures with a caption that says what is seen."""
    return element("figure", *content, element("figcaption", caption))


def grid(panels: Iterable[str], size: str = "") -> Markup:
    """Return panels side by side, as many in a row as fit the screen."""
    return element("div", *panels, class_=f"grid {size}".strip())


def tile(name: str, value: str, beside: Sequence[str]) -> Markup:
    """Return one number of a `dl` of the class "glance", and what it stands beside."""
    return element(
        "div",
        element("dt", name),
        element("dd", value, class_="value"),
        *(element("dd", line, class_="beside") for line in beside),
    )
