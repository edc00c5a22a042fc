# %% [markdown]
# # 1. The sphere
#
# The paper changes an auto-encoder in one place. Between encoder and decoder, the code z of an
# image is brought to length 1 (Eq. 4):
#
#     u = z/n,    n = √(z·z)         z, u (D,)
#
# This lesson derives the backward pass of Eq. 4, checks it, and looks at codes while they train.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np

from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.clustering.metrics import accuracy
from l2ae_core.data import load
from l2ae_core.figures.style import ANOMALY, CLASS_COLOURS, FAINT, GRID, INK, NORMAL, bare, dress
from l2ae_core.layers import L2Normalize
from l2ae_core.networks import Architecture, build
from l2ae_core.seeding import rngs
from l2ae_core.training.hooks import Hooks
from l2ae_core.training.loop import fit
from l2ae_core.training.optim import Adam

quick = "L2AE_EXAMPLE_QUICK" in os.environ  # a run in CI: enough to see that it works

# %% [markdown]
# ## The Jacobian, step by step
#
# The length first. From n² = Σ zⱼ²:
#
#     2n ∂n/∂zⱼ = 2zⱼ          so          ∂n/∂zⱼ = zⱼ/n = uⱼ
#
# Then the quotient uᵢ = zᵢ/n:
#
#     ∂uᵢ/∂zⱼ = δᵢⱼ/n − zᵢ/n² · ∂n/∂zⱼ = (δᵢⱼ − uᵢuⱼ)/n
#
# As a matrix J = (I − u uᵀ)/n, which is symmetric. A backward pass is given du = ∂loss/∂u and
# returns dz = Jᵀ du. Nobody needs the matrix:
#
#     dz = (du − u⟨u, du⟩)/n


# %%
def forward(z):
    """Return u (D,) and n. The sum of z², and not of |z|², lets complex numbers through."""
    n = np.sqrt((z * z).sum())
    return z / n, n


def backward(du, u, n):
    return (du - u * (u @ du)) / n


# %% [markdown]
# ## What it says
#
# * u⟨u, du⟩ is the part of du along u. It is taken away: u cannot leave the sphere, so the loss
#   can only ask for a direction on it. Hence dz ⊥ z, always.
# * A plain gradient step along −dz ⊥ z makes z longer: |z − η dz|² = |z|² + η²|dz|².
# * 1/n: the longer z, the smaller its gradient. Only the direction of z counts, so the network may
#   choose any length, and the training records it (`latent_norm_mean` of a run's history).

# %%
z, du = np.array([1.3, 0.9]), np.array([0.1, 0.75])
u, n = forward(z)
dz = backward(du, u, n)
print(f"⟨z, dz⟩ = {z @ dz:.1e}")

