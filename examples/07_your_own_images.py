# %% [markdown]
# # 7. Your own images
#
# From a folder of files to clusters, outliers, a page to show, and a model for another program.
# The folder here is made on the spot: letters in twenty fonts that come with matplotlib, as a
# scanner would leave them, with some things in it that do not belong. Put your own folder in its
# place, and skip the first cell.

# %%
import csv
import os
import shlex
from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from l2ae_core import load
from l2ae_core.cli import main
from l2ae_core.data import Preparation
from l2ae_core.data.look import look_at
from l2ae_core.figures.style import ANOMALY, INK, bare

quick = "L2AE_EXAMPLE_QUICK" in os.environ  # a run in CI: enough to see that it works
LETTERS, EACH = "ALOSTX", 15 if quick else 100
work = Path(mkdtemp(prefix="letters-"))
scans, incoming, runs = work / "scans", work / "incoming", work / "runs"
rng = np.random.default_rng(0)
ttf = Path(plt.matplotlib.get_data_path()) / "fonts" / "ttf"
names = ("DejaVuS*", "STIXGeneral*", "cm[brst][0-9s]*", "cmtt*")
fonts = [p for name in names for p in sorted(ttf.glob(f"{name}.ttf")) if "Display" not in p.name]


def scan(text, angle=None):
    """A letter in black on transparent paper, in some font, a little rotated and off the middle."""
    font = ImageFont.truetype(fonts[rng.integers(len(fonts))], 38)
    paper = Image.new("RGBA", (48, 48), (255, 255, 255, 0))
    at = tuple(24 + rng.integers(-1, 2, 2))
    ImageDraw.Draw(paper).text(at, text, (0, 0, 0, 255), font, anchor="mm")
    return paper.rotate(rng.uniform(-5, 5) if angle is None else angle, Image.Resampling.BICUBIC)


def noise():
    return Image.fromarray(rng.integers(0, 256, (48, 48), np.uint8))


def negative(text):
    white = Image.new("RGBA", (48, 48), "white")
    return ImageOps.invert(Image.alpha_composite(white, scan(text)).convert("L"))


for folder in (scans, incoming):
    folder.mkdir()
for i, letter in enumerate(LETTERS * EACH):
    scan(letter).save(scans / f"{i:04d}.png")
planted = {f"odd-{i}.png": scan(text) for i, text in enumerate("%@&")}
planted |= {"odd-3.png": scan("T", 90), "odd-4.png": noise(), "odd-5.png": negative("A")}
for name, image in planted.items():
    image.save(scans / name)
for name in ("blank-a.png", "blank-b.png"):
    Image.new("L", (60, 48), "white").save(scans / name)
(scans / "copy.png").write_bytes((scans / "0003.png").read_bytes())
(scans / "broken.png").write_bytes((scans / "0004.png").read_bytes()[:200])
print(len([*scans.iterdir()]), "files in", scans)

# %% [markdown]
# ## Look, and prepare
#
# A network wants images of one size and kind. Options say how they get there: here 24×24, grey,
# white behind transparent pixels and in margins. They are kept with the run, and whatever is shown
# to the network later is prepared in the same way. `look` lists what no training can use, and says
# what a training would be. The commands work in a terminal, too.


# %%
def l2ae(command):
    """Run a command of `l2ae` in this process."""
    print("$ l2ae", command)
    assert main([*shlex.split(command), "--quiet"]) == 0


prepared = "--size 24 --grey --background white --batch-size 32"
l2ae(f"look {scans} {prepared} --skip-unreadable")

# %%
preparation = Preparation(size=(24, 24), grey=True, background="white")
dataset = load(scans, preparation=preparation, skip_unreadable=True, progress=False)
files = np.array(dataset.sample_names)
figure, axes = plt.subplots(3, 12, figsize=(9, 2.5), layout="constrained")
chosen = rng.choice(len(dataset), axes.size, replace=False)
for ax, image in zip(axes.flat, dataset.images[chosen], strict=True):
    ax.imshow(image[..., 0], cmap="gray", vmin=0, vmax=1)
    bare(ax)
figure.suptitle("Some images as the network will see them", color=INK)
plt.show()

# Blank pages would be the most normal images of all. Away with them, and with what is broken.
blank = files[look_at(dataset.images).constant]
for name in {*blank, "broken.png", "copy.png"}:
    (scans / name).unlink()

# %% [markdown]
# ## Fit
#
# Three seeds, since some trainings end in a bad place; how far their clusters agree tells which,
# without a label.

