"""Layers one after the other."""

from collections.abc import Iterable
from dataclasses import dataclass

from l2ae_core.layers.base import Cache, Layer, Params, Shape, sample_shape, weight_grads
from l2ae_kernels.arrays import Array


@dataclass(eq=False)
class Sequential(Layer):
    """Composition of layers, checked when it is built.

        x_0 = x,  x_{i+1} = f_i(x_i),  y = x_L;      dx_i = (∂f_i/∂x_i)ᵀ dx_{i+1} from L − 1 to 0

    `params`, `state` and the gradients are flat: "3.W" is W of layer 3. ValueError, with the names
    of both layers, when one layer's output shape does not fit the next layer.
    """

    layers: list[Layer]
    input_shape: Shape  # of one sample, without N

    def __post_init__(self) -> None:
        self.shapes()

    def __repr__(self) -> str:
        shapes = self.shapes()
        layers = "1 layer" if len(self.layers) == 1 else f"{len(self.layers)} layers"
        return f"{type(self).__qualname__}({layers}, {shapes[0]} -> {shapes[-1]})"

    def shapes(self) -> list[Shape]:
        """Shape of a sample before layer 0, after layer 0, ..., after the last layer."""
        shapes = [self.input_shape]
        for i, layer in enumerate(self.layers):
            try:
                shapes.append(layer.output_shape(shapes[-1]))
            except ValueError as error:
                source = f"output {shapes[-1]} of layer {i - 1} {self.layers[i - 1]}"
                source = source if i else f"input {self.input_shape}"
                raise ValueError(
                    f"Sequential: layer {i} {layer} does not fit the {source} ({error})"
                ) from error
        return shapes

    @property
    def params(self) -> Params:
        return _flat(layer.params for layer in self.layers)

    @property
    def state(self) -> Params:
        return _flat(layer.state for layer in self.layers)

    def output_shape(self, input_shape: Shape) -> Shape:
        if input_shape != self.input_shape:
            raise ValueError(f"{self}: sample has shape {input_shape}, expected {self.input_shape}")
        return self.shapes()[-1]

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Cache]:
        self.output_shape(sample_shape(self, x, numbers=False))
        caches = []
        for layer in self.layers:
            x, cache = layer.forward(x, train)
            caches.append(cache)
        return x, caches

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        grads: list[Params] = [{} for _ in self.layers]
        for i in reversed(range(len(self.layers))):
            dy, grads[i] = self.layers[i].backward(dy, cache[i])
        return dy, _flat(grads)

    def weight_grads(self, dy: Array, cache: Cache) -> Params:
        """Return grads alone; stop at the lowest layer that has parameters, without its dx."""
        grads: list[Params] = [{} for _ in self.layers]
        trained = [i for i, layer in enumerate(self.layers) if layer.params]
        if not trained:
            return {}
        for i in reversed(range(trained[0] + 1, len(self.layers))):
            dy, grads[i] = self.layers[i].backward(dy, cache[i])
        grads[trained[0]] = weight_grads(self.layers[trained[0]], dy, cache[trained[0]])
        return _flat(grads)

    def gates(self, cache: Cache) -> list[Array]:
        pairs = zip(self.layers, cache, strict=True)
        return [gate for layer, layer_cache in pairs for gate in layer.gates(layer_cache)]


def _flat(dictionaries: Iterable[Params]) -> Params:
    """Merge the dictionary of layer i under the names "i.name"."""
    return {f"{i}.{key}": v for i, each in enumerate(dictionaries) for key, v in each.items()}
