"""The parts of a run's page that are clusters: a table of all, and the images of each."""

from collections.abc import Sequence

import numpy as np

from l2ae_core.clustering.metrics import accuracy, ari, confusion, matching, nmi
from l2ae_core.gallery import Gallery
from l2ae_core.gallery.choose import NOTHING
from l2ae_core.report.evidence import percentage
from l2ae_core.report.images import confusion_table
from l2ae_core.report.markup import Markup, element, join, paragraph
from l2ae_core.report.pictures import class_colour, png
from l2ae_core.tables import counted
from l2ae_kernels.arrays import Array

MOST_CLASSES = 40  # rows or columns of a confusion matrix that can be read
NAMED_CLASSES = 3  # of a cluster


def clusters(gallery: Gallery) -> list[Markup]:
    """The images of each cluster: those nearest to its center, and those farthest from it."""
    note = paragraph(
        "v is the cosine between the code of an image and the nearest center (Eq. 5): 1 at the "
        "center. The most typical images of a cluster have its highest v, the least typical its "
        "lowest.",
        class_="note",
    )
    return [_overview(gallery), note, *(_card(gallery, k) for k in range(gallery.n_clusters))]


def _overview(gallery: Gallery) -> Markup:
    """A link to each cluster, with its most typical image and a bar as long as it is large."""
    sizes = np.bincount(gallery.labels, minlength=gallery.n_clusters)
    items = []
    for k, size in enumerate(sizes.tolist()):
        first = row_of(gallery.picks.typical[k])[:1]
        bar = element("span", class_="bar", style=f"width: {100 * size / sizes.max():.1f}%; "
                      f"background: {class_colour(k)}", aria_hidden="true")  # fmt: skip
        words = element("span", element("strong", f"Cluster {k}"), f" {size:,}", bar)
        link = element("a", *(thumbnail(gallery, i) for i in first), words, href=f"#cluster-{k}")
        items.append(element("li", link))
    return element("ul", *items, class_="overview")


def _card(gallery: Gallery, k: int) -> Markup:
    members = gallery.labels == k
    count = int(members.sum())
    facts = [f"{count:,} image{'s' * (count != 1)}", share(count / len(gallery))]
    if count:
        v = gallery.v[members]
        facts += [
            f"mean v {v.mean():.{gallery.v_digits}f}",
            f"lowest {v.min():.{gallery.v_digits}f}",
        ]
    head = element("h3", swatch(k), f"Cluster {k}", id=f"cluster-{k}-title")
    parts = [element("div", head, paragraph(" · ".join(facts)), class_="head")]
    if gallery.classes is not None and count:
        parts.append(paragraph(_composition(gallery, members), class_="classes"))
    strips = {
        "Most typical": row_of(gallery.picks.typical[k]),
        "Least typical": row_of(gallery.picks.atypical[k]),
    }
    filled = {name: row for name, row in strips.items() if row}
    shown = [_strip(gallery, name, row) for name, row in filled.items()]
    if shown:
        parts += [element("div", *shown, class_="strips"), _names(gallery, filled)]
    return element("article", *parts, class_="cluster", id=f"cluster-{k}",
                   aria_labelledby=f"cluster-{k}-title")  # fmt: skip


def swatch(k: int) -> Markup:
    """Return a dot in the colour that cluster k has in the map."""
    return element("span", class_="dot", style=f"background: {class_colour(k)}", aria_hidden="true")


def thumbnail(gallery: Gallery, i: int) -> Markup:
    """Return the small picture of image i, which says its name and v."""
    told = f"{gallery.image_name(i)}, v {gallery.v[i]:.{gallery.v_digits}f}"
    return png(flat(gallery.thumbnail(i)), told, "thumb", title=told)


def share(part: float) -> str:
    """Return a part of all in per cent, never on two lines."""
    return f"{100 * part:.1f}\N{NO-BREAK SPACE}%"


def flat(pixels: Array) -> Array:
    """Return pixels (h, w, 1) as (h, w), those in colour as they are."""
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def row_of(positions: Array) -> list[int]:
    """Return the positions of a row of the picks."""
    found: list[int] = positions[positions != NOTHING].tolist()
    return found


def _strip(gallery: Gallery, name: str, row: Sequence[int]) -> Markup:
    images = element("div", *(thumbnail(gallery, i) for i in row), class_="thumbs")
    return element("div", paragraph(name, class_="strip-name"), images, class_="strip")


def _names(gallery: Gallery, strips: dict[str, list[int]]) -> Markup:
    listed = [
        paragraph(element("strong", f"{name}: "),
                  join([element("span", gallery.image_name(i)) for i in row], ", "))
        for name, row in strips.items()
    ]  # fmt: skip
    return element("details", element("summary", "Names of these images"), *listed, class_="names")


def _composition(gallery: Gallery, members: Array) -> str:
    """Which classes the images of a cluster are of."""
    assert gallery.classes is not None
    values, counts = np.unique(gallery.classes[members], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    names = class_names(gallery, values[order])
    shares = [f"{n} {share(c / counts.sum())}"
              for n, c in zip(names, counts[order], strict=True)]  # fmt: skip
    more = len(shares) - NAMED_CLASSES
    rest = f", {more} more" if more > 0 else ""
    return f"Classes: {', '.join(shares[:NAMED_CLASSES])}{rest}"


def class_names(gallery: Gallery, values: Array) -> list[str]:
    """Return the names of classes, or their numbers where they have none."""
    names = gallery.class_names
    return [str(value) if names is None else names[value] for value in values.tolist()]


def class_confusion(gallery: Gallery) -> list[Markup]:
    """Classes against clusters, where the images have labels."""
    if gallery.classes is None:
        return []
    true, labels = gallery.classes, gallery.labels
    counts, classes, columns = confusion(true, labels)
    scores = (
        f"Accuracy {percentage(accuracy(true, labels))} (Eq. 6), NMI {nmi(true, labels):.3f}, ARI "
        f"{ari(true, labels):.3f}. The labels had no part in training or clustering."
    )
    if max(counts.shape) > MOST_CLASSES:
        return [paragraph(scores)]
    m = matching(true, labels)
    own = np.array([[m[c] == value for c in columns.tolist()] for value in classes.tolist()])
    heads = [element("a", str(c), href=f"#cluster-{c}") for c in columns.tolist()]
    names = class_names(gallery, classes)
    caption = f"Classes (rows) and clusters (columns) of {counted(len(labels), 'image')}"
    note = (
        "Colour: share of the class. Framed cells count as right by the best one-to-one mapping of "
        "clusters to classes."
    )
    return [
        paragraph(scores),
        confusion_table(counts, names, heads, own, caption),
        paragraph(note, class_="note"),
    ]
