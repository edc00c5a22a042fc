"""l2-normalized deep auto-encoders for clustering and unsupervised anomaly detection.

Aytekin, Ni, Cricri, Aksu: *Clustering and Unsupervised Anomaly Detection with l2 Normalized Deep
Auto-Encoder Representations*, IJCNN 2018, implemented from scratch.

What most programs need can be imported from here; a name is imported from its module when it is
first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from l2ae_core.clustering.kmeans import kmeans
    from l2ae_core.data import Dataset, Preparation, load
    from l2ae_core.estimators import AutoEncoderClusterer, AutoEncoderDetector
    from l2ae_core.networks import Architecture, AutoEncoder
    from l2ae_core.refinement import SelfLabelling
    from l2ae_core.training.augment import Warp
    from l2ae_core.training.run import load_run

__version__ = "0.1.0"

__all__ = [
    "Architecture",
    "AutoEncoder",
    "AutoEncoderClusterer",
    "AutoEncoderDetector",
    "Dataset",
    "Preparation",
    "SelfLabelling",
    "Warp",
    "kmeans",
    "load",
    "load_run",
]

_MODULES = {
    "Architecture": "networks",
    "AutoEncoder": "networks",
    "AutoEncoderClusterer": "estimators",
    "AutoEncoderDetector": "estimators",
    "Dataset": "data",
    "Preparation": "data",
    "SelfLabelling": "refinement",
    "Warp": "training.augment",
    "kmeans": "clustering.kmeans",
    "load": "data",
    "load_run": "training.run",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = found  # found here from now on
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