figure, ax = plt.subplots(figsize=(5, 4.2), layout="constrained")
ax.add_patch(plt.Circle((0, 0), 1, fill=False, color=FAINT))
for name, start, vector, colour in (
    ("z", 0 * z, z, INK),
    ("du", u, du, ANOMALY),
    ("du − u⟨u, du⟩", u, du - u * (u @ du), NORMAL),
    ("dz", z, dz, NORMAL),
):
    arrow = {"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0, "linewidth": 1.8}
    ax.annotate("", start + vector, start, arrowprops=arrow)
    side = "left" if name == "z" else "right"
    ax.text(*(start + vector + [0.04, 0.03]), name, color=colour, ha=side)
ax.plot(*u, "o", color=INK)
ax.text(*(u - [0.02, 0.11]), "u", color=INK)
ax.set(
    xlim=(-0.1, 1.65), ylim=(-0.1, 1.5), aspect="equal", title="The constraint in a backward pass"
)
bare(ax)
plt.show()

# %% [markdown]
# ## Checked by hand
#
# A derivative is checked by moving one zⱼ. The loss here is ⟨u, du⟩ for a random du, so its
# gradient is exactly dz.
#
#     forward difference   (f(z + h) − f(z))/h              error ~ h    and rounding ~ ε/h
#     central difference   (f(z + h) − f(z − h))/2h         error ~ h²   and rounding ~ ε/h
#     complex step         Im f(z + ih)/h                   error ~ h²,  nothing is subtracted
#
# The complex step follows from f(z + ih) = f(z) + ih f′(z) − …: its imaginary part is h f′(z), and
# no difference of nearly equal numbers is taken. With h = 1e-20 it is exact to the last digits.


# %%
def numeric(how, f, z, h):
    """Return the gradient (D,) of f at z (D,), one entry after the other."""
    e = np.eye(len(z))
    if how == "forward difference":
        return np.array([(f(z + h * ej) - f(z)) / h for ej in e])
    if how == "central difference":
        return np.array([(f(z + h * ej) - f(z - h * ej)) / (2 * h) for ej in e])
    return np.array([f(z + 1j * h * ej).imag / h for ej in e])


rng = np.random.default_rng(0)
z, du = rng.standard_normal((2, 10))
dz = backward(du, *forward(z))
figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
steps = np.logspace(-16, -1, 46)
hows = {  # colour, where the name stands
    "forward difference": (ANOMALY, (1e-4, 1e-4)),
    "central difference": ("#009E73", (5e-7, 1e-11)),
    "complex step": (NORMAL, (1e-10, 1e-14)),
}
for how, (colour, spot) in hows.items():
    off = [abs(numeric(how, lambda z: forward(z)[0] @ du, z, h) - dz).max() for h in steps]
    error = np.maximum(np.array(off) / abs(dz).max(), 1e-17)  # a log axis has no zero
    ax.loglog(steps, error, color=colour, marker=".")
    ax.text(*spot, how, color=colour, ha="right")
    print(
        f"{how:>18}: relative error {error.min():.0e} at best, with h = {steps[error.argmin()]:.0e}"
    )
dress(ax, x="step h", y="relative error of the gradient")
ax.set_ylim(1e-17, 10)
plt.show()

# The layer of the library: the same for a batch, and guarded at z = 0 by ε = 1e-6.
layer = L2Normalize()
u, cache = layer.forward(z[None])
np.testing.assert_allclose(layer.backward(du[None], cache)[0][0], dz, rtol=1e-9, atol=1e-10)
np.testing.assert_allclose(layer.jacobian(z[None])[0] @ du, dz, rtol=1e-9, atol=1e-10)

# %% [markdown]
# ## Codes while they train
#
# Six kinds of digits, a small dense network, and a code of two or three numbers, so that it can be
# drawn as it is. Each network is trained twice: without the constraint (u = z) and with it. No
# label takes part; colours are for us.

# %%
KINDS = (0, 3, 4, 6, 7, 8)
SHOWN = (0, 1, 2, 3) if quick else (0, 1, 5, 20, 60)  # epochs
digits = load("digits")
images, labels = (a[np.isin(digits.labels, KINDS)] for a in (digits.images, digits.labels))
colours = np.array(CLASS_COLOURS)[labels]


class Watch(Hooks):
    """Keeps the codes of all images before the training and after every epoch."""

    def __init__(self, model):
        self.model, self.codes = model, []

    def start(self, images, resumed):
        self.codes.append(self.model.encode(images))

    def after_epoch(self, images):
        self.codes.append(self.model.encode(images))
        return {}


def train(norm, latent_dim, seed):
    """Return the codes (epochs + 1, N, D) of a training, and k-means on the last ones."""
    random = rngs(seed)
    network = Architecture("dense", (8, 8, 1), latent_dim=latent_dim, norm=norm, hidden=(128, 64))
    watch = Watch(build(network, random.init))
    how = {"batch_size": 64, "optimizer": Adam(), "rng": random.shuffle, "progress": False}
    fit(watch.model, images, epochs=SHOWN[-1], hooks=watch, **how)
    return np.array(watch.codes), kmeans(watch.codes[-1], len(KINDS), rng=random.kmeans)


NORMS = {"none": "without the constraint", "l2": "with the constraint"}
runs = {(norm, D): train(norm, D, seed=0) for D in (2, 3) for norm in NORMS}


# %%
def stacked(u):
    """Move the points u (N, 2) of a circle outwards, so that none hides another."""
    sector = np.floor(np.arctan2(u[:, 1], u[:, 0]) / (2 * np.pi) * 150)
    order = np.lexsort((labels, sector))  # within a sector by kind
    first = np.searchsorted(sector[order], sector[order])  # of its sector
    place = np.empty(len(u))
    place[order] = np.arange(len(u)) - first
    return u * (1.03 + 0.8 * place / 60)[:, None]


def draw_plane(ax, u, norm):
    points = stacked(u) if norm == "l2" else u
    ax.add_patch(plt.Circle((0, 0), 1, fill=False, color=FAINT, linewidth=1))
    ax.scatter(*points.T, c=colours, s=5, alpha=0.8, linewidths=0)
    low, high = np.minimum(points.min(axis=0), -1), np.maximum(points.max(axis=0), 1)
    middle, side = (low + high) / 2, 0.54 * max(high - low)
    ax.set(xlim=middle[0] + [-side, side], ylim=middle[1] + [-side, side], aspect="equal")
    bare(ax)


def draw_space(ax, u, norm):
    angle, height = np.linspace(0, 2 * np.pi, 49), np.linspace(-np.pi / 2, np.pi / 2, 13)
    circle, half = np.exp(1j * angle)[:, None], np.exp(1j * height)  # meridians, parallels
    sphere = [(circle.real * half.real), (circle.imag * half.real), 0 * angle[:, None] + half.imag]
    ax.plot_wireframe(*sphere, rcount=24, ccount=13, color=GRID, linewidth=0.5)
    ax.scatter(*u.T, c=colours, s=5, linewidths=0)
    low, high = np.minimum(u.min(axis=0), -1), np.maximum(u.max(axis=0), 1)
    middle, side = (low + high) / 2, 0.5 * max(high - low)
    ax.set(**{f"{a}lim": (m - side, m + side) for a, m in zip("xyz", middle, strict=True)})
    ax.set_box_aspect((1, 1, 1), zoom=1.5)
    x, y, z = runs[norm, 3][0][-1].mean(axis=0)  # where the codes will lie: look from there
    ax.view_init(np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x)) + 20)
    ax.set_axis_off()


