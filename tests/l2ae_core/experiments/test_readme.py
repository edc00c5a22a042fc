"""The README says what the result files say: in its tables, and in the sentences above them."""

import re
import runpy

import numpy as np
import pytest

from l2ae_core.bench.machine import ROOT
from l2ae_core.experiments import read_results
from l2ae_core.experiments.finder import Finder
from l2ae_core.experiments.paper import DIGITS, TABLES
from l2ae_core.experiments.statistics import correlation, paired_difference
from l2ae_core.experiments.systems import LATENT_WIDTHS

SCRIPT = ROOT / "benchmarks/paper_tables.py"
pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="not a checkout")


def test_the_tables_of_the_readme_are_those_of_the_results():
    module = runpy.run_path(str(SCRIPT))
    text = module["readme"]()
    assert text == module["README"].read_text(encoding="utf-8"), "run benchmarks/paper_tables.py"
    assert "CAE-l2 − CAE" in text


class Numbers:
    """What the sentences are made of: percent with one digit, in the order of the seeds."""

    def __init__(self):
        self.results = read_results(ROOT / "benchmarks/results/runs")
        self.find = Finder(self.results)

    def scores(self, data, system, score="acc"):
        found = self.find.scores("clustering", data, system, score)
        return np.array([found[seed] for seed in sorted(found)])

    def acc(self, data, system, score="acc"):
        return 100 * self.scores(data, system, score)

    def mean(self, data, system, score="acc"):
        return f"{self.acc(data, system, score).mean():.1f}"

    def gain(self, data, one, other):
        both = self.find.pairs(data, one, other)
        d = paired_difference(*({s: r.scores["acc"] for s, r in f.items()} for f in both))
        low, high = d.interval
        return f"{100 * d.mean:.1f}", f"{100 * low:.1f} – {100 * high:.1f}"

    def r(self, data, system, score, without_worst=False):
        x, y = self.scores(data, system, score), self.scores(data, system)
        if without_worst:
            x, y = np.delete(x, y.argmin()), np.delete(y, y.argmin())
        r = correlation(x, y)
        return f"{r:.2f}".replace("-", "−")

    def picked(self, data, system, by):
        """The place in accuracy of the run that is lowest by something, and of how many."""
        acc = self.acc(data, system)
        return 1 + (acc > acc[self.scores(data, system, by).argmin()]).sum(), len(acc)

    def apart(self, data, system, i, j):
        """Of the images of i and j in the clusters of either, those in their own: seed by seed."""
        found = self.find.seeds("clustering", data, system, None)
        counts = [np.array(found[seed].details["confusion"]) for seed in sorted(found)]
        pairs = [c[np.ix_([i, j], [i, j])] for c in counts]
        return [f"{100 * np.trace(c) / c.sum():.0f}" for c in pairs]

    def by_digit(self, system, score, epochs=None):
        """The mean over partitions, digit by digit, of the longest runs or those of some epochs."""
        some = [r for r in self.results if r.config["epochs"] == epochs]
        find = self.find if epochs is None else Finder(some)
        found = [find.scores("detection", "mnist", system, score, d) for d in DIGITS]
        return np.array([np.mean(list(f.values())) for f in found])


COUNTS = {2: "two", 3: "three", 4: "four", 5: "five", 8: "eight", 9: "nine", 10: "ten"}


def spread(values):
    return f"{min(values):.1f}", f"{max(values):.1f}"


def each(values):
    return tuple(f"{v:.1f}" for v in values)


