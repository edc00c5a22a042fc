"""Tables of what is behind the tables of the paper; their claims are checked."""

import numpy as np

from l2ae_core.paper.index import NAMES
from l2ae_core.paper.published import TABLES
from l2ae_core.paper.statistics import correlation
from l2ae_core.paper.systems import SYSTEMS
from l2ae_core.paper.tables import Table
from l2ae_kernels.arrays import Array
from scores import PAIRS, Numbers, confusion, require


def glance(n: Numbers) -> Table:
    """The rows of the README: the paper's, and what goes beyond it."""

    def spread(values: Array) -> str:
        return f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"

    published = {c.title: c.paper for c in TABLES["table4"].columns}
    of = {c.system: c.paper for t in ("table1", "table2") for c in TABLES[t].columns if c.paper}
    rows = []
    for data, one, other in PAIRS[:3]:
        plain, with_l2 = n.acc(data, other), n.acc(data, one)
        require(np.all(with_l2 > plain), f"{one} is ahead of {other} on {data}")
        paper = [of[s][data] for s in (other, one)]
        network = "dense layers of slope 0.01" if one.startswith("ae") else "convolutions"
        rows.append([f"clustering accuracy, {NAMES[data]}, {network}, %",
                     "{:.2f} → {:.2f}".format(*(100 * share for share in paper)),
                     f"{spread(plain)} → {spread(with_l2)} ({len(plain)} seeds)"])  # fmt: skip
    auc = [n.by_digit(s, "cosine.auc").mean() for s in ("cae", "cae-l2")]
    paper = [float(np.mean(list(published[f"{s}, cluster"].values()))) for s in ("CAE", "CAE-l2")]
    rows.append(["finding a digit of which a tenth is left in training, MNIST, mean AUC",
                 *("{:.3f} → {:.3f}".format(*v) for v in (paper, auc))])  # fmt: skip
    for data in ("usps", "mnist"):
        acc = n.acc(data, "cae-l2-warp-self")
        if len(acc) > 1:
            link = "[beyond the paper](benchmarks/RESULTS.md#beyond-the-paper)"
            rows.append([f"{link}, {NAMES[data]}, %", "", f"{spread(acc)} ({len(acc)} seeds)"])
    note = (
        "*Without → with the constraint; no label is used in training. Beyond the paper: warped "
        "images, then self-labelling.*"
    )
    return Table("glance", "", ["", "paper", "here"], rows, note, 1)


def verdicts(n: Numbers) -> Table:
    """What the paper says, and what came out here."""
    ahead = [n.acc(d, a) > n.acc(d, b) for d, a, b in PAIRS]
    require(np.all(np.concatenate(ahead)), "the constraint is ahead in every pair")
    post = {p: n.acc(*p, "post_hoc_l2.acc") - n.acc(*p) for p in (
        ("usps", "cae"), ("mnist", "ae"), ("mnist", "ae-keras-slope"),
        ("mnist", "cae"))}  # fmt: skip
    require(all(np.all(v > 0) for p, v in post.items() if p != ("mnist", "cae"))
            and np.all(post["mnist", "cae"] < 0), "unit length after training helps, but on MNIST "
            "with convolutions")  # fmt: skip
    acc = {s: n.acc("mnist", s) for s in (
        "dec-keras-slope", "idec-keras-slope", "dcec", "cae-l2", "ae-l2", "ae-l2-keras-slope",
        "cae-ln")}  # fmt: skip
    require(n.acc("usps", "dcec").max() < n.acc("usps", "cae-l2").mean(), "DCEC is behind on USPS")
    require((acc["dcec"] > acc["cae-l2"]).sum() == 2, "DCEC is ahead in two seeds of three")
    dec = [acc[f"{s}-keras-slope"].mean() for s in ("dec", "idec")]
    require(acc["ae-l2-keras-slope"].mean() < min(dec) and max(dec) < acc["ae-l2"].mean(),
            "DEC and IDEC of slope 0.3 are between the two slopes")  # fmt: skip
    require(max(n.acc("mnist", s).max() for s in ("dec", "idec")) < acc["ae-l2"].min(),
            "DEC and IDEC of slope 0.01 are behind the constraint")  # fmt: skip
    require(acc["cae-ln"].mean() > 95, "layer normalization on the embedding is as good")
    l2 = n.by_digit("cae-l2", "cosine.auc")
    error = n.by_digit("cae-l2", "reconstruction.auc")
    plain = {s: n.by_digit("cae", f"{s}.auc") for s in ("cosine", "dot", "euclidean")}
    count = {s: int((l2 > v).sum()) for s, v in plain.items()}
    normals = n.by_digit("ae-clean", "reconstruction.auc")
    rows = [
        ["The constraint makes clusters that k-means finds",
         f"**holds**: ahead in all {sum(map(len, ahead))} pairs, with dense layers and with "
         "convolutions, on MNIST and USPS"],
        ["Unit length after training does not help",
         "**it helps little, and not everywhere**: "
         f"{post['usps', 'cae'].mean():.1f} points on USPS, {post['mnist', 'ae'].mean():.1f} with "
         f"dense layers of slope 0.01, {post['mnist', 'ae-keras-slope'].mean():.1f} of slope 0.3, "
         f"−{-post['mnist', 'cae'].mean():.1f} with convolutions on MNIST"],
        ["It is better than methods with a clustering loss",
         "**in part**: better than DCEC on USPS; on MNIST DCEC is ahead in two seeds of three; DEC "
         "and IDEC of slope 0.3 are ahead of the constraint with this slope, those of slope 0.01 "
         "(one seed) behind it with that"],
        ["No other normalization does it", "**batch normalization does not; layer normalization on "
         "the embedding does**, without affine parameters that is l2 of z minus its mean"],
        ["Clusters find anomalies that the reconstruction error misses",
         f"**holds in the mean**, and for {(l2 > error).sum()} digits of 10 (in the paper for "
         "all); much of the mean is the 1"],
        ["There, too, the constraint helps, for nine digits of ten",
         "**depends on the score of the network without it**: ahead for "
         f"{count['cosine']} digits by cosine, {count['dot']} by dot product, "
         f"{count['euclidean']} by distance"],
        ["It finds more than AE and VAE, though these are trained on normal images alone",
         "**in the mean, not digit by digit**: AE, of slope 0.3, is ahead for "
         f"{(normals > l2).sum()} digits of 10"],
        ["The model of the lowest reconstruction error is taken",
         "**between seeds no rule**: see the table of picks"],
    ]  # fmt: skip
    return Table("verdicts", "", ["the paper", "here"], rows, "", 2)


