"""The pieces of a page: markup, figures inside it, small panels."""

import base64
import io
import re

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

from l2ae_core import figures
from l2ae_core.paper.tables import percent
from l2ae_core.report.evidence import families
from l2ae_core.report.markup import Markup, element, table
from l2ae_core.report.page import Section, page
from l2ae_core.report.pictures import VARIABLES, montage, png, svg
from l2ae_core.tables import ranges

from .made_up import Page


def drawing() -> Figure:
    values = np.linspace(0.99871, 0.99999, 500)
    return figures.histogram({"training images": values}, 0.99941, x="v")


def test_text_is_escaped_and_markup_is_kept() -> None:
    assert element("p", "a < b & c", Markup("<b>d</b>"), title='"') == (
        '<p title="&quot;">a &lt; b &amp; c<b>d</b></p>'
    )
    assert element("meta", name="x") == '<meta name="x">'


def test_a_table_keeps_every_cell_in_its_column() -> None:
    made = Page(table(["a", "b"], [["x", "1.5"], ["chance", "0.5"]], caption="A table"))
    assert made.tables == {"A table": [["a", "b"], ["x", "1.5"], ["chance", "0.5"]]}
    with pytest.raises(ValueError, match="3 cells but expected 2"):
        table(["a", "b"], [["x", "1", "2"]])


def test_two_sections_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="each once"):
        page("t", [], [Section("a", "A", []), Section("a", "B", [])])


def test_numbers_in_a_figure_are_not_rounded() -> None:
    """Coordinates are shortened; what is read is not."""
    made = svg(drawing(), "f", "a histogram")
    assert "τ = 0.9994" in made
    ticks = set(re.findall(r">\s*(\d\.\d{4,})\s*<", made))
    assert len(ticks) >= 3
    assert not re.search(r'd="[^"]*\d\.\d{3,}', made)


def test_two_figures_share_no_id_and_every_reference_is_there() -> None:
    both = svg(drawing(), "f", "one") + svg(drawing(), "g", "two")
    found = Page(f"<div>{both}</div>")
    used = set(re.findall(r"url\(#([^)]*)\)", both)) | set(re.findall(r'href="#([^"]*)"', both))
    assert used
    assert used <= set(found.ids)


def test_a_figure_has_the_colours_of_the_page() -> None:
    made = svg(drawing(), "f", "a histogram")
    assert "var(--ink)" in made
    assert "var(--blue)" in made
    assert not [colour for colour in VARIABLES if colour in made]
    assert "DejaVu" not in made


def test_drawing_for_a_page_leaves_matplotlib_as_it_was() -> None:
    before = dict(mpl.rcParams)
    svg(drawing(), "f", "a histogram")
    assert dict(mpl.rcParams) == before


def test_pixels_come_back_from_the_page() -> None:
    rows = [np.full((3, 4, 5, 1), grey, np.uint8) for grey in (10, 200)]
    sheet = montage(rows, gap=1)
    assert sheet.shape == (9, 17)
    made = png(sheet, "two rows", "tiles")
    data = re.search(r"base64,([^\"]*)", made)
    assert data is not None
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))))
    np.testing.assert_array_equal(back, sheet)
    assert back[0, 0] == 10
    assert back[5, 0] == 200
    with pytest.raises(ValueError, match="one"):
        montage([rows[0], rows[1][:2]])


def test_words_for_numbers() -> None:
    assert ranges([3, 0, 1, 2, 7, 7]) == "0–3, 7"
    assert percent(-1e-6) == "0.00"
    assert percent(-0.012) == "-1.20"


def test_losses_that_do_not_compare_share_no_panel() -> None:
    systems = ["cae", "vae-10-bernoulli", "vae-10-gaussian", "cae-bn", "vae-2-bernoulli", "drae",
               "cae-l2", "ae-clean"]  # fmt: skip
    assert families(systems) == [
        ["cae-l2", "cae"], ["vae-10-bernoulli", "vae-2-bernoulli"], ["vae-10-gaussian"],
        ["cae-bn", "ae-clean"], ["drae"],
    ]  # fmt: skip


