"""Which warnings turn a test red: those of our own code, not those of a stranger's import."""

import warnings

import pytest


def warn(module: str, category: type[Warning]) -> None:
    exec(
        "warn('planted', category)",
        {"__name__": module, "warn": warnings.warn, "category": category},
    )


@pytest.mark.parametrize(
    ("module", "category"),
    [
        ("l2ae_core.figures.style", DeprecationWarning),
        ("l2ae_kernels.ops", FutureWarning),
        ("l2ae_core.layers.dense", ResourceWarning),
        ("tests.l2ae_core.test_figures", UserWarning),
        ("numpy._core._methods", RuntimeWarning),
        ("sklearn.mixture._base", UserWarning),
    ],
)
def test_warnings_of_our_own_code_are_errors(module, category):
    with pytest.raises(category, match="planted"):
        warn(module, category)


@pytest.mark.parametrize("category", [DeprecationWarning, UserWarning, SyntaxWarning])
@pytest.mark.parametrize("module", ["matplotlib._fontconfig_pattern", "pyparsing.util", "tests_of"])
def test_warnings_of_strangers_are_not(module, category):
    with warnings.catch_warnings(record=True) as seen:
        warn(module, category)
    assert [str(one.message) for one in seen] == ["planted"]
