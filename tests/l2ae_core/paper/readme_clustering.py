"""What the README says of clustering, each finding with the numbers of the results."""

import numpy as np
import pytest

from l2ae_core.paper.published import TABLES

from .readme_numbers import COUNTS, each, spread


def constraint(n):
    (usps, usps_interval), (mnist, interval) = (
        n.gain(data, "cae-l2", "cae") for data in ("usps", "mnist")
    )
    (least, most), (l2_least, l2_most) = (
        spread(n.acc("mnist", system)) for system in ("cae", "cae-l2")
    )
    after = {d: n.acc(d, "cae", "post_hoc_l2.acc").mean() - n.acc(d, "cae").mean()
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
    after = n.acc("mnist", "ae", "post_hoc_l2.acc")
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
    clusters = np.array(n.find.seeds("clustering", "mnist", "gmvae", None)[0].details.confusion)
    yield f"Of its 14 clusters {clusters.any(axis=0).sum()} have images"


def four_and_nine(n):
    def apart(system):
        return n.apart("mnist", system, 4, 9)

    def mixed(system):
        """Images of either in the cluster of the other, of all images: percent."""
        found = n.find.seeds("clustering", "mnist", system, None).values()
        counts = [np.array(r.details.confusion) for r in found]
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
            if (r.run.task, r.run.data) == ("clustering", "usps")]  # fmt: skip
    counts = [np.array(r.details.confusion) for r in runs]
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
    restarts = np.array(worst.details.inertia)
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


FINDINGS = (constraint, dense, refined, mixture, four_and_nine, zeros, picking, normalizations)
