"""The auto-encoder of Eqs. 1, 2 and 4: encoder, normalization, decoder."""

from dataclasses import dataclass

from l2ae_core.images import Images
from l2ae_core.layers.base import Cache, Layer, Params, Shape, weight_grads
from l2ae_core.layers.describe import describe, describe_class
from l2ae_core.layers.sequential import Sequential
from l2ae_core.networks.parts import in_batches, named
from l2ae_kernels.arrays import Array


@dataclass(eq=False)
class AutoEncoder(Layer):
    """Î = D(E_c(I)), trained to reproduce I.

        z = E(I)                 encoder     images (N, H, W, C) -> z (N, D)         Eq. 1
        u = E_c(I) = z/‖z‖       normalize   the paper's only variable               Eq. 4
        Î = D(u)                 decoder     u (N, D) -> images (N, H, W, C)         Eq. 2

    `normalize` is L2Normalize for the paper's method, Identity for a plain auto-encoder, BatchNorm
    or LayerNorm for Table III. Parameters are named "encoder.0.W", "normalize.gamma",
    "decoder.0.W". ValueError, by name, when the parts do not fit.
    """

    encoder: Sequential
    normalize: Layer
    decoder: Sequential

    def __post_init__(self) -> None:
        (*_, z), u = self.encoder.shapes(), self.decoder.input_shape
        if len(z) != 1:
            raise ValueError(f"AutoEncoder: encoder returns {z} but expected a vector (D,)")
        try:
            normalized = self.normalize.output_shape(z)
        except ValueError as error:
            raise ValueError(
                f"AutoEncoder: normalize {self.normalize} does not fit the output {z} of the "
                f"encoder ({error})"
            ) from error
        if normalized != u:
            raise ValueError(
                f"AutoEncoder: decoder expects {u} but normalize {self.normalize} returns "
                f"{normalized}"
            )
        image = self.decoder.shapes()[-1]
        if image != self.input_shape:
            raise ValueError(
                f"AutoEncoder: decoder returns {image} but the images have shape {self.input_shape}"
            )

    def __repr__(self) -> str:
        name = type(self).__qualname__
        return f"{name}({self.input_shape} -> {self.latent_dim}, {self.normalize})"

    @property
    def input_shape(self) -> Shape:
        """Shape (H, W, C) of one image."""
        return self.encoder.input_shape

    @property
    def latent_dim(self) -> int:
        """D, the length of z and u."""
        return self.decoder.input_shape[0]

    @property
    def params(self) -> Params:
        return named(
            encoder=self.encoder.params,
            normalize=self.normalize.params,
            decoder=self.decoder.params,
        )

    @property
    def state(self) -> Params:
        return named(
            encoder=self.encoder.state, normalize=self.normalize.state, decoder=self.decoder.state
        )

    def describe(self) -> list[str]:
        """Return every layer as text, and the model itself where its class is not this one."""
        parts = (self.encoder, self.normalize, self.decoder)
        return [line for part in parts for line in describe(part)] + describe_class(self)

    def output_shape(self, input_shape: Shape) -> Shape:
        if input_shape != self.input_shape:
            raise ValueError(f"{self}: image has shape {input_shape}, expected {self.input_shape}")
        return input_shape

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Cache]:
        self.output_shape(x.shape[1:])
        z, encoder_cache = self.encoder.forward(x, train)  # (N, D)
        u, normalize_cache = self.normalize.forward(z, train)  # (N, D)
        x_hat, decoder_cache = self.decoder.forward(u, train)  # (N, H, W, C)
        return x_hat, (encoder_cache, normalize_cache, decoder_cache, u)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        dz, normalize_grads, decoder_grads = self._backward_to_z(dy, cache, None)
        dx, encoder_grads = self.encoder.backward(dz, cache[0])
        return dx, named(encoder=encoder_grads, normalize=normalize_grads, decoder=decoder_grads)

    def weight_grads(self, dy: Array, cache: Cache, latent_grad: Array | None = None) -> Params:
        """Return grads; `latent_grad` (N, D) is what another loss on u adds to du."""
        dz, normalize_grads, decoder_grads = self._backward_to_z(dy, cache, latent_grad)
        encoder_grads = weight_grads(self.encoder, dz, cache[0])
        return named(encoder=encoder_grads, normalize=normalize_grads, decoder=decoder_grads)

    def _backward_to_z(
        self, dx_hat: Array, cache: Cache, latent_grad: Array | None
    ) -> tuple[Array, Params, Params]:
        _, normalize_cache, decoder_cache, _ = cache
        du, decoder_grads = self.decoder.backward(dx_hat, decoder_cache)
        if latent_grad is not None:
            du = du + latent_grad
        dz, normalize_grads = self.normalize.backward(du, normalize_cache)
        return dz, normalize_grads, decoder_grads

    @staticmethod
    def code(cache: Cache) -> Array:
        """Return u (N, D) of the forward pass that made `cache`."""
        u: Array = cache[-1]
        return u

    def gates(self, cache: Cache) -> list[Array]:
        parts = zip((self.encoder, self.normalize, self.decoder), cache[:-1], strict=True)
        return [gate for layer, layer_cache in parts for gate in layer.gates(layer_cache)]

    def latent(self, images: Images, batch_size: int = 1024) -> Array:
        """Return z = E(I) (N, D), before the normalization, of images (N, H, W, C)."""
        return in_batches(self._z, images, batch_size)

    def encode(self, images: Images, batch_size: int = 1024) -> Array:
        """Return the codes u = E_c(I) (N, D) of images (N, H, W, C): what k-means clusters."""
        return in_batches(self._u, images, batch_size)

    def decode(self, u: Array, batch_size: int = 1024) -> Array:
        """Return D(u) (N, H, W, C) for codes u (N, D)."""
        return in_batches(lambda part: self.decoder.forward(part)[0], u, batch_size)

    def reconstruct(self, images: Images, batch_size: int = 1024) -> Array:
        """Return Î = D(E_c(I)) (N, H, W, C) for images (N, H, W, C)."""
        return in_batches(lambda x: self.forward(x)[0], images, batch_size)

    def _z(self, x: Array) -> Array:
        return self.encoder.forward(x)[0]

    def _u(self, x: Array) -> Array:
        return self.normalize.forward(self._z(x))[0]
