"""Networks made of layers: the auto-encoder and the paper's architectures."""

from l2ae_core.models.architectures import Architecture, build
from l2ae_core.models.autoencoder import AutoEncoder

__all__ = ["Architecture", "AutoEncoder", "build"]
