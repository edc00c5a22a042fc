"""The detector with PyOD's face: scores are high for anomalies, labels are 0 and 1."""

from dataclasses import KW_ONLY, dataclass, fields
from numbers import Real
from typing import Any, Self

from pyod.models.base import BaseDetector
from sklearn.utils.validation import check_is_fitted

from l2ae_core.estimators.detector import AutoEncoderDetector
from l2ae_core.estimators.fitted import AutoEncoderParameters
from l2ae_kernels.arrays import Array


@dataclass(eq=False, repr=False)
class L2AutoEncoder(AutoEncoderParameters, BaseDetector):
    """Score samples by 1 − v, v = max_j u · c_j/|c_j| (Eq. 5): how far from every cluster they are.

        decision_function  1 − v, high = abnormal; in [0, 2] up to rounding
                           with criterion="both" that of `AutoEncoderDetector`, times −1
        predict            1 where it is above threshold_ (anomaly), else 0
        predict_proba, predict_confidence, predict_with_rejection   as PyOD has them

    X is what `AutoEncoderDetector` takes: images (N, H, W[, C]), flat images (N, H·W·C) with
    `image_shape`, or a table (N, F). PyOD's ensembles take tables: `FeatureBagging` trains on some
    of the columns, which are no image, so it needs image_shape=None and the dense network.

    Parameters
    ----------
    n_clusters : int; the paper takes one for each kind of normal sample.
    contamination : a number in (0, 0.5], the share of the X of fit that is anomalous; or an object
        of PyThresh.
    criterion : "cosine", v alone; or "both", which finds what is not reconstructed, too.
    others : see `AutoEncoderClusterer`.

    Attributes
    ----------
    decision_scores_ : float64 (N,), the decision_function of the X of fit.
    threshold_ : float, that of PyOD: the percentile 100 (1 − contamination) of decision_scores_.
    labels_ : int (N,), 0 or 1: decision_scores_ > threshold_.
    detector_ : AutoEncoderDetector, the fitted network and its clusters; its `save` needs no
        pickle, and `from_detector` takes it back.
    """

    n_clusters: int = 9
    _: KW_ONLY
    contamination: Any = 0.1
    criterion: str = "cosine"

    def __post_init__(self) -> None:
        BaseDetector.__init__(self, self.contamination)  # it checks the range

    @classmethod
    def from_detector(cls, detector: AutoEncoderDetector, *, contamination: Any = 0.1) -> Self:
        """Return a fitted one over a fitted detector, whose codes give the scores: no training.

        Raises ValueError where the detector does not have the codes or the errors of its X.
        """
        check_is_fitted(detector)
        needed = {"embedding_": True, "reconstruction_errors_": detector.criterion == "both"}
        for name, used in needed.items():
            if used and getattr(detector, name, None) is None:
                raise ValueError(
                    f"from_detector: the detector has no {name}: from_run(run, X) with the images "
                    "of the run has, and so has fit"
                )
        parameters = detector.get_params()
        shared = {name: parameters[name] for name in _shared()}
        made = cls(**shared, contamination=contamination)
        made._set_n_classes(None)
        return made._take(detector)

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on X, cluster it, and set the threshold; y is ignored, with PyOD's warning.

        Raises ValueError and TrainingError as `AutoEncoderDetector.fit`.
        """
        self._set_n_classes(y)
        share = float(self.contamination) if isinstance(self.contamination, Real) else "auto"
        parameters = {name: getattr(self, name) for name in _shared()}
        return self._take(AutoEncoderDetector(**parameters, contamination=share).fit(X))

    def decision_function(self, X: Any) -> Array:
        """Return float64 (N,), high = abnormal: 1 − v, or how far beyond a threshold of "both"."""
        check_is_fitted(self, "detector_")
        if self.criterion == "both":
            return -self.detector_.decision_function(X)
        return 1 - self.detector_.score_samples(X)

    def _take(self, detector: AutoEncoderDetector) -> Self:
        self.detector_ = detector
        self.n_features_in_: int = detector.n_features_in_
        v, errors = detector._normality(detector.embedding_), detector.reconstruction_errors_
        self.decision_scores_: Array = 1 - v
        if self.criterion == "both" and errors is not None:
            self.decision_scores_ = -detector._thresholds().margin(v, errors)
        self._process_decision_scores()
        return self


def _shared() -> list[str]:
    """The names of the parameters that the detector has too, but for contamination."""
    return ["criterion", *(field.name for field in fields(AutoEncoderParameters))]
