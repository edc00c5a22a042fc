"""DEC, IDEC and DCEC, the baselines of Tables I and II."""

from l2ae_core.baselines.dec.assignment import StudentAssignment, kl_divergence, target_distribution
from l2ae_core.baselines.dec.refinement import Refined, UpdateRecord, refine
from l2ae_core.baselines.dec.settings import DecSettings, Method

__all__ = [
    "DecSettings",
    "Method",
    "Refined",
    "StudentAssignment",
    "UpdateRecord",
    "kl_divergence",
    "refine",
    "target_distribution",
]
