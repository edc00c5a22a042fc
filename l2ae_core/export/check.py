"""An ONNX model beside NumPy, output by output, on the same images.

How far two right results may be apart: float32 sums in another order move a code or a pixel by
about as much as float32 moves it at all. That is measured, as the distance of our float32 result
from our float64 one; a factor allows for another order, and `anomaly.ROUNDING` is the least. A
bound δ on pixels gives one on the error of an image of P numbers:

    |Σ (Î + δ − I)² − Σ (Î − I)²|  ≤  2 δ √(P Σ (Î − I)²) + P δ²,   and P ε Σ (Î − I)² for the sum

Where a label is another, the difference is how much farther that center is; where a verdict is
another, how far the scores are from their thresholds, of what they may be by rounding: 1 is all.
"""

from dataclasses import dataclass

import numpy as np
import onnxruntime

from l2ae_core.anomaly import ROUNDING, cosine_normality
from l2ae_core.inference import BATCH, Inference
from l2ae_core.verdict import Thresholds
from l2ae_kernels.arrays import Array, NumPyArray

MARGIN = 8  # between two orders of summation, and between the images here and all others


@dataclass(frozen=True)
class Comparison:
    """The largest difference of an output from NumPy's, over all images, and what it may be."""

    output: str
    difference: float
    bound: float

    @classmethod
    def of(cls, output: str, difference: Array, bound: Array | float) -> "Comparison":
        """Take the image whose difference is largest beside its bound; NaN is the largest of all.

        difference (N, ...), bound (N,) or a number.
        """
        largest = np.where(np.isnan(difference), np.inf, difference).reshape(len(difference), -1)
        largest = largest.max(axis=1)
        bounds = np.broadcast_to(bound, largest.shape)
        worst = int((largest / bounds).argmax())
        return cls(output, float(largest[worst]), float(bounds[worst]))

    @property
    def holds(self) -> bool:
        """Whether the difference is within the bound."""
        return self.difference <= self.bound


def run_model(content: bytes, images: Array) -> dict[str, Array]:
    """Return the outputs of a model by name, by onnxruntime on the CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": images}), strict=True))


def compare(content: bytes, run: Inference, images: Array, limits: Thresholds) -> list[Comparison]:
    """Compare a model with NumPy on images (N, H, W, C) float32; one entry an output."""
    found = run_model(content, images)
    u, reconstruction = run.encode(images), run.reconstruct(images)
    v, error = run.normality(images), run.error(images)
    exact = run.model.astype(np.float64)
    exact_u = exact.encode(images.astype(np.float64).view(NumPyArray), BATCH).view(np.ndarray)
    exact_reconstruction = exact.decode(exact_u.view(NumPyArray), BATCH).view(np.ndarray)
    code = _bound(u, exact_u)
    pixel = _bound(reconstruction, exact_reconstruction)
    cosine = _bound(v, cosine_normality(exact_u, run.clusters.centers))
    P = images[0].size
    eps = float(np.finfo(np.float32).eps)
    of_error = 2 * pixel * np.sqrt(P * error) + P * pixel**2 + P * eps * error

    distances = np.linalg.norm(exact_u[:, None] - run.clusters.centers, axis=2)  # (N, K)
    chosen = np.take_along_axis(distances, found["cluster"][:, None], axis=1)[:, 0]
    other = found["anomalous"] != limits.anomalous(v, error)
    sides = ((v, limits.normality, cosine), (error, limits.error, of_error))
    decided = [np.abs(score - at) / bound for score, at, bound in sides if at is not None]
    return [
        Comparison.of("code", np.abs(found["code"] - u), code),
        Comparison.of("cluster", chosen - distances.min(axis=1), 2 * np.sqrt(u.shape[1]) * code),
        Comparison.of("normality", np.abs(found["normality"] - v), cosine),
        Comparison.of("reconstruction", np.abs(found["reconstruction"] - reconstruction), pixel),
        Comparison.of(
            "reconstruction_error", np.abs(found["reconstruction_error"] - error), of_error
        ),
        Comparison.of("anomalous", np.where(other, np.min(decided, axis=0), 0), 1.0),
    ]


def _bound(ours: Array, exact: Array) -> float:
    """Return how far another float32 result may be from ours; see the module."""
    scale = max(1.0, float(np.abs(exact).max()))
    return max(ROUNDING * scale, MARGIN * float(np.abs(ours - exact).max()))
