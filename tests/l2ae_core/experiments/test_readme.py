"""The README holds what the result files say."""

import runpy

import pytest

from l2ae_core.bench.machine import ROOT

SCRIPT = ROOT / "benchmarks/paper_tables.py"


@pytest.mark.skipif(not SCRIPT.exists(), reason="not a checkout")
def test_the_tables_of_the_readme_are_those_of_the_results():
    module = runpy.run_path(str(SCRIPT))
    text = module["readme"]()
    assert text == module["README"].read_text(encoding="utf-8"), "run benchmarks/paper_tables.py"
    assert "CAE-l2 − CAE" in text
