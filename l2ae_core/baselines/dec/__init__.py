"""DEC, IDEC and DCEC, the baselines of Tables I and II."""

from l2ae_core.baselines.dec.refinement import Refined, UpdateRecord, refine
from l2ae_core.baselines.dec.settings import DecSettings, Method

__all__ = [
    "DecSettings",
    "Method",
    "Refined",
    "UpdateRecord",
    "refine",
]