def claims(n):
    """The table of claims."""
    pairs = [("usps", "cae-l2", "cae"), ("mnist", "cae-l2", "cae"), ("mnist", "ae-l2", "ae"),
             ("mnist", "ae-l2-small-slope", "ae-small-slope")]  # fmt: skip
    usps, conv, dense, small = (n.gain(*pair)[0] for pair in pairs)
    yield f"{usps} points on USPS, {conv} on MNIST with convolutions, {dense} or, at slope 0.01, "
    ahead = np.concatenate([n.acc(d, a) > n.acc(d, b) for d, a, b in pairs])
    yield f"{small} with dense layers; l2 is ahead in all {len(ahead)} pairs"
    assert np.all(ahead)
    plain = ("usps", "cae"), ("mnist", "ae"), ("mnist", "ae-small-slope"), ("mnist", "cae")
    after = [n.acc(*of, "after.acc") - n.acc(*of) for of in plain]
    usps, *both, conv = (gain.mean() for gain in after)
    yield f"{usps:.1f} points on USPS (ahead for all {COUNTS[len(after[0])]} seeds)"
    dense = np.concatenate(after[1:3])
    yield "{:.1f} and, at slope 0.01, {:.1f} with dense layers ".format(*both)
    yield f"(for all {COUNTS[len(dense)]}), −{-conv:.1f} with convolutions on MNIST (behind for all"
    assert np.all(after[0] > 0)
    assert np.all(dense > 0)
    assert np.all(after[3] < 0)
    yield f"better than DCEC on USPS ({n.mean('usps', 'dcec')} %)"
    assert n.acc("usps", "dcec").max() < n.acc("usps", "cae-l2").mean()
    yield f"({n.mean('mnist', 'dcec')} %, and DCEC ahead in two seeds of three)"
    assert (n.acc("mnist", "dcec") > n.acc("mnist", "cae-l2")).sum() == 2
    refined = [n.acc("mnist", s).mean() for s in ("dec", "idec")]
    yield "behind DEC and IDEC ({:.1f} and {:.1f} %) at their slope of 0.3".format(*refined)
    steep, small = (n.acc("mnist", s).mean() for s in ("ae-l2", "ae-l2-small-slope"))
    assert steep < min(refined) < max(refined) < small
    yield f"on the embedding does** ({n.mean('mnist', 'cae-ln')} % on MNIST)"
    l2, error = (n.by_digit("cae-l2", f"{s}.auc") for s in ("cosine", "reconstruction"))
    rest = [np.delete(v, 1).mean() for v in (l2, error)]
    yield f"AUC {l2.mean():.3f} against {error.mean():.3f}, ahead for {(l2 > error).sum()} digits"
    yield "without the 1 it is {:.3f} against {:.3f} |".format(*rest)
    words = {"cosine": "cosine {:.3f} (the constraint is ahead for {} digits of 10)",
             "dot": "dot product {:.3f} ({})", "euclidean": "distance {:.3f} ({})"}  # fmt: skip
    for score, told in words.items():
        with_l2, plain = (n.by_digit(system, f"{score}.auc") for system in ("cae-l2", "cae"))
        yield told.format(plain.mean(), (with_l2 > plain).sum())
    picks = [n.picked(*of, "reconstruction_mse") for of in (
        ("mnist", "ae-l2"), ("mnist", "cae-l2"), ("usps", "cae-l2"))]  # fmt: skip
    assert picks == [(1, 5), (1, 3), (5, 10)]
    rank, of = n.picked("mnist", "ae-l2-small-slope", "reconstruction_mse")
    assert rank == of
    yield f"the worst of {COUNTS[of]} at slope 0.01 |"


def constraint(n):
    (usps, usps_interval), (mnist, interval) = (
        n.gain(data, "cae-l2", "cae") for data in ("usps", "mnist")
    )
    (least, most), (l2_least, l2_most) = (
        spread(n.acc("mnist", system)) for system in ("cae", "cae-l2")
    )
    after = {d: n.acc(d, "cae", "after.acc").mean() - n.acc(d, "cae").mean()
             for d in ("usps", "mnist")}  # fmt: skip
    yield f"is worth {float(usps):.0f} points on USPS**, 95 % interval {usps_interval} over ten"
    yield f"network from {n.mean('mnist', 'cae')} to {n.mean('mnist', 'cae-l2')} %**"
    yield f"{mnist} points, {interval} over three pairs"
    yield f"end between {least} and {most}, with it between {l2_least} and {l2_most}."
    yield f"is worth {after['usps']:.1f} points on USPS and costs {-after['mnist']:.1f} on MNIST"
    assert np.all(n.acc("usps", "cae-l2") > n.acc("usps", "cae"))


