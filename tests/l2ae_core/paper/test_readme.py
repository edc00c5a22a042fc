"""The README says what the result files say: in its tables, and in the sentences above them."""

import re
import runpy

import numpy as np
import pytest

from . import readme_clustering, readme_detection
from .readme_numbers import COUNTS, ROOT, Numbers

SCRIPT = ROOT / "benchmarks/paper_tables.py"
pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="not a checkout")


def test_the_tables_of_the_readme_are_those_of_the_results():
    module = runpy.run_path(str(SCRIPT))
    text = module["readme"]()
    assert text == module["README"].read_text(encoding="utf-8"), "run benchmarks/paper_tables.py"
    assert "CAE-l2 − CAE" in text


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
    after = [n.acc(*of, "post_hoc_l2.acc") - n.acc(*of) for of in plain]
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


@pytest.fixture(scope="module")
def numbers():
    return Numbers()


@pytest.mark.parametrize("say", [claims, *readme_clustering.FINDINGS, *readme_detection.FINDINGS])
def test_a_sentence_of_the_readme_has_the_numbers_of_the_results(say, numbers):
    text = re.sub(r"\s+", " ", (ROOT / "README.md").read_text(encoding="utf-8"))
    text = text[: text.index("<!-- paper:tables -->")]
    missing = [claim for claim in say(numbers) if claim not in text]
    assert not missing
