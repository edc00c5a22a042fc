"""Tables of "Beyond the paper": warped images, self-labelling, from whatever runs there are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from agreement import SeedAgreement
from l2ae_core.paper.index import NAMES
from l2ae_core.paper.published import BEYOND_PAPER, TABLES
from l2ae_core.paper.statistics import correlation, paired_difference, summarize
from l2ae_core.paper.systems import BEYOND, SYSTEMS
from l2ae_core.paper.tables import Table, percent
from scores import Numbers

RECIPE, WARPED, BEST = "cae-l2", "cae-l2-warp", "cae-l2-warp-self"
MAIN = (RECIPE, WARPED, BEST)
CONCENTRATIONS = {  # of systems that differ from BEST in κ alone
    name: float(s.settings["concentration"])
    for name, s in BEYOND.items()
    if replace(s, title="", settings={**s.settings, "concentration": 0})
    == replace(BEYOND[BEST], title="", settings={**BEYOND[BEST].settings, "concentration": 0})
}
ABLATIONS = (BEST, *(name for name in BEYOND if name not in MAIN and name not in CONCENTRATIONS))
DATA = (*BEYOND_PAPER.data, "digits")
PUBLISHED: dict[str, Mapping[str | int, float]] = {  # ACC; the last without augmentation
    "ASPC-DA": {"usps": 0.982, "mnist": 0.988},
    "ConvDEC-DA": {"usps": 0.987, "mnist": 0.985},
    "JULE": {"usps": 0.950, "mnist": 0.964},
}


def systems(n: Numbers) -> Table:
    """Return the paper's recipe, warped images, self-labelling; the best published beside them."""
    rows = []
    paper = next(c for c in TABLES["table2"].columns if c.system == RECIPE).paper
    for data in DATA:
        ours = [row for s in MAIN if (row := _row(n, data, s, RECIPE))]
        if len(ours) > 1:  # more than the recipe
            others = {**PUBLISHED, "CAE-l2, the paper": paper}
            rows += [
                [NAMES[data], f"{name}, published" if name in PUBLISHED else name,
                 percent(acc[data]), *[""] * 5]
                for name, acc in others.items() if data in acc
            ] + ours  # fmt: skip
    title = "Beyond the paper: clustering accuracy"
    note = (
        "CAE-l2 is the paper's recipe. ACC and NMI by k-means on the codes; argmax q: by the "
        "assignment itself. Gain: in ACC over CAE-l2 of equal seed (first weights, k-means starts, "
        "not epochs), mean, 95 % interval of the mean (Student's t), pairs. Published: ASPC-DA and "
        "ConvDEC-DA augment, too, JULE does not. Shares in percent; mean ± sample standard "
        "deviation over seeds."
    )
    return Table("beyond", title, _columns("gain"), rows, note, 2)


def ablations(n: Numbers) -> Table:
    """Return what self-labelling is without one of its parts."""
    rows = []
    for data in DATA:
        found = [row for s in ABLATIONS if (row := _row(n, data, s, BEST))]
        if len(found) > 1:
            rows += found
    note = (
        "As above; difference: in ACC from the whole method (the first row) of equal seed. Other "
        "rows of self-labelling go on from CAE-l2 with warped images, too, unless they say "
        "otherwise. Warped no further: by the ranges of the training before. KL alone: without "
        "reconstruction, γ → ∞. Student's t: the assignment of DEC."
    )
    return Table("ablations", "What each part is worth", _columns("difference"), rows, note, 2)


def concentrations(n: Numbers) -> Table:
    """Return ACC against κ."""
    rows = []
    for data in DATA:
        if len(by_concentration(n, data)) < 2:
            continue
        for system, kappa in sorted(CONCENTRATIONS.items(), key=lambda item: item[1]):
            if row := _row(n, data, system, BEST):
                rows.append([row[0], f"{kappa:g}", *row[2:]])
    note = "As above; difference: in ACC from the default κ of equal seed."
    columns = [c if c != "system" else "κ" for c in _columns("difference")]
    return Table("kappa", "Sensitivity over κ", columns, rows, note, 1)