def dense(n):
    gain, interval = n.gain("mnist", "ae-l2", "ae")
    yield f"from {n.mean('mnist', 'ae')} to {n.mean('mnist', 'ae-l2')} %, {gain} points ({interval}"
    after = n.acc("mnist", "ae", "after.acc")
    yield f"after training gives {after.mean() - n.acc('mnist', 'ae').mean():.1f};"
    slope = "ae-l2-small-slope", "ae-small-slope"
    gain, interval = n.gain("mnist", *slope)
    count = COUNTS[len(n.acc("mnist", slope[0]))]
    (low, high), (l2_low, l2_high) = (spread(n.acc("mnist", s)) for s in slope[::-1])
    yield f"from {n.mean('mnist', slope[1])} to {n.mean('mnist', slope[0])} %, {gain} points "
    yield f"{gain} points ({interval}, {count} pairs; {low} to {high} without it, {l2_low} to "
    yield f"to {l2_high} with it)"
    for system in ("ae", "ae-l2"):
        loss = [
            n.scores("mnist", s, "reconstruction_mse") for s in (system, f"{system}-small-slope")
        ]
        assert loss[1].mean() / loss[0].mean() == pytest.approx(0.8, abs=0.05)
    assert np.all(n.acc("mnist", "ae-l2") > n.acc("mnist", "ae"))
    rises = {("mnist", "ae"): True, ("mnist", "cae"): True, ("usps", "cae"): False}
    for (data, system), rise in rises.items():
        plain, with_l2 = (n.scores(data, s, "reconstruction_mse") for s in (system, f"{system}-l2"))
        assert np.all((with_l2 > plain) == rise)


def refined(n):
    dec, idec, start = (n.acc("mnist", s) for s in ("dec", "idec", "ae"))
    paper = next(100 * c.paper["mnist"] for c in TABLES["table1"].columns if c.system == "idec")
    assert (dec > idec).sum() == 4
    yield f"IDEC to {paper - idec.mean():.1f} points below it"
    yield f"end at {dec.mean():.1f} and {idec.mean():.1f} % on average"
    worst = int(start.argmin())
    rest = spread(np.delete(np.concatenate([dec, idec]), [worst, worst + len(dec)]))
    yield (
        f"which starts at {start[worst]:.1f} %, ends at {dec[worst]:.1f} and {idec[worst]:.1f} %, "
        f"the others between {rest[0]} and {rest[1]}."
    )
    for found in (dec, idec):
        assert (found > n.acc("mnist", "ae-l2")).sum() == 4
        assert found.mean() < n.acc("mnist", "ae-l2-small-slope").mean()


def mixture(n):
    own, one_to_one = (n.mean("mnist", "gmvae", score) for score in ("many_to_one", "acc"))
    (three_five,), (four_nine,) = (n.apart("mnist", "gmvae", *pair) for pair in ((3, 5), (4, 9)))
    yield f"{own} % by its own many-to-one accuracy, {one_to_one} % one to one"
    yield f"({three_five} % are in their own cluster), not 4s and 9s ({four_nine} %)"
    (one,), dec, idec = (n.acc("mnist", s) for s in ("gmvae", "dec", "idec"))
    assert one > max(dec.mean(), idec.mean())
    assert ((dec > one).sum(), (idec > one).sum()) == (4, 2)
    clusters = np.array(n.find.seeds("clustering", "mnist", "gmvae", None)[0].details["confusion"])
    yield f"Of its 14 clusters {clusters.any(axis=0).sum()} have images"


