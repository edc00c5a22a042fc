"""The pages in a browser, Chromium: nothing is broken, cut off, too wide, too small or too pale.

pip install -e '.[browser]', Debian's chromium and chromium-driver; pytest -m browser -n 0
"""

import base64
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from l2ae_core.cli import main
from l2ae_core.report import write_report

from .made_up import write_all
from .test_run_images import FIT, write_folder

pytestmark = pytest.mark.browser
WIDTHS = (390, 1400)  # pixels: a telephone, a screen
SMALLEST, SMALLEST_SVG = 11.5, 9.0  # pixels of a letter's size; numbers at the axes of a figure
CONTRAST = 4.5  # of text and background, WCAG 2 AA
LONG = "an_image_with_a_name_that_has_no_place_to_break_and_goes_on_and_on_and_on_0123456789.png"


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None or shutil.which("chromedriver") is None:
        if os.environ.get("CI"):
            pytest.fail("chromium and chromedriver are not installed")
        pytest.skip("no chromium and chromedriver")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.chrome.service.Service(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options, service)
    yield driver
    driver.quit()


def write_photos(folder: Path) -> Path:
    """Images in colour of three classes, one with a very long name, one black, two equal."""
    write_folder(folder, labels=True, count=80)
    x = np.random.default_rng(3).integers(0, 256, (8, 12, 3), np.uint8)
    Image.fromarray(x).save(folder / "a" / LONG)
    (folder / "c").rename(folder / ("class_of_a_very_long_name_" * 3))
    return folder


def write_noise(folder: Path) -> Path:
    """Images that are so different that their codes lie apart on the map."""
    folder.mkdir()
    for i, x in enumerate(np.random.default_rng(0).integers(0, 256, (90, 8, 8, 3), np.uint8)):
        Image.fromarray(x).save(folder / f"{i:02d}.png")
    return folder


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind: of runs with and without labels, of seeds, of results."""
    folder = tmp_path_factory.mktemp("pages")
    photos = write_photos(folder / "photos")
    plain = write_noise(folder / "plain")
    assert main(["fit", "--data", str(photos), "--out", str(folder / "run"), *FIT]) == 0
    seeds = ["--clusters", "12", "--seeds", "3"]
    assert main(["fit", "--data", str(plain), "--out", str(folder / "seeds"), *FIT, *seeds]) == 0
    write_all(folder / "results")
    made = {name: write_report(folder / name) for name in ("run", "seeds", "results")}
    return made | {"seed": folder / "seeds" / "seed-1" / "report.html"}


@pytest.fixture(params=["run", "seed", "seeds", "results"])
def page(request: pytest.FixtureRequest, pages: dict[str, Path]) -> Path:
    return pages[request.param]


# All details, and wait until they are painted: what opens is laid out with the next frame.
OPEN = """
for (const details of document.querySelectorAll('details')) details.open = true;
requestAnimationFrame(() => requestAnimationFrame(arguments[0]));
"""


def show(driver: Any, page: Path, width: int = 1400, scheme: str = "light") -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    driver.get(page.as_uri())
    driver.execute_async_script(OPEN)
    assert driver.execute_script("return document.querySelector('details:not([open])')") is None


def test_nothing_is_asked_of_the_network_and_nothing_fails(driver: Any, page: Path) -> None:
    show(driver, page)
    assert driver.get_log("browser") == []
    script = "return performance.getEntriesByType('resource').map(e => e.name)"
    assert driver.execute_script(script) == []


PICTURES = """
const context = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
return [...document.querySelectorAll('img')].map(image => {
  const {naturalWidth: w, naturalHeight: h} = image, box = image.getBoundingClientRect();
  let colours = 0;
  if (w && h) {
    context.canvas.width = w; context.canvas.height = h;
    context.drawImage(image, 0, 0);
    colours = new Set(new Uint32Array(context.getImageData(0, 0, w, h).data.buffer)).size;
  }
  return [image.alt, colours, box.width, box.height];
});
"""


def test_every_picture_is_drawn(driver: Any, page: Path) -> None:
    show(driver, page)
    found = driver.execute_script(PICTURES)
    assert found
    for alt, colours, width, height in found:
        black = "/01.png" in alt or "01 &.png" in alt
        assert colours == 1 if black and "reconstruction" not in alt and "error" not in alt else (
            colours > 1), alt  # fmt: skip
        assert width >= 24, alt
        assert height >= 24, alt
        assert alt


PLOTS = """
return [...document.querySelectorAll('svg.plot')].map(plot => {
  const box = plot.getBoundingClientRect();
  const clip = {x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height};
  return [plot.getAttribute('aria-label'), clip];
});
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_figure_is_drawn(scheme: str, driver: Any, page: Path) -> None:
    """What figures tell is in colour, on the background of their card."""
    show(driver, page, scheme=scheme)
    for told, clip in driver.execute_script(PLOTS):
        how = {"captureBeyondViewport": True, "clip": {**clip, "scale": 1}}
        shot = driver.execute_cdp_cmd("Page.captureScreenshot", how)["data"]
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB"))
        assert (np.ptp(pixels, axis=2) > 50).sum() > 20, told
        background = np.bincount(pixels[..., 1].ravel()).argmax()
        assert background > 200 if scheme == "light" else background < 60, told