def agreement(found: Sequence[SeedAgreement]) -> Table:
    """Return what the agreement between seeds tells of their accuracy."""
    rows = []
    for a in sorted(found, key=lambda a: (DATA.index(a.data), [*SYSTEMS].index(a.system))):
        acc = np.array(a.acc)
        chosen = a.acc[a.seeds.index(a.medoid)]
        r = correlation(a.mean_nmi, a.acc)
        told = "" if r is None else _minus(f"{r:.2f}")
        apart = [f"{s}: {percent(a.acc[a.seeds.index(s)])}" for s in a.apart or ()]
        rows.append([
            NAMES[a.data], SYSTEMS[a.system].title, f"{len(a.seeds)} × {a.epochs}",
            f"{min(a.mean_nmi):.3f} – {max(a.mean_nmi):.3f}", told,
            f"{1 + int((acc > chosen).sum())} of {len(acc)}", ", ".join(apart),
            percent(float(acc.min())),
        ])  # fmt: skip
    columns = ["data", "system", "seeds × epochs", "mean NMI", "r with ACC",
               "rank of the run that agrees most", "stand apart", "lowest ACC"]  # fmt: skip
    note = (
        "Mean NMI of the clusters of a run with those of the other seeds, lowest and highest; no "
        "label is used for it. Rank in ACC of the run that `l2ae fit --seeds` keeps (1: the best). "
        "Stand apart: seeds that it warns of, and their ACC."
    )
    return Table("agreement", "Agreement between seeds", columns, rows, note, 2)


def _columns(change: str) -> list[str]:
    return ["data", "system", "ACC", "min – max", "NMI", "argmax q: ACC, NMI",
            f"{change}, 95 %, pairs", "seeds × epochs, rounds"]  # fmt: skip


def _row(n: Numbers, data: str, system: str, reference: str) -> list[str]:
    """Return the cells of a system; none without a run."""

    def scores(of: str, name: str) -> dict[int, float]:
        return n.find.scores("clustering", data, of, name)

    acc = scores(system, "acc")
    if not acc:
        return []
    s = summarize([*acc.values()])
    argmax = [scores(system, f"argmax.{name}") for name in ("acc", "nmi")]
    rounds, change = scores(system, "rounds"), ""
    gain = paired_difference(acc, scores(reference, "acc")) if system != reference else None
    if gain is not None:
        interval = " to ".join(map(percent, gain.interval)) if gain.interval else ""
        change = _minus(percent(gain.mean) + (f" ({interval}), " if interval else ", "))
        change += str(gain.count)
    epochs = next(iter(n.find.seeds("clustering", data, system, None).values())).run.epochs
    length = f"{s.count} × {epochs}"
    if rounds:
        length += f", {np.mean([*rounds.values()]):.0f}"
    return [
        NAMES[data], SYSTEMS[system].title,
        percent(s.mean) + (f" ± {percent(s.sd)}" if s.count > 1 else ""),
        f"{percent(s.least)} – {percent(s.most)}" if s.count > 1 else "",
        percent(_mean(scores(system, "nmi"))),
        ", ".join(percent(_mean(found)) for found in argmax) if all(argmax) else "",
        change, length,
    ]  # fmt: skip


def by_concentration(n: Numbers, data: str) -> dict[float, list[float]]:
    """Return ACC in percent of the seeds at each κ that was run."""
    found = {kappa: n.acc(data, system).tolist() for system, kappa in CONCENTRATIONS.items()}
    return {kappa: found[kappa] for kappa in sorted(found) if found[kappa]}


def _mean(scores: Mapping[int, float]) -> float:
    return float(np.mean([*scores.values()]))


def _minus(text: str) -> str:
    return text.replace("-", "−")