def four_and_nine(n):
    def apart(system):
        return n.apart("mnist", system, 4, 9)

    def mixed(system):
        """Images of either in the cluster of the other, of all images: percent."""
        found = n.find.seeds("clustering", "mnist", system, None).values()
        counts = [np.array(r.details["confusion"]) for r in found]
        return np.mean([100 * (c[4, 9] + c[9, 4]) / c.sum() for c in counts])

    gains = {
        pair: (n.acc("mnist", pair[1]).mean() - n.acc("mnist", pair[0]).mean(),
               mixed(pair[0]) - mixed(pair[1]))
        for pair in (("cae", "cae-l2"), ("ae-small-slope", "ae-l2-small-slope"), ("ae", "ae-l2"),
                     ("ae", "dec"), ("ae", "idec"))
    }  # fmt: skip
    (conv, of_conv), (small, of_small), (steep, of_steep), *rest = gains.values()
    yield f"make {of_conv:.1f} of the {conv:.1f} points that the constraint gains with conv"
    yield f"and {of_small:.1f} of the {small:.1f} with dense"
    yield f"but {of_steep:.1f} of the {steep:.1f} at slope 0.3"
    assert all(part < 0.15 < 6 < whole for whole, part in rest)
    ae, l2, cae = apart("ae"), apart("ae-l2"), apart("cae")
    yield f"have {min(ae)} to {max(ae)} % in their own at slope 0.3"
    small, l2_small = apart("ae-small-slope"), apart("ae-l2-small-slope")
    yield f"and {min(small)} to {max(small)} % at 0.01"
    yield f"with it {min(l2)} to {max(l2)} % at 0.3"
    yield f"{min(l2_small)} to {max(l2_small)} % at 0.01. Convolutional"
    yield f"have {cae[0]}, {cae[1]} and {cae[2]} % without it, "
    yield f"{min(apart('cae-l2'))} to {max(apart('cae-l2'))} % with it"
    dcec, acc = apart("dcec"), n.acc("mnist", "dcec")
    yield f"from {cae[0]} % DCEC comes to {dcec[0]} % and an accuracy of {acc[0]:.1f}"
    yield (
        f"from {cae[1]} and {cae[2]} % to {dcec[1]} and {dcec[2]} % and accuracies of "
        f"{acc[1]:.1f} and {acc[2]:.1f}"
    )
    yield f"mean of {acc.mean():.1f} ± {acc.std(ddof=1):.1f} (paper"


def zeros(n):
    """Zeros are class 0: their share in the second largest cluster that has them, run by run."""
    runs = [r for r in n.results
            if (r.config["task"], r.config["data"]) == ("clustering", "usps")]  # fmt: skip
    counts = [np.array(r.details["confusion"]) for r in runs]
    second = 100 * np.array([np.sort(c[0])[-2] / c[0].sum() for c in counts])
    acc = np.array([r.scores["acc"] for r in runs])
    low, high = acc < 0.8, acc > 0.9
    assert np.all(low | high)
    yield f"In all {low.sum()} runs below 80 %"
    yield f"the smaller part {min(second[low]):.0f} to {max(second[low]):.0f} % of them"
    lost = [k for c, bad in zip(counts, low, strict=True) if bad
            for k in range(10) if c[0, k] > c[k, k]]  # fmt: skip
    yield "for the nines ({} runs), fives ({}) or eights ({})".format(*map(lost.count, (9, 5, 8)))
    assert len(lost) == low.sum()
    yield f"in all {high.sum()} runs above 90 % no second cluster has more than 2.4 % of them"
    assert max(second[high]) < 2.4


