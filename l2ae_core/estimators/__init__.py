"""The scikit-learn face: a clusterer and a detector over one fitted network."""

from l2ae_core.estimators.clusterer import AutoEncoderClusterer
from l2ae_core.estimators.detector import AutoEncoderDetector

__all__ = ["AutoEncoderClusterer", "AutoEncoderDetector"]
