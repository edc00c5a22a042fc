"""The parts of a run's page that are single images: least normal, badly reconstructed, faulty."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np

from l2ae_core.gallery import Gallery
from l2ae_core.gallery.choose import OF_GROUP, OF_KIND
from l2ae_core.report.clusters import flat, swatch, thumbnail
from l2ae_core.report.markup import Markup, code, element, grid, join, paragraph
from l2ae_core.report.pictures import png
from l2ae_core.tables import counted
from l2ae_core.verdict import REASONS
from l2ae_kernels.arrays import Array

*ONE_SIDE, BOTH = REASONS
SCALE = (
    "Error: reconstruction minus image, blue where it is too bright, red where it is too dark, "
    "one scale for all."
)


def least_normal(gallery: Gallery, reasons: Array | None = None) -> list[Markup]:
    """The images of the lowest v, with their reconstructions; `reasons` (N,) of anomalous ones."""
    rows = gallery.picks.least_normal
    note = (
        f"The {counted(len(rows), 'image')} of the lowest v: image, reconstruction, error. {SCALE} "
        "Its number is the sum of squared differences over the pixels, as in "
    )
    return [paragraph(note, code("l2ae score"), ".", class_="note"),
            _cards(gallery, rows, reasons)]  # fmt: skip


def worst(gallery: Gallery, reasons: Array | None = None) -> list[Markup]:
    """The images of the highest reconstruction error."""
    rows = gallery.picks.worst
    note = (
        f"The {counted(len(rows), 'image')} of the highest error, whatever their v: what the "
        "network has not learnt to draw. Everything else is as above."
    )
    return [paragraph(note, class_="note"), _cards(gallery, rows, reasons)]


def _cards(gallery: Gallery, rows: Array, reasons: Array | None) -> Markup:
    explained = gallery.picks.explained
    maps = gallery.error_maps
    limit = max(1, int(np.abs(maps.astype(int)).max()))
    cards = []
    for i in rows.tolist():
        at = int(np.searchsorted(explained, i))
        name = gallery.image_name(i)
        k = int(gallery.labels[i])
        drawn = [
            thumbnail(gallery, i),
            png(flat(gallery.reconstructions[at]), f"reconstruction of {name}", "thumb"),
            png(_coloured(maps[at], limit), f"error of {name}", "thumb"),
        ]
        facts = f"v {gallery.v[i]:.{gallery.v_digits}f} · error {gallery.error[i]:#.4g}"
        link = element("a", swatch(k), f"cluster {k}", href=f"#cluster-{k}")
        reason = "" if reasons is None else str(reasons[i])
        words = ", ".join(ONE_SIDE) if reason == BOTH else reason
        told = [paragraph(words, class_="reason")] if reason else []
        told += [paragraph(facts), paragraph(link)]
        cards.append(element("div", element("div", *drawn, class_="three-thumbs"),
                             paragraph(name, class_="name"), *told,
                             class_="odd"))  # fmt: skip
    return element("div", *cards, class_="odds")


def _coloured(errors: Array, limit: int) -> Array:
    """Return signed errors (h, w) as colours (h, w, 3): red below, white at, blue above zero."""
    shares = 0.5 + errors.astype(np.float64) / (2 * limit)
    colours: Array = mpl.colormaps["RdBu"](shares, bytes=True)[..., :3]
    return colours


def faulty(gallery: Gallery) -> list[Markup]:
    """Constant, nearly constant, dark and equal images."""
    look = gallery.look
    kinds = {
        "of one value in all pixels": look.constant,
        "nearly of one value": look.flat,
        "dark: hardly a pixel is brighter than a third": look.dark,
    }
    panels = [_kind(gallery, name, found) for name, found in kinds.items() if len(found)]
    if look.duplicates:
        panels.append(_equal(gallery))
    if not panels:
        return [paragraph("No constant, dark or equal images.")]
    return [grid(panels)]


def _kind(gallery: Gallery, name: str, found: Array) -> Markup:
    row = found[:OF_KIND].tolist()
    return _panel(f"{len(found):,} {name}", _thumbs(gallery, row), gallery, row, len(found))


def _equal(gallery: Gallery) -> Markup:
    groups = gallery.look.duplicates
    more = len(groups) - OF_KIND
    listed = [
        element("li", thumbnail(gallery, int(group[0])), element("div", _members(gallery, group)))
        for group in groups[:OF_KIND]
    ]
    copies = gallery.look.copies
    title = f"{copies:,} equal to an earlier image, in {counted(len(groups), 'group')}"
    rest = [paragraph(f"and {counted(more, 'group')} more")] if more > 0 else []
    return element("div", element("h3", title), element("ul", *listed, class_="equal"), *rest,
                   class_="panel")  # fmt: skip


def _members(gallery: Gallery, group: Array) -> str:
    names = [gallery.image_name(i) for i in group[:OF_GROUP].tolist()]
    more = len(group) - OF_GROUP
    return f"{', '.join(names)}{f' and {more:,} more' if more > 0 else ''}"


def _thumbs(gallery: Gallery, row: Sequence[int]) -> Markup:
    return element("div", *(thumbnail(gallery, i) for i in row), class_="thumbs")


def _panel(title: str, shown: Markup, gallery: Gallery, row: Sequence[int], count: int) -> Markup:
    more = count - len(row)
    names = join([gallery.image_name(i) for i in row], ", ")
    rest = f" and {more:,} more" if more > 0 else ""
    listed = element("details", element("summary", "Names"), paragraph(names, rest),
                     class_="names")  # fmt: skip
    return element("div", element("h3", title), shown, listed, class_="panel")