def picking(n):
    acc = n.acc("usps", "cae-l2")
    least, (low, high) = acc.min(), spread(np.sort(acc)[1:])
    yield f"ends at {least:.1f} %** on USPS, the others between {low} and {high}:"
    worst = n.find.seeds("clustering", "usps", "cae-l2", None)[int(acc.argmin())]
    restarts = np.array(worst.details["inertia"])
    best = (restarts < restarts.min() * (1 + 1e-4)).sum()  # one solution, rounded otherwise
    yield f"of all {len(restarts)} restarts, and {best} of them find it"
    loss = "reconstruction_mse"
    r = {(d, s, v): n.r(d, s, v) for d, pair in {"usps": ("cae-l2", "cae"),
                                                 "mnist": ("ae-l2", "ae")}.items()
         for s in pair for v in (loss, "inertia")}  # fmt: skip
    yield (
        f"(r = {r['usps', 'cae-l2', loss]} with the constraint and {r['usps', 'cae', loss]} "
        f"without on USPS, ten seeds; {r['mnist', 'ae-l2', loss]} and {r['mnist', 'ae', loss]} "
        "with dense networks"
    )
    rest = [
        n.r(d, s, loss, without_worst=True) for d, s in (("usps", "cae-l2"), ("mnist", "ae-l2"))
    ]
    yield f"without the worst run r is {rest[0]} and {rest[1]} with the constraint"

    ranks = [n.picked(data, s, loss)[0] for data, s in (("usps", "cae-l2"), ("mnist", "ae-l2"))]
    assert ranks == [5, 1]
    yield f"picks the {ranks[0]}th, of five dense ones on MNIST the best"
    assert n.picked("usps", "cae-l2", "inertia") == (1, 10)
    assert n.picked("mnist", "ae-l2", "inertia") == (1, 5)
    both = [r[data, system, "inertia"] for data, system in (("usps", "cae-l2"), ("mnist", "ae-l2"))]
    yield f"in both cases (r = {both[0]} and {both[1]})"
    assert n.picked("mnist", "ae", "inertia") == (5, 5)
    yield f"without it the worst (r = {r['mnist', 'ae', 'inertia']})"


def normalizations(n):
    plain, affine = (sorted(each(n.acc("usps", s)))[::-1] for s in ("cae-ln", "cae-ln-affine"))
    mnist = [n.mean("mnist", s) for s in ("cae-ln", "cae-ln-affine")]
    yield "MNIST it comes to {} % without affine parameters and {} % with them".format(*mnist)
    yield "to {}, {} and {} % without affine parameters, ".format(*plain)
    yield "without affine parameters, {}, {} and {} % with them".format(*affine)
    everywhere = [n.mean(data, "cae-ln-all") for data in ("usps", "mnist")]
    yield "it has {} % on USPS, as the paper (75.26), but {} % on MNIST".format(*everywhere)
    norms = ("cae-ln", "cae-ln-affine", "cae-ln-all", "cae-ln-all-affine")
    assert min(n.acc("mnist", s).min() for s in norms) > 90
    places = ("cae-bn", "cae-bn-affine", "cae-bn-all", "cae-bn-all-affine")
    usps, mnist = (
        spread(np.concatenate([n.acc(data, s) for s in places])) for data in ("usps", "mnist")
    )
    without = n.acc("mnist", "cae").min()
    yield f"wherever it is: {usps[0]} to {usps[1]} % on USPS (paper 75.0), "
    yield f"{mnist[0]} to {mnist[1]} % on MNIST"
    yield f"where no normalization has {without:.1f} at least."