def small_multiples(D, draw, title, **how):
    figure = plt.figure(figsize=(2.2 * len(SHOWN), 5.6), layout="constrained")
    for part, norm in zip(figure.subfigures(2, 1), NORMS, strict=True):
        part.suptitle(NORMS[norm], fontsize=11, color=INK)
        for ax, epoch in zip(part.subplots(1, len(SHOWN), subplot_kw=how), SHOWN, strict=True):
            draw(ax, runs[norm, D][0][epoch], norm)
            ax.set_title(f"epoch {epoch}", fontsize=9, color=INK)
    dots = [plt.Line2D([], [], marker="o", linestyle="", color=CLASS_COLOURS[k]) for k in KINDS]
    figure.legend(dots, KINDS, loc="outside lower center", ncols=len(KINDS), frameon=False)
    figure.suptitle(title, color=INK)
    plt.show()


small_multiples(2, draw_plane, "Codes of two numbers, and the circle of radius 1")

# %%
small_multiples(3, draw_space, "Codes of three numbers", projection="3d")

# %% [markdown]
# ## Why k-means then suffices
#
# k-means compares squared distances. With |u| = 1:
#
#     |u − c|² = 1 + |c|² − 2 u·c
#
# so an image goes to the centre c with the largest u·c − |c|²/2: where centres are equally long, to
# the one at the smallest angle. Without the constraint |z| counts too: two images in one direction,
# at the lengths 3 and 8, are 5 apart, and a boundary may fall between them.

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 4.9), layout="constrained")
for ax, norm in zip(axes, NORMS, strict=True):
    codes, clustering = runs[norm, 2]
    draw_plane(ax, codes[-1], norm)
    sides = (ax.get_xlim(), ax.get_ylim())
    x, y = np.meshgrid(*(np.linspace(*side, 400) for side in sides))
    region = clustering.predict(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(x.shape)
    for j in range(len(KINDS)):
        ax.contour(x, y, region == j, levels=[0.5], colors=FAINT, linewidths=0.8)
    ax.plot(*clustering.centers.T, "X", color=INK, markersize=10, markeredgecolor="white")
    acc = accuracy(labels, clustering.labels)
    ax.set_title(f"{NORMS[norm]}: ACC {acc:.3f}", fontsize=11, color=INK)
figure.suptitle("Centres of k-means and what is nearest to them", color=INK)
plt.show()

# %% [markdown]
# One seed is one training. Here are three, the codes without the constraint also brought to length
# 1 *after* the training. With two numbers that is enough here; with ten of them, on USPS and MNIST,
# it is not: `benchmarks/RESULTS.md` has these columns for the paper's networks and more seeds.

# %%
print("ACC             without   l2 after training   with")
for D in (2, 3):
    for seed in (0,) if quick else (0, 1, 2):
        z, without = train("none", D, seed)
        u = z[-1] / np.linalg.norm(z[-1], axis=1, keepdims=True)
        after, (_, constrained) = kmeans(u, len(KINDS), rng=rngs(seed).kmeans), train("l2", D, seed)
        acc = [accuracy(labels, found.labels) for found in (without, after, constrained)]
        print("D = {}, seed {}:   {:.3f}         {:.3f}         {:.3f}".format(D, seed, *acc))
