"""Training with a loss on the clusters of the codes: self-labelling, and what DEC shares."""

from l2ae_core.refinement.assignment import (
    SphericalAssignment,
    StudentAssignment,
    kl_divergence,
    target_distribution,
)
from l2ae_core.refinement.self_labelling import SelfLabelled, SelfLabelling, self_label

__all__ = [
    "SelfLabelled",
    "SelfLabelling",
    "SphericalAssignment",
    "StudentAssignment",
    "kl_divergence",
    "self_label",
    "target_distribution",
]
