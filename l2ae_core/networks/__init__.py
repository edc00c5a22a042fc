"""Networks made of layers: the auto-encoder and the paper's architectures."""

from l2ae_core.networks.architectures import Architecture, build
from l2ae_core.networks.autoencoder import AutoEncoder

__all__ = ["Architecture", "AutoEncoder", "build"]
