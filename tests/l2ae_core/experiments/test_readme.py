"""The README holds what the result files say."""

import runpy

import numpy as np
import pytest

from l2ae_core.bench.machine import ROOT
from l2ae_core.experiments import read_results

SCRIPT = ROOT / "benchmarks/paper_tables.py"
pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="not a checkout")


def test_the_tables_of_the_readme_are_those_of_the_results():
    module = runpy.run_path(str(SCRIPT))
    text = module["readme"]()
    assert text == module["README"].read_text(encoding="utf-8"), "run benchmarks/paper_tables.py"
    assert "CAE-l2 − CAE" in text


def test_on_usps_accuracy_tells_whether_the_zeros_are_one_cluster():
    """Zeros are class 0: the share of them in their second largest cluster, run by run."""
    runs = [r for r in read_results(ROOT / "benchmarks/results/runs")
            if (r.config["task"], r.config["data"]) == ("clustering", "usps")]  # fmt: skip
    zeros = [np.array(r.details["confusion"])[0] for r in runs]
    second = np.array([np.sort(z)[-2] / z.sum() for z in zeros])
    acc = np.array([r.scores["acc"] for r in runs])
    assert ((acc < 0.8).sum(), (acc > 0.9).sum()) == (37, 13)
    assert np.all(second[acc < 0.8] >= 0.4)
    assert np.all(second[acc >= 0.8] <= 0.025)
    assert np.all(acc[acc >= 0.8] > 0.9)
