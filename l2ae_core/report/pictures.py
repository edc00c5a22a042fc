"""Pictures inside the page: matplotlib figures as SVG in the colours of the page, arrays as PNG.

A figure keeps its text as text, in the font of the page, and its colours become CSS variables, so
that it follows the light or the dark scheme of the reader.
"""

import base64
import io
import re

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from l2ae_core.figures.style import CLASS_COLOURS, FAINT, GRID, INK, LINES, default_style
from l2ae_core.report.markup import Markup, element
from l2ae_kernels.arrays import Array

CURVES = ("blue", "vermilion", "green", "ink")  # the colours of figures.style.LINES
VARIABLES = {
    "#ffffff": "card",
    INK.lower(): "ink",
    FAINT.lower(): "faint",
    GRID.lower(): "grid",
    **{colour.lower(): name for (colour, _), name in zip(LINES, CURVES, strict=True)},
    **{colour.lower(): f"class-{i}" for i, colour in enumerate(CLASS_COLOURS)},
}
DASHES = {"-": "none", "--": "5 3", "-.": "7 3 2 3", ":": "2 3"}


def svg(drawing: Figure, name: str, description: str) -> Markup:
    """Return a figure as inline SVG; `name` is unique on the page, `description` is read aloud."""
    buffer = io.StringIO()
    # Text as text, and ids that stay the same; the SVG writer takes these two from nowhere else.
    with default_style(), mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "l2ae"}):
        drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r"<[^>]*>", _tidy, text)  # the tags; what stands between them is for readers
    head, _, body = text.partition(">")
    box = re.search(r'viewBox="([^"]*)"', head)
    assert box is not None
    width = round(float(box[1].split()[2]) * 4 / 3)  # points as CSS pixels
    opened = element("svg", viewBox=box[1], width=str(width), role="img", aria_label=description,
                     class_="plot").removesuffix("</svg>")  # fmt: skip
    return Markup(opened + re.sub(r">\s+<", "><", body).strip())


def _tidy(tag: re.Match[str]) -> str:
    """Shorten the coordinates of a tag; colours and font are those of the page."""
    text = re.sub(r"-?\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}", tag[0])
    text = re.sub(r"#[0-9a-f]{6}\b", _variable, text)
    return re.sub(r"'DejaVu Sans'[^;\"]*", "var(--sans)", text)


def _variable(colour: re.Match[str]) -> str:
    name = VARIABLES.get(colour[0])
    return f"var(--{name})" if name else colour[0]


def class_colour(k: int) -> str:
    """Return the colour of class k of a map, as a CSS value; after ten they repeat."""
    return f"var(--class-{k % len(CLASS_COLOURS)})"


def legend(styles: dict[str, tuple[str, str]], *others: str) -> Markup:
    """Return the names of curves beside a piece of their line; `others` come last, without one."""
    entries = [element("li", _swatch(*style), name) for name, style in styles.items()]
    return element("ul", *entries, *(element("li", text) for text in others), class_="legend")


def _swatch(colour: str, line: str) -> Markup:
    stroke = f"stroke: {_variable(_only(colour.lower()))}; stroke-dasharray: {DASHES[line]}"
    return Markup(
        '<svg class="swatch" viewBox="0 0 34 8" width="34" height="8" aria-hidden="true">'
        f'<path d="M1 4H33" style="{stroke}"/></svg>'
    )


def _only(colour: str) -> re.Match[str]:
    found = re.fullmatch(r"#[0-9a-f]{6}", colour)
    if found is None:
        raise ValueError(f"legend: colour is {colour!r} but expected #rrggbb")
    return found


def png(pixels: Array, description: str, class_: str, title: str | None = None) -> Markup:
    """Return uint8 pixels (H, W) or (H, W, 3) as an image, one pixel each."""
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise ValueError(f"png: pixels is {pixels.dtype} {pixels.shape} but expected uint8 (H, W)")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    height, width = map(str, pixels.shape[:2])
    return element("img", src=f"data:image/png;base64,{data}", alt=description, class_=class_,
                   title=title, width=width, height=height)  # fmt: skip


def montage(rows: list[Array], gap: int = 2) -> Array:
    """Return images (N, H, W, C) of several rows as one picture, white between them.

    ValueError when the rows do not fit, or the images are neither grey nor RGB.
    """
    shapes = {row.shape for row in rows}
    N, H, W, C = next(iter(shapes))
    if len(shapes) != 1 or C not in (1, 3):
        raise ValueError(f"montage: rows are {sorted(shapes)} but expected one (N, H, W, 1 or 3)")
    sheet = np.full((len(rows) * (H + gap) - gap, N * (W + gap) - gap, C), 255, np.uint8)
    for r, row in enumerate(rows):
        for n, image in enumerate(row):
            y, x = r * (H + gap), n * (W + gap)
            sheet[y : y + H, x : x + W] = image
    return sheet[:, :, 0] if C == 1 else sheet