def four_and_nine(n: Numbers) -> Table:
    """On MNIST: are 4 and 9 two clusters?"""
    systems = ("cae", "cae-l2", "dcec", "dcec-l2", "ae", "ae-l2", "dec", "idec", "dec-l2",
               "idec-l2", "ae-keras-slope", "ae-l2-keras-slope", "dec-keras-slope",
               "idec-keras-slope", "gmvae")  # fmt: skip
    rows = []
    for system in systems:
        counts = n.confusions("mnist", system)
        if not counts or any(c.shape[1] < len(c) for c in counts):  # no cluster for every class
            continue
        pairs = [c[np.ix_([4, 9], [4, 9])] for c in counts]
        own = [f"{100 * np.trace(c) / c.sum():.0f}" for c in pairs]
        mixed = np.mean([100 * (c[4, 9] + c[9, 4]) / c.sum() for c in counts])
        acc = [f"{a:.1f}" for a in n.acc("mnist", system)]
        rows.append([SYSTEMS[system].title, ", ".join(acc), ", ".join(own), f"{mixed:.1f}"])
    note = (
        "Own cluster: of the 4s and 9s in the clusters of either, the share in its own, seed by "
        "seed (a coin: 50). Mixed: 4s and 9s in the cluster of the other, of all images, in "
        "percent, which is what they cost of ACC, mean over seeds."
    )
    columns = ["MNIST", "ACC by seed", "own cluster, %", "mixed, points"]
    return Table("four-and-nine", "", columns, rows, note, 3)


def zeros(n: Numbers) -> Table:
    """On USPS: are the zeros, a sixth of the images, one cluster?"""
    runs = [r for r in n.results
            if (r.run.task, r.run.data) == ("clustering", "usps")]  # fmt: skip
    counts = [confusion(r) for r in runs]
    second = 100 * np.array([np.sort(c[0])[-2] / c[0].sum() for c in counts])
    acc = np.array([r.scores["acc"] for r in runs])
    rows = []
    for name, part in (("below 80 %", acc < 0.8), ("80 to 90 %", (acc >= 0.8) & (acc <= 0.9)),
                       ("above 90 %", acc > 0.9)):  # fmt: skip
        share = f"{second[part].min():.1f} – {second[part].max():.1f}" if part.any() else ""
        lost = [k for c, here in zip(counts, part, strict=True) if here
                for k in range(10) if c[0, k] > c[k, k]]  # fmt: skip
        taken = ", ".join(f"{k}: {lost.count(k)}" for k in sorted(set(lost), key=lost.count)[::-1])
        rows.append([name, str(int(part.sum())), share, taken])
    note = (
        "All runs on USPS, of every system. Second cluster: the share of the zeros in the second "
        "largest cluster that has them. Taken: digits whose cluster has more zeros than images of "
        "the digit, and in how many runs."
    )
    columns = ["ACC", "runs", "zeros in a second cluster, %", "clusters taken"]
    return Table("zeros", "", columns, rows, note, 1)


def picks(n: Numbers) -> Table:
    """What picks a run without labels: the rank in accuracy of the run that it picks."""
    rows = []
    for data, *systems in PAIRS:
        for system in systems:
            acc = n.acc(data, system)
            cells = []
            for by in ("reconstruction_mse", "inertia"):
                values = n.scores(data, system, by)
                rest = np.delete(np.arange(len(acc)), acc.argmin())
                some = (
                    correlation(list(values), list(acc)),
                    correlation(list(values[rest]), list(acc[rest])),
                )
                r = ["" if v is None else f"{v:.2f}".replace("-", "−") for v in some]
                cells += [
                    f"{n.rank(data, system, by)} of {len(acc)}",
                    r[0] + (f" ({r[1]})" if r[1] else ""),
                ]
            rows.append([NAMES[data], SYSTEMS[system].title, *cells])
    note = (
        "Rank in accuracy of the run with the lowest loss, and with the lowest inertia (1: the "
        "best). r: correlation of ACC with it over seeds, in brackets without the worst run."
    )
    columns = ["data", "system", "rank by loss", "r", "rank by inertia", "r"]
    return Table("picks", "", columns, rows, note, 2)