# %%
epochs, seeds = (2, 2) if quick else (60, 3)
how = f"--epochs {epochs} --clusters {len(LETTERS)} --seeds {seeds}"
l2ae(f"fit --data {scans} {prepared} {how} --out {runs}")

# %% [markdown]
# Six clusters were a guess. The network does not depend on it, so other numbers cost no training.
# These are hints: a good number has a high silhouette, and k-means agrees with itself.

# %%
l2ae(f"cluster {runs} --clusters 3-10")

# %% [markdown]
# ## What is in the clusters
#
# The most typical images of each cluster, and on the right its least typical ones. If two kinds
# share a row, ask for more clusters, if a kind has two rows, for fewer; no training is needed:
# `l2ae fit --resume --clusters 7 --out RUNS`.

# %%
l2ae(f"score {runs} --out {work / 'scores.csv'}")
with (work / "scores.csv").open(newline="") as file:
    rows = list(csv.DictReader(file))
v = np.array([float(row["normality"]) for row in rows])
cluster = np.array([int(row["cluster"]) for row in rows])
pixels = {name: dataset.images[i, ..., 0] for i, name in enumerate(files)}


def show(ax, row, title=""):
    ax.imshow(pixels[row["file"]], cmap="gray", vmin=0, vmax=1)
    ax.set_title(title, fontsize=7, color=INK)
    bare(ax)


figure, axes = plt.subplots(len(LETTERS), 16, figsize=(9, 4.2), layout="constrained")
for k, line in enumerate(axes):
    members = np.flatnonzero(cluster == k)
    members = members[v[members].argsort()[::-1]]
    line[0].set_ylabel(f"{k}: {len(members)}", rotation=0, ha="right", va="center", color=INK)
    for ax, index in zip(line, [*members[:12], *members[-4:]], strict=False):
        show(ax, rows[index])
    for ax in line:
        bare(ax)
figure.suptitle("Clusters and their sizes: twelve most typical, four least typical", color=INK)
plt.show()

# %% [markdown]
# ## What does not belong
#
# Two signs: far from every cluster (v of Eq. 5 is low), and badly reconstructed (the squared error
# is high). What is unlike all training images may have a code amid a cluster, and only the second
# sign; what is easy to draw may have only the first. Thresholds are set so that a share of the
# training images, `--fpr`, lies outside. What was planted has an orange title.

# %%
l2ae(f"score {runs} --fpr 0.02 --top 16 --out {work / 'top.csv'}")
with (work / "top.csv").open(newline="") as file:
    top = list(csv.DictReader(file))
figure, axes = plt.subplots(2, 8, figsize=(9, 3.2), layout="constrained")
for ax, row in zip(axes.flat, top, strict=True):
    show(
        ax, row, f"{row['file']}\n{row['reason'] or 'normal'}".replace("far from every", "far from")
    )
    if row["file"] in planted:
        ax.title.set_color(ANOMALY)
figure.suptitle("The least normal images, and why", color=INK)
plt.show()
caught = {row["file"] for row in top} & set(planted)
print(f"{len(caught)} of {len(planted)} planted images are among the {len(top)} least normal")

# %% [markdown]
# ## New images
#
# Another program needs no more than NumPy, and Pillow for files: `l2ae_core.inference` prepares
# images as for the training, and gives clusters and verdicts.

# %%
from l2ae_core.inference import load as load_run

new = {"A": scan("A"), "S": scan("S"), "X": scan("X"), "8": scan("8"), "noise": noise(),
       "negative": negative("O")}  # fmt: skip
for name, image in new.items():
    image.save(incoming / f"{name}.png")
run = load_run(runs)
scores = run.score([incoming / f"{name}.png" for name in new], fpr=0.02)
for name, k, value, reason in zip(
    new, scores.cluster, scores.normality, scores.reason, strict=True
):
    print(f"{name:>9}: cluster {k}, v {value:.3f}, {reason or 'normal'}")

# %% [markdown]
# ## To show, and to deploy
#
# A page with all of this and more, without any code; and one ONNX file with network, clusters and
# verdict, which is written only if onnxruntime gives the numbers that we get (`l2ae[onnx]`).

# %%
from importlib.util import find_spec

l2ae(f"report {runs}")
if find_spec("onnx") and find_spec("onnxruntime"):
    l2ae(f"export {runs} {work / 'letters.onnx'}")
print("look into", work)
