"""The peer: the same convolutional auto-encoder in PyTorch, with our weights."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from l2ae_core.layers import Conv2d, ConvTranspose2d, Dense
from l2ae_core.models import AutoEncoder


class TorchCAE(nn.Module):
    """DCEC's network with l2 normalization, channels_last, TensorFlow's paddings.

    The paddings are asymmetric, so convolutions pad first and transposed ones crop afterwards.
    """

    def __init__(self, ours: AutoEncoder) -> None:
        super().__init__()
        self.ours = ours
        self.weights = nn.ParameterDict(
            {name.replace(".", "_"): nn.Parameter(self._theirs(name)) for name in ours.params}
        )
        self.optimizer = torch.optim.Adam(self.parameters(), lr=1e-3, fused=True)

    def _layer(self, name: str):
        part, index, _ = name.split(".")
        return getattr(self.ours, part).layers[int(index)]

    def _theirs(self, name: str) -> torch.Tensor:
        array, layer = self.ours.params[name], self._layer(name)
        if name.endswith("W") and isinstance(layer, Conv2d | ConvTranspose2d):
            # ours (kh, kw, a, b); theirs (b, a, kh, kw), transposed or not
            tensor = torch.from_numpy(array.transpose(3, 2, 0, 1).copy())
            return tensor.contiguous(memory_format=torch.channels_last)
        if name.endswith("W") and isinstance(layer, Dense):
            return torch.from_numpy(array.T.copy())
        return torch.from_numpy(array.copy())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w = self.weights
        shape = self.ours.input_shape
        for part in (self.ours.encoder, self.ours.normalize, self.ours.decoder):
            if part is self.ours.normalize:
                x = F.normalize(x, dim=1, eps=1e-6)
                continue
            name = "encoder" if part is self.ours.encoder else "decoder"
            shape = part.input_shape
            for i, layer in enumerate(part.layers):
                W, b = (w.get(f"{name}_{i}_{p}") if f"{name}_{i}_{p}" in w else None for p in "Wb")
                x, shape = self._apply(layer, x, W, b, shape)
        return x

    def _apply(self, layer, x, W, b, shape):
        out = layer.output_shape(shape)
        if isinstance(layer, Conv2d):
            (t, bottom), (left, r) = layer.geometry(shape[:2])[1]
            x = F.conv2d(F.pad(x, (left, r, t, bottom)), W, b, stride=2)
        elif isinstance(layer, ConvTranspose2d):
            (t, _), (left, _) = layer.geometry(out[:2])[1]
            x = F.conv_transpose2d(x, W, b, stride=2)[:, :, t : t + out[0], left : left + out[1]]
        elif isinstance(layer, Dense):
            x = F.linear(x, W, b)
        elif len(out) == 1 and len(shape) == 3:  # Flatten, in NHWC order as ours
            x = x.permute(0, 2, 3, 1).reshape(len(x), -1)
        elif len(out) == 3 and len(shape) == 1:
            x = x.reshape(len(x), *out).permute(0, 3, 1, 2)
        else:
            x = F.relu(x)
        return x, out

    def train_step(self, images: np.ndarray) -> float:
        """One step of Adam on images (N, H, W, C)."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(images)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def gradients(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Gradients of the loss under our names and in our layouts."""
        self.zero_grad()
        self._loss(images).backward()
        found = {}
        for name in self.ours.params:
            g = self.weights[name.replace(".", "_")].grad.numpy()
            found[name] = g.transpose(2, 3, 1, 0) if g.ndim == 4 else g.T if g.ndim == 2 else g
        return found

    def _loss(self, images: np.ndarray) -> torch.Tensor:
        x = torch.from_numpy(images).permute(0, 3, 1, 2)  # NHWC memory is channels_last already
        return F.mse_loss(self.forward(x), x)
