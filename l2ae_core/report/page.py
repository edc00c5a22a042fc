"""One self-contained page: contents, sections, and what is left out and why. No script, no network.

`page.css` beside this file is the look; it knows light and dark, wide and narrow, and paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import l2ae_core
from l2ae_core.files import atomic_file
from l2ae_core.report.markup import Markup, code, element, join, paragraph

PAPER = "https://arxiv.org/abs/1802.00187"


@dataclass(frozen=True)
class Section:
    """A part of the page. Without content it is left out, and `how` says which command fills it."""

    id: str
    title: str
    content: Sequence[str]
    how: str = ""


def page(title: str, lead: Sequence[str], sections: Sequence[Section]) -> str:
    """Return the HTML of a page. ValueError when two sections have one id."""
    ids = [section.id for section in sections]
    if len(set(ids)) != len(ids):
        raise ValueError(f"page: sections have the ids {ids} but expected each once")
    shown = [section for section in sections if section.content]
    missing = [section for section in sections if not section.content]
    if missing:
        shown.append(Section("missing", "Not here yet", [_missing(missing)]))
    links = [element("li", element("a", s.title, href=f"#{s.id}")) for s in shown]
    contents = element("nav", element("h2", "Contents"), element("ol", *links),
                       aria_label="Contents")  # fmt: skip
    body = [
        element("header", element("h1", title), *lead),
        contents,
        element("main", *(_section(section) for section in shown)),
        _footer(),
    ]
    style = files("l2ae_core.report").joinpath("page.css").read_text(encoding="utf-8")
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(style)),
    ]
    document = element("html", element("head", *head), element("body", *body), lang="en")
    return f"<!doctype html>\n{document}\n"


def write_page(path: Path, html: str) -> None:
    """Write the page, atomically."""
    with atomic_file(path) as file:
        file.write(html.encode("utf-8", "backslashreplace"))  # paths may be no UTF-8


def _section(section: Section) -> Markup:
    label = f"{section.id}-title"
    heading = element("h2", section.title, id=label)
    return element("section", heading, *section.content, id=section.id, aria_labelledby=label)


def _missing(missing: Sequence[Section]) -> Markup:
    items = [
        element("li", element("strong", s.title), *([": ", code(s.how)] if s.how else []))
        for s in missing
    ]
    intro = paragraph("These sections have no data; the command behind each one makes them.")
    return join([intro, element("ul", *items, class_="missing")])


def _footer() -> Markup:
    paper = element(
        "a",
        "Clustering and Unsupervised Anomaly Detection with l2 Normalized Deep Auto-Encoder "
        "Representations",
        href=PAPER,
    )
    return element(
        "footer",
        paragraph("The paper: Aytekin, Ni, Cricri and Aksu, ", paper, ", 2018."),
        paragraph(f"Made by l2ae {l2ae_core.__version__}, ", code("l2ae report"), "."),
    )
