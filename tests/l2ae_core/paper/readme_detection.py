"""What the README says of detection, each finding with the numbers of the results."""

import numpy as np

from l2ae_core.paper.published import DIGITS, TABLES
from l2ae_core.paper.statistics import correlation, paired_difference
from l2ae_core.paper.systems import LATENT_WIDTHS


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


FINDINGS = (detection, variational)