def test_a_band_is_the_median_and_the_range() -> None:
    figure = figures.epoch_curves({"a": [[1, 2, 30], [3, 4, 50], [2, 9, 40]]}, y="loss")
    line = figure.axes[0].lines[0]
    np.testing.assert_allclose(line.get_ydata(), [2, 4, 40])
    np.testing.assert_allclose(line.get_xdata(), [1, 2, 3])
    edges = figure.axes[0].collections[0].get_paths()[0].vertices
    assert {tuple(v) for v in edges} >= {(1, 1), (1, 3), (2, 9), (3, 30), (3, 50)}
    assert figure.axes[0].get_yscale() == "log"


@pytest.mark.parametrize(
    ("low", "high"), [(0.07, 0.16), (2.33, 2.44), (0.01, 0.15), (0.4, 16), (1e-6, 1e3), (5, 5)]
)
def test_an_axis_has_numbers_to_read(low: float, high: float) -> None:
    figure = figures.epoch_curves({"a": [[high, low]]}, y="loss")
    figure.draw_without_rendering()
    ax = figure.axes[0]
    bottom, top = ax.get_ylim()
    labels = [t.get_text() for v, t in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)
              if bottom <= v <= top and t.get_text()]  # fmt: skip
    assert 2 <= len(labels) <= 12


@pytest.mark.parametrize("curves", [{}, {"a": [[1.0], [1.0, 2.0]]}, {"a": [[np.nan]]},
                                    {"a": [[0.0]]}, {"a": []}])  # fmt: skip
def test_curves_that_cannot_be_drawn_are_refused(curves: dict[str, list[list[float]]]) -> None:
    with pytest.raises(ValueError, match="epoch_curves: "):
        figures.epoch_curves(curves, y="loss")


def test_restarts_are_measured_from_the_best_of_their_run() -> None:
    figure = figures.restart_dots({"seed 0": [10, 11, 10], "seed 1": [200, 150]})
    first, second = figure.axes[0].lines
    np.testing.assert_allclose(first.get_xdata(), [0, 10, 0])
    np.testing.assert_allclose(second.get_xdata(), [100 / 3, 0])


def test_pairs_are_joined_seed_by_seed() -> None:
    figure = figures.paired({"no l2": [70, 80], "l2": [90, 85]}, chance=10, y="accuracy, %")
    lines = [line.get_ydata() for line in figure.axes[0].lines[:2]]
    np.testing.assert_allclose(lines, [[70, 90], [80, 85]])
    words = [t.get_text() for t in figure.axes[0].texts]
    assert words == ["75.0", "87.5", "chance"]


def test_every_point_of_a_map_is_drawn() -> None:
    """Dots are lines of almost no length, which a renderer may round away."""
    grid = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), axis=-1).reshape(-1, 2)
    points = grid + np.random.default_rng(0).uniform(-0.2, 0.2, grid.shape)
    figure = figures.class_maps({"map": points}, np.zeros(len(points), int))
    figure.set_dpi(150)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="raw", dpi=150)
    height, width = (round(150 * s) for s in figure.get_size_inches()[::-1])
    pixels = np.frombuffer(buffer.getvalue(), np.uint8).reshape(height, width, 4)[:, :, :3]
    blueish = pixels[:, :, 2].astype(int) - pixels[:, :, 1] > 40  # class 0 is an indigo
    _, dots = ndimage.label(blueish)
    assert 0.98 * len(points) <= dots <= len(points) + 3


def test_more_classes_than_colours_have_other_marks() -> None:
    points = np.random.default_rng(0).random((100, 2))
    classes = np.repeat([3, 13, 23, 33], 25)  # of one colour
    patches = figures.class_maps({"map": points}, classes).axes[0].patches
    assert len({patch.get_edgecolor() for patch in patches}) == 1
    marks = [patch.get_path().vertices - patch.get_path().vertices[0] for patch in patches]
    assert len({(len(mark), *np.abs(mark[1]).round(3)) for mark in marks}) == 4


def test_a_class_keeps_its_look_where_others_are_missing() -> None:
    points = np.random.default_rng(0).random((30, 2))

    def colour_of_2(classes: np.ndarray) -> object:
        return figures.class_maps({"map": points}, classes).axes[0].patches[-1].get_edgecolor()

    assert colour_of_2(np.arange(30) % 3) == colour_of_2(np.full(30, 2))


def test_maps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\)"):
        figures.class_maps({"map": np.zeros((4, 2))}, np.zeros(3, int))
    with pytest.raises(ValueError, match="empty"):
        figures.class_maps({}, np.zeros(3, int))
