"""Anomalies by their distance from every cluster (Section III-B, Eq. 5), as a scikit-learn face."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from l2ae_core.anomaly import (
    cosine_normality,
    normality,
    threshold_at_contamination,
    threshold_at_fpr,
)
from l2ae_core.estimators.base import AutoEncoderBase
from l2ae_core.estimators.clusterer import AutoEncoderClusterer
from l2ae_core.estimators.parameters import check_contamination
from l2ae_kernels.arrays import Array

AUTO_CONTAMINATION = 0.05


@dataclass(eq=False, repr=False)
class AutoEncoderDetector(OutlierMixin, AutoEncoderBase):  # type: ignore[misc]
    """Score samples by v = max_j u · c_j/|c_j| (Eq. 5): the cosine to the nearest cluster.

        score_samples      v, high = normal; in [−1, 1] up to rounding, never clipped
        decision_function  v − offset_
        predict            +1 where v ≥ offset_ (normal), −1 where v < offset_ (anomaly)

    Codes u that are not of unit length (norm is not "l2") are divided by their length first, so v
    is a cosine for them too. Network, clusters, parameters and attributes are those of
    `AutoEncoderClusterer` (`labels_` are clusters); `from_clusterer` makes a detector of a fitted
    clusterer without any training. PyOD counts the other way round: its scores are
    `1 - score_samples(X)`, its labels `(predict(X) == -1).astype(int)`.

    The method is for images. On tables simpler ones are better: on nine real tables its mean AUC,
    with slope 0.3, is 0.638, that of the plain sum of squared z-scores 0.705, that of an isolation
    forest 0.715.

    Parameters
    ----------
    n_clusters : int; the paper takes one for each kind of normal sample, 9 when one of ten digits
        is the anomaly.
    contamination : a number in (0, 0.5]: the share of the X of fit that is to be found anomalous.
        "auto" is 0.05: were X all normal, 5 % of it would be false alarms. When known normal
        samples are at hand, `calibrate` sets the threshold from a false-positive rate. The
        threshold lies between two scores, so that a sample scored alone and in company is on the
        same side.
    others : see `AutoEncoderClusterer`.

    Attributes
    ----------
    offset_ : float, τ of Section III-B, halfway between two scores.
    """

    n_clusters: int = 9
    _: KW_ONLY
    contamination: str | float = "auto"

    @classmethod
    def from_clusterer(
        cls, clusterer: AutoEncoderClusterer, *, contamination: str | float = "auto"
    ) -> Self:
        """Return a fitted detector over the network and the clusters of a fitted clusterer.

        Nothing is trained: the threshold comes from `clusterer.embedding_`. The two share their
        arrays; fitting either again leaves the other alone.

        Raises ValueError for a bad contamination, NotFittedError when there is no fit to take.
        """
        check_is_fitted(clusterer)
        detector = cls(**clusterer.get_params(), contamination=contamination)
        for name, value in vars(clusterer).items():
            if name.endswith("_"):  # the fitted attributes, scikit-learn's rule
                setattr(detector, name, value)
        detector._set_offset()
        return detector

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on X, cluster it, and set the threshold; y is ignored."""
        check_contamination(self.contamination)
        self._fit(X)
        self._set_offset()
        return self

    def calibrate(self, X: Any, fpr: float) -> Self:
        """Set `offset_` so that the share `fpr` of X, known normal samples, raises an alarm.

        It lies between two scores of X. Raises ValueError when fpr is out of range.
        """
        self.offset_ = threshold_at_fpr(self.score_samples(X), fpr)
        return self

    def score_samples(self, X: Any) -> Array:
        """Return the normality v float64 (N,) of Eq. 5, high = normal."""
        return self._normality(self._encode(self._validated("score_samples", X)))

    def decision_function(self, X: Any) -> Array:
        """Return v − offset_ float64 (N,), negative for anomalies."""
        decision: Array = self.score_samples(X) - self.offset_
        return decision

    def predict(self, X: Any) -> Array:
        """Return int64 (N,), +1 for normal samples and −1 for anomalies."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _normality(self, u: Array) -> Array:
        v = normality if self.norm == "l2" else cosine_normality
        return v(u, self.cluster_centers_).astype(np.float64)

    def _set_offset(self) -> None:
        check_contamination(self.contamination)
        share = AUTO_CONTAMINATION if self.contamination == "auto" else float(self.contamination)
        v = self._normality(self.embedding_)
        self.offset_ = threshold_at_contamination(v, share)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
