"""Every system that the tables compare, as data: a name, the method, its settings.

A setting that is not named here has the default of the method (`l2ae_core.settings.DEFAULTS` for a
network). Settings are JSON values and part of a run's name, so that a change here makes new runs.
The slope of a dense network is named always, also in what goes on from that network, so that runs
of two slopes never have one name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

MethodName: TypeAlias = Literal[
    "network",
    "refined",
    "self-labelled",
    "large-clusters",
    "vae",
    "drae",
    "gmvae",
    "pixels",
    "pca",
    "forest",
    "neighbours",
]


@dataclass(frozen=True)
class System:
    """One system of the tables."""

    title: str
    method: MethodName
    settings: Mapping[str, Any] = field(default_factory=dict)
    start: str | None = None  # the system whose trained network it goes on from
    normals_only: bool = False  # detection: trained on normal images alone, as Table V has it
    trained: bool = True  # whether the number of epochs means anything


def _network(title: str, model: str, norm: str, **settings: Any) -> System:
    return System(title, "network", {"model": model, "norm": norm, **settings})


def _refined(title: str, variant: str, start: str, **settings: Any) -> System:
    return System(title, "refined", {"variant": variant, **settings}, start=start)


def _normalized(norm: Literal["batch", "layer"]) -> dict[str, System]:
    """The grid of Table III: on the embedding or on every layer, without and with γ, β."""
    short = {"batch": "bn", "layer": "ln"}[norm]
    systems = {}
    for layers, hidden in (("", "none"), ("-all", norm)):
        for suffix, affine in (("", False), ("-affine", True)):
            where = "every layer" if layers else "embedding"
            title = f"CAE, {norm}-norm, {where}{', affine' if affine else ''}"
            systems[f"cae-{short}{layers}{suffix}"] = _network(
                title, "cae", norm, hidden_norm=hidden, affine=affine
            )
    return systems


def _vae(latent: int, likelihood: str) -> System:
    return System(
        f"VAE, {likelihood.capitalize()}, {latent} latents", "vae",
        {"latent_dim": latent, "likelihood": likelihood}, normals_only=True,
    )  # fmt: skip


WARPED = {"augment": True, "rotation": 10.0, "shift": 0.1, "scale": 0.0}
SELF_LABELLED = {
    "rounds": 40, "tol": 1e-3, "concentration": 5.0, "gamma": 0.1, "warp": [20.0, 0.15, 0.2],
}  # fmt: skip


def _self_labelled(title: str, start: str = "cae-l2-warp", **settings: Any) -> System:
    return System(title, "self-labelled", SELF_LABELLED | settings, start)


# Beyond the paper: warped images, then self-labelling, and what each part of it is worth.
BEYOND: dict[str, System] = {
    "cae-l2-warp": _network("CAE-l2, warped images", "cae", "l2", **WARPED),
    "cae-l2-warp-self": _self_labelled("CAE-l2, warped images, self-labelled"),
    "cae-l2-self": _self_labelled("self-labelled, not warped before", "cae-l2"),
    "cae-l2-warp-self-narrow": _self_labelled(
        "self-labelled, warped no further", warp=[10.0, 0.1, 0.0]
    ),
    "cae-l2-warp-self-clean": _self_labelled("self-labelled, warped before alone", warp=None),
    "cae-l2-warp-self-kl": _self_labelled("self-labelled by KL alone", gamma=None),
    "cae-l2-warp-self-student": _self_labelled(
        "self-labelled by Student's t", assignment="student"
    ),
    "cae-l2-warp-self-student-10": _self_labelled(
        "self-labelled by Student's t of scale 10", assignment="student", scale=10.0
    ),
    "cae-warp": _network("CAE, warped images", "cae", "none", **WARPED),
    "cae-warp-self-student": _self_labelled(
        "CAE, self-labelled by Student's t", "cae-warp", assignment="student"
    ),
    **{
        f"cae-l2-warp-self-{k:g}": _self_labelled(f"self-labelled, κ = {k:g}", concentration=k)
        for k in (2.0, 10.0, 20.0)
    },
}
LATENT_WIDTHS = (2, 10, 32, 200)

SYSTEMS: dict[str, System] = {
    "ae": _network("AE", "dense", "none", slope=0.01),
    "ae-l2": _network("AE-l2", "dense", "l2", slope=0.01),
    "ae-keras-slope": _network("AE, slope 0.3", "dense", "none", slope=0.3),
    "ae-l2-keras-slope": _network("AE-l2, slope 0.3", "dense", "l2", slope=0.3),
    "cae": _network("CAE", "cae", "none"),
    "cae-l2": _network("CAE-l2", "cae", "l2"),
    **_normalized("batch"),
    **_normalized("layer"),
    "dec": _refined("DEC", "dec", "ae", slope=0.01),
    "idec": _refined("IDEC", "idec", "ae", slope=0.01),
    "dcec": _refined("DCEC", "dcec", "cae"),
    "dec-l2": _refined("DEC from AE-l2", "dec", "ae-l2", slope=0.01),
    "idec-l2": _refined("IDEC from AE-l2", "idec", "ae-l2", slope=0.01),
    "dcec-l2": _refined("DCEC from CAE-l2", "dcec", "cae-l2"),
    "dec-keras-slope": _refined("DEC, slope 0.3", "dec", "ae-keras-slope", slope=0.3),
    "idec-keras-slope": _refined("IDEC, slope 0.3", "idec", "ae-keras-slope", slope=0.3),
    **BEYOND,
    "cae-l2-warp-large": System(
        "CAE-l2, warped images, large clusters",
        "large-clusters",
        {"clusters": 30, "share": 0.9, "clusterings": 10},
        "cae-l2-warp",
    ),
    **{f"vae-{d}-{p}": _vae(d, p) for d in LATENT_WIDTHS for p in ("bernoulli", "gaussian")},
    "ae-clean": System(
        "AE, slope 0.3, normal images only",
        "network",
        {"model": "dense", "norm": "none", "slope": 0.3},
        normals_only=True,
    ),
    "drae": System("DRAE", "drae", {"model": "cae", "norm": "none"}),
    "gmvae": System("GMVAE", "gmvae", {"components": 14}),
    "pixels": System("k-means on pixels", "pixels", trained=False),
    "pca": System("PCA", "pca", {"components": 10}, trained=False),
    "forest": System("isolation forest on pixels", "forest", {"trees": 100}, trained=False),
    "neighbours": System(
        "nearest neighbours on pixels", "neighbours", {"neighbours": 5}, trained=False
    ),
}


def find_system(name: str) -> System:
    """Return a system by name; ValueError, with all names, for an unknown one."""
    if name not in SYSTEMS:
        raise ValueError(f"reproduce: no system {name!r}; expected one of {', '.join(SYSTEMS)}")
    return SYSTEMS[name]
