"""The section "Beyond the paper": warped images and self-labelling, from whatever runs there are.

Tables and figures of systems without a run are left out, and the section where there is none.
Sentences are numbers and comparisons of the runs, made with them: none has to be checked.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from agreement import SeedAgreement
from beyond_tables import (
    BEST,
    DATA,
    MAIN,
    PUBLISHED,
    RECIPE,
    WARPED,
    ablations,
    agreement,
    by_concentration,
    concentrations,
    systems,
)
from l2ae_core.figures import SeedScores, agreement_scatter, sensitivity
from l2ae_core.paper.index import NAMES
from l2ae_core.paper.systems import BEYOND, SYSTEMS
from scores import Numbers

CHOSEN_ON = ("usps", 0)  # the run whose labels chose the settings of self-labelling
GOALS = {"usps": (98.5, 97.0), "mnist": (98.9, None)}  # mean ACC, ACC of every seed; in percent
FOURTH = "figure1-fourth-panel.png"  # in the folder of results
NOT_WARPED = "cae-l2-self"  # before self-labelling
KAPPA, AGREEMENT = "kappa.png", "agreement-{}.png"


def introduction() -> str:
    """Return what is done, with its settings."""
    before, then = (BEYOND[name].settings for name in (WARPED, BEST))
    ranges = _ranges(before["rotation"], before["shift"], before["scale"])
    return (
        f"The images of every mini-batch are warped at random ({ranges}), and the network "
        "reconstructs what it sees. Then it goes on with its own clusters as labels: a von "
        "Mises–Fisher assignment of clean images, sharpened, is the target of images that are "
        f"warped further ({_ranges(*then['warp'])}), for at most "
        f"{then['rounds']} rounds. `l2ae reproduce beyond` makes such runs, `l2ae fit "
        "--augment --self-label` one network. The warp and the rounds of self-labelling were "
        "chosen by the labels of USPS on seed 0, κ = 5 by those of a prototype on seeds 0 and 1; "
        "no label chose anything for the other seeds, nor for MNIST."
    )


def _ranges(rotation: float, shift: float, scale: float) -> str:
    """Return the ranges of a warp in words."""
    text = f"±{rotation:g}°, ±{100 * shift:g} % of a side"
    return text + (f", size ±{100 * scale:g} %" if scale else "")


def section(n: Numbers, agreements: Sequence[SeedAgreement], pictures: Sequence[str]) -> list[str]:
    """Return the parts of the section, none without a run; `pictures` are files that are there."""
    if not any(n.find.scores("clustering", d, s, "acc") for d in DATA for s in BEYOND):
        return []
    drawn = {*figures(n, agreements)}
    parts = ["## Beyond the paper", introduction(), _list(findings(n, agreements))]
    parts += [t.markdown() for t in (systems(n), ablations(n), concentrations(n)) if t.rows]
    if KAPPA in drawn:
        parts.append(f"![ACC by κ](results/{KAPPA})\n\n*Lines: means; dots: seeds.*")
    if agreements:
        parts.append(agreement(agreements).markdown())
    parts += [
        f"![Agreement with the other seeds against ACC, {NAMES[d]}](results/{name})"
        for d in DATA if (name := AGREEMENT.format(d)) in drawn
    ]  # fmt: skip
    if FOURTH in pictures:
        parts.append(
            f"![Figure 1 with the self-labelled network](results/{FOURTH})\n\n*Figure 1 with a "
            "panel d, the codes of the self-labelled network: `l2ae reproduce figure1 "
            "--fourth-panel`; here with 64 colours.*"
        )
    return [part for part in parts if part]


def figures(n: Numbers, agreements: Sequence[SeedAgreement]) -> dict[str, Figure]:
    """Return the figures for which there are runs, by the names of their files."""
    made = {}
    curves = {NAMES[d]: by_concentration(n, d) for d in DATA}
    curves = {name: runs for name, runs in curves.items() if len(runs) > 1}
    if curves:
        title = "CAE-l2, warped images, self-labelled"
        made[KAPPA] = sensitivity(curves, x="κ", y="clustering accuracy, %", title=title)
    for data in DATA:
        groups = {
            SYSTEMS[a.system].title: SeedScores(a.mean_nmi, [100 * v for v in a.acc], a.seeds)
            for a in agreements
            if a.data == data and a.system in MAIN
        }
        if groups:
            title = ", ".join([NAMES[data], *(groups if len(groups) == 1 else ())])  # no legend
            made[AGREEMENT.format(data)] = agreement_scatter(groups, title=title)
    return made


def findings(n: Numbers, agreements: Sequence[SeedAgreement]) -> list[str]:
    """Return sentences about the runs that there are."""
    return [
        sentence
        for data in DATA
        for sentence in (
            _result(n, data),
            _starts(n, data),
            _kappa(n, data),
            _warning(agreements, data),
        )
        if sentence
    ]


def _result(n: Numbers, data: str) -> str:
    """Say what self-labelling reaches, beside the recipe, warping alone, the best and the goal."""
    best, warped, recipe = (n.acc(data, s) for s in (BEST, WARPED, RECIPE))
    if not len(best):
        return ""
    text = f"**{NAMES[data]}: {best.mean():.2f} %** over {_seeds(len(best))}"
    text += f", none below {best.min():.2f}" if len(best) > 1 else ""
    if data == CHOSEN_ON[0] and len(best) > 1:
        seeds = n.find.scores("clustering", data, BEST, "acc")
        others = [100 * acc for seed, acc in seeds.items() if seed != CHOSEN_ON[1]]
        text += f", {np.mean(others):.2f} without the seed that settings were chosen on"
    for acc, what in ((warped, "warped images alone"), (recipe, "the paper's recipe")):
        text += f"; {acc.mean():.2f} with {what}" if len(acc) else ""
    text += "."
    a, b = (n.find.scores("clustering", data, s, "acc") for s in (BEST, WARPED))
    if pairs := a.keys() & b.keys():
        text += f" Self-labelling gains in {sum(a[s] > b[s] for s in pairs)} of {len(pairs)} pairs."
    if data in GOALS:
        text += _against_others(data, best.mean(), best.min())
    both = n.find.scores("clustering", data, BEST, "argmax.acc")
    argmax = 100 * np.array([both[seed] for seed in sorted(both)])
    return text + (
        f" k-means on the codes and argmax q differ by at most {np.abs(argmax - best).max():.2f} "
        "points."
    )


def _against_others(data: str, mean: float, least: float) -> str:
    """Say how a mean ACC in percent, and that of the worst seed, stand to the best and the goal."""
    name = max(PUBLISHED, key=lambda name: PUBLISHED[name][data])
    top = 100 * PUBLISHED[name][data]
    side = "above" if mean >= top else "below"
    text = f" That is {abs(mean - top):.2f} points {side} the best published, {name}'s {top:.1f}."
    goal, of_all = GOALS[data]
    text += f" Goal: {goal} in the mean, {_reached(mean - goal)}"
    if of_all is not None:
        text += f"; no seed below {of_all:g}, {_reached(least - of_all)}"
    return f"{text}."


def _starts(n: Numbers, data: str) -> str:
    """Say what self-labelling makes of networks that never saw a warped image."""
    before, after = (n.acc(data, NOT_WARPED, name) for name in ("start.acc", "acc"))
    best = n.acc(data, BEST)
    if not (len(before) and len(best)):
        return ""
    were, are = (", ".join(f"{v:.1f}" for v in acc) for acc in (before, after))
    return (
        f"**Self-labelling from networks that never saw a warped image, {NAMES[data]}**: {were} % "
        f"become {are}; from those that did, none of {_seeds(len(best))} ends below "
        f"{best.min():.2f}."
    )


def _kappa(n: Numbers, data: str) -> str:
    """Say how far accuracy depends on κ."""
    means = {kappa: float(np.mean(acc)) for kappa, acc in by_concentration(n, data).items()}
    if len(means) < 2:
        return ""
    best = max(means, key=lambda kappa: means[kappa])
    told = ", ".join(f"{means[kappa]:.2f} at {kappa:g}" for kappa in sorted(means))
    return f"**κ on {NAMES[data]}**: {told}; the best is {best:g}."


def _warning(agreements: Sequence[SeedAgreement], data: str) -> str:
    """Say whether the seeds that stand apart are those that fail."""
    told = []
    for a in agreements:
        if a.data != data or a.system not in MAIN or a.apart is None:
            continue
        worst = a.seeds[int(np.argmin(a.acc))]
        seeds = f"seed{'s' * (len(a.apart) > 1)} {', '.join(map(str, a.apart))}"
        warned = (
            f"{seeds} stand{'s' * (len(a.apart) == 1)} apart" if a.apart else "none stands apart"
        )
        found = "the worst is among them" if worst in a.apart else "the worst is not among them"
        told.append(f"{SYSTEMS[a.system].title}, {len(a.seeds)} seeds: {warned}"
                    + (f", {found}" if a.apart else ""))  # fmt: skip
    return f"**Agreement between seeds, {NAMES[data]}**: {'; '.join(told)}." if told else ""


def _reached(margin: float) -> str:
    return "reached" if margin >= 0 else f"missed by {-margin:.2g}"


def _seeds(count: int) -> str:
    return f"{count} seeds" if count > 1 else "1 seed"


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"* {item}" for item in items)
