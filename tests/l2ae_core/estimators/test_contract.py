"""scikit-learn's own checks of an estimator, on small networks: the defaults take many minutes."""

from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from l2ae_core.estimators import AutoEncoderClusterer, AutoEncoderDetector
from l2ae_core.estimators.base import AutoEncoderBase

from .small import TINY, table


@parametrize_with_checks([AutoEncoderClusterer(**TINY)])
def test_scikit_learn_contract(estimator: AutoEncoderBase, check: Any) -> None:
    check(estimator)


@pytest.mark.slow  # another criterion and other labels over the base of the one above
@parametrize_with_checks(
    [
        AutoEncoderDetector(**TINY),
        AutoEncoderClusterer(self_label=True, **{**TINY, "epochs": 2}),
    ]
)
def test_scikit_learn_contract_of_the_others(estimator: AutoEncoderBase, check: Any) -> None:
    check(estimator)


def test_works_in_a_pipeline_and_a_grid_search() -> None:
    X = table()
    pipeline = make_pipeline(MinMaxScaler(), AutoEncoderClusterer(3, random_state=0, **TINY))
    assert pipeline.fit_transform(X).shape == (60, 4)
    names = [f"autoencoderclusterer{i}" for i in range(4)]
    assert list(pipeline.get_feature_names_out()) == names
    grid = {"n_clusters": np.array([2, 4])}
    search = GridSearchCV(AutoEncoderClusterer(random_state=0, **TINY), grid, cv=2).fit(X)
    assert search.best_params_["n_clusters"] in (2, 4)