def detection(n):
    l2, error = (n.by_digit("cae-l2", f"{s}.auc") for s in ("cosine", "reconstruction"))
    cosine, dot, distance, plain_error = (
        n.by_digit("cae", f"{s}.auc") for s in ("cosine", "dot", "euclidean", "reconstruction")
    )
    yield f"{l2.mean():.3f} against {error.mean():.3f} (20 epochs, two partitions"
    yield f"with the constraint and without it (AUC {error[1]:.2f} and {plain_error[1]:.2f})"
    yield f"without it that reaches {cosine.mean():.3f}, and l2 is ahead for six digits"
    assert (l2 > cosine).sum() == 6
    l2_distance = n.by_digit("cae-l2", "euclidean.auc")
    words = {
        "(gain {}, interval {} to {})": (l2, cosine),
        "the dot product {} ({} to {})": (l2, dot),
        "it gains {} ({} to {})": (l2_distance, distance),
    }
    for told, sides in words.items():
        d = paired_difference(*(dict(enumerate(v)) for v in sides))
        yield told.format(*(f"{v:.3f}".replace("-", "−") for v in (d.mean, *d.interval)))
    variances = [
        np.var(list(n.find.scores("detection", "mnist", s, "cosine.auc", d).values()), ddof=1)
        for s in ("cae", "cae-l2") for d in DIGITS
    ]  # fmt: skip
    yield f"differ by a standard deviation of {np.mean(variances) ** 0.5:.2f}"
    yield f"the dot product ({dot.mean():.3f}) and the distance ({distance.mean():.3f})"
    paper = {c.title: list(c.paper.values()) for c in TABLES["table4"].columns}
    r = [correlation(paper["CAE, cluster"], v) for v in (cosine, dot, distance)]
    low, high = f"{min(r):.2f}".replace("-", "−"), f"{max(r):.2f}"
    same = correlation(paper["CAE-l2, cluster"], l2)
    yield f"(r between {low} and {high}; with the constraint {same:.2f})"
    assert l2.argsort()[:2].tolist() == [9, 4]
    yield f"hardest to find with the constraint ({l2[9]:.3f} and {l2[4]:.3f})"
    assert (n.by_digit("ae-clean", "reconstruction.auc") > l2).sum() == 8
    clean = [n.by_digit("ae-clean", f"reconstruction.{m}").mean() for m in ("auc", "auprc")]
    yield f"mean AUC of {clean[0]:.3f} and AUPRC of {clean[1]:.3f}"
    auprc = n.by_digit("cae-l2", "cosine.auprc").mean()
    yield f"has {l2.mean():.3f} and {auprc:.3f}."
    drae = n.by_digit("drae", "reconstruction.auc").mean()
    yield f"a tenth of the anomaly too (20 epochs), comes to {drae:.3f}."


def variational(n):
    l2 = n.by_digit("cae-l2", "cosine.auc")
    scores = ("reconstruction.auc", "probability.auc")
    found = {
        (width, likelihood, score): n.by_digit(f"vae-{width}-{likelihood}", score, epochs=10)
        for width in LATENT_WIDTHS for likelihood in ("gaussian", "bernoulli") for score in scores
    }  # fmt: skip
    papers, best = found[200, "gaussian", scores[1]], found[10, "bernoulli", scores[0]]
    longer = n.by_digit("vae-200-gaussian", scores[1], epochs=100)
    yield f"mean AUC of {papers.mean():.3f} after 10 epochs and {longer.mean():.3f} after 100"
    assert np.all(np.maximum(papers, longer) < l2)
    yield f"likelihood the reconstruction error has {best.mean():.3f}, and is ahead for four"
    assert best.mean() == max(v.mean() for v in found.values())
    yield f"the best of {len(found)} scores of VAEs {best.mean():.3f} and for {(best > l2).sum()} |"
    assert (best > l2).sum() == 4
    for score in scores:
        for likelihood in ("gaussian", "bernoulli"):
            means = {width: found[width, likelihood, score].mean() for width in LATENT_WIDTHS}
            assert max(means, key=means.get) == 10
    error, probability = ([v.mean() for k, v in found.items() if k[2] == s] for s in scores)
    assert np.sum(np.array(probability) > error) == 1
    clean = n.by_digit("ae-clean", "reconstruction.auc")
    yield f"AE has {clean.mean():.3f} and is ahead for {(clean > l2).sum()} digits of 10"


@pytest.fixture(scope="module")
def numbers():
    return Numbers()


@pytest.mark.parametrize("say", [claims, constraint, dense, refined, mixture, four_and_nine, zeros,
                                 picking, normalizations, detection, variational])  # fmt: skip
def test_a_sentence_of_the_readme_has_the_numbers_of_the_results(say, numbers):
    text = re.sub(r"\s+", " ", (ROOT / "README.md").read_text(encoding="utf-8"))
    text = text[: text.index("<!-- paper:tables -->")]
    missing = [claim for claim in say(numbers) if claim not in text]
    assert not missing