def test_every_link_leads_somewhere(driver: Any, page: Path) -> None:
    show(driver, page)
    script = "return [...document.querySelectorAll('a')].map(a => a.getAttribute('href'))"
    links = driver.execute_script(script)
    assert len(links) > 5
    for link in links:
        if link.startswith("#"):
            assert driver.execute_script("return document.querySelectorAll(arguments[0]).length",
                                         link) == 1, link  # fmt: skip
        elif not link.startswith("https:"):
            assert (page.parent / link.split("#")[0]).is_file(), link


BOXES = ".panel, .cluster, .odd, .moved, .glance > div, .overview > li, nav, header, footer"
SPILLED = """
const spilled = [];
for (const box of document.querySelectorAll(arguments[0])) {
  const edge = box.getBoundingClientRect();
  for (const inner of box.querySelectorAll('*')) {
    const at = inner.getBoundingClientRect();
    if (inner.closest('svg, .wide') || !at.width) continue;
    if (at.right > edge.right + 1 || at.left < edge.left - 1 || at.bottom > edge.bottom + 1)
      spilled.push(`${box.className} ${inner.tagName} ${inner.textContent.slice(0, 60)}`);
  }
}
return spilled;
"""


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_page_or_its_card(width: int, driver: Any, page: Path) -> None:
    show(driver, page, width)
    assert driver.execute_script("return document.documentElement.scrollWidth") == width
    assert driver.execute_script(SPILLED, BOXES) == []


TEXTS = """
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), small = [];
while (texts.nextNode()) {
  const text = texts.currentNode, parent = text.parentElement;
  if (!text.data.trim() || !parent.getClientRects().length) continue;
  const svg = parent.closest('svg');
  const at = svg && parent.getScreenCTM(), scale = svg ? Math.hypot(at.a, at.b) : 1;
  const size = parseFloat(getComputedStyle(parent).fontSize) * scale;
  if (size < arguments[svg ? 1 : 0]) small.push(`${size} ${text.data.slice(0, 40)}`);
}
return small;
"""


@pytest.mark.parametrize("width", WIDTHS)
def test_no_text_is_too_small(width: int, driver: Any, page: Path) -> None:
    show(driver, page, width)
    assert driver.execute_script(TEXTS, SMALLEST, SMALLEST_SVG) == []


PALE = """
const context = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
function rgba(colour) {
  context.clearRect(0, 0, 1, 1); context.fillStyle = colour; context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data];
}
function light(colour) {
  const [r, g, b] = colour.map(
    v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function behind(element) {
  for (let e = element; e; e = e.parentElement) {
    const colour = rgba(getComputedStyle(e).backgroundColor);
    if (colour[3] == 255) return colour;
  }
  return [255, 255, 255, 255];
}
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), pale = [];
while (texts.nextNode()) {
  const text = texts.currentNode, parent = text.parentElement;
  if (!text.data.trim() || parent.closest('svg, .zero') || !parent.getClientRects().length)
    continue;
  const [a, b] = [light(rgba(getComputedStyle(parent).color)), light(behind(parent))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < arguments[0]) pale.push(`${contrast.toFixed(2)} ${text.data.slice(0, 40)}`);
}
return pale;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_text_is_too_pale(scheme: str, driver: Any, page: Path) -> None:
    show(driver, page, scheme=scheme)
    assert driver.execute_script(PALE, CONTRAST) == []
