"""Convolution and transposed convolution: one linear map and its two adjoints.

`correlate(x, W)` is linear in x and in W. With A_W the map x → correlate(x, W):

                       forward            dx                 dW
    Conv2d             A_W x + b          A_Wᵀ dy            adjoint in W of (x, dy)
    ConvTranspose2d    A_Wᵀ x + b         A_W dy             adjoint in W of (dy, x)

Images are NHWC. "Convolution" means correlation, as in every neural-network paper: no flip.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from l2ae_core.layers.base import Cache, Layer, Params, Shape, require_gradient, sample_shape
from l2ae_core.layers.initialize import glorot_uniform
from l2ae_core.layers.padding import Axis, Padding, image_axes
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.geometry import Pair
from l2ae_kernels.ops.checks import require_array


@dataclass(eq=False)
class _Convolution(Layer):
    """What both directions share: the fields, their checks, the shapes."""

    W: Array
    b: Array
    stride: int | Pair = 1
    padding: Padding = "same"
    _order: ClassVar[Literal[1, -1]] = 1  # of the channels in W: inputs first, or outputs

    @classmethod
    def glorot(
        cls,
        inputs: int,
        outputs: int,
        kernel: int | Pair,
        rng: Generator,
        *,
        stride: int | Pair = 1,
        padding: Padding = "same",
        dtype: npt.DTypeLike = np.float32,
    ) -> Self:
        """Return a layer from `inputs` to `outputs` channels with Glorot-uniform W and b = 0."""
        kernel_size = (kernel, kernel) if isinstance(kernel, int) else kernel
        channels = (inputs, outputs)[:: cls._order]
        W = glorot_uniform((*kernel_size, *channels), rng, dtype)
        return cls(W, np.zeros(outputs, dtype), stride, padding)

    @property
    def channels(self) -> Pair:
        """Channels of an input and of an output."""
        inputs, outputs = self.W.shape[2:][:: self._order]
        return inputs, outputs

    @abstractmethod
    def output_side(self, axis: Axis, length: int) -> int:
        """Length of an output side for an input side of `length`."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        require_array(name, "W", self.W)
        require_array(name, "b", self.b)
        if self.W.ndim != 4:
            raise ValueError(f"{name}: W has shape {self.W.shape} but expected 4 axes")
        if self.b.shape != self.channels[1:]:
            raise ValueError(f"{name}: b has shape {self.b.shape}, expected {self.channels[1:]}")
        image_axes(name, self.W.shape[:2], self.stride, self.padding)

    def __repr__(self) -> str:
        kh, kw = self.W.shape[:2]
        (inputs, outputs), stride = self.channels, self.stride
        sizes = f"{inputs} -> {outputs}, {kh}x{kw}"
        return f"{type(self).__qualname__}({sizes}, stride={stride}, padding={self.padding!r})"

    @property
    def params(self) -> Params:
        return {"W": self.W, "b": self.b}

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """Kernel, stride and padding rule of the axes H and W."""
        return image_axes(type(self).__name__, self.W.shape[:2], self.stride, self.padding)

    def output_shape(self, input_shape: Shape) -> Shape:
        inputs, outputs = self.channels
        if len(input_shape) != 3 or input_shape[2] != inputs or 0 in input_shape:
            raise ValueError(f"{self}: sample has shape {input_shape}, expected (H, W, {inputs})")
        sides = zip(self.axes, input_shape[:2], strict=True)
        H, W = (self.output_side(axis, length) for axis, length in sides)
        if H < 1 or W < 1:
            raise ValueError(f"{self}: sample of shape {input_shape} is too small for the kernel")
        return H, W, outputs

    def _require_dy(self, dy: Array, x: Array) -> None:
        require_gradient(self, dy, (len(x), *self.output_shape(x.shape[1:])))

    def geometry(self, size: Pair) -> tuple[Pair, tuple[Pair, Pair]]:
        """Strides and zeros of the correlation over an image of `size` (H, W)."""
        h, w = self.axes
        return (h.stride, w.stride), (h.zeros(size[0]), w.zeros(size[1]))


@dataclass(eq=False, repr=False)
class Conv2d(_Convolution):
    """Strided convolution of images.

        y[n,i,j,k]  = b[k] + Σ_{p,q,c} x̃[n, i s_h + p, j s_w + q, c] W[p,q,c,k]
        dx[n,h,w,c] = Σ dy[n,i,j,k] W[p,q,c,k]
                      over all p, q, i, j, k with i s_h + p = h + before_h, j s_w + q = w + before_w
        dW[p,q,c,k] = Σ_{n,i,j} x̃[n, i s_h + p, j s_w + q, c] dy[n,i,j,k]         db = Σ_{n,i,j} dy

    x (N, H, W, C), x̃ is x with the zeros of `padding` around it, W (kh, kw, C, K), b (K,),
    y (N, OH, OW, K). `stride` is one integer or (s_h, s_w); l2ae_core.layers.padding has the rules
    of `padding`. Raises ValueError when the parameters or an input do not fit.
    """

    def output_side(self, axis: Axis, length: int) -> int:
        return axis.correlated(length)

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Cache]:
        self.output_shape(sample_shape(self, x))
        stride, padding = self.geometry(x.shape[1:3])
        return ops.correlate(x, self.W, self.b, stride=stride, padding=padding), x

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        grads, size = self.weight_grads(dy, cache), cache.shape[1:3]
        stride, padding = self.geometry(size)
        dx = ops.correlate_adjoint_x(
            dy, self.W, None, image_size=size, stride=stride, padding=padding
        )
        return dx, grads

    def weight_grads(self, dy: Array, cache: Cache) -> Params:
        x = cache
        self._require_dy(dy, x)
        stride, padding = self.geometry(x.shape[1:3])
        kernel = self.W.shape[:2]
        dW = ops.correlate_adjoint_W(x, dy, kernel_size=kernel, stride=stride, padding=padding)
        return {"W": dW, "b": ops.bias_adjoint(dy)}


@dataclass(eq=False, repr=False)
class ConvTranspose2d(_Convolution):
    """Adjoint of a strided convolution ("deconvolution"): each pixel of x adds a kernel to y.

        y[n,h,w,c]  = b[c] + Σ x[n,i,j,k] W[p,q,c,k]
                      over all p, q, i, j, k with i s_h + p = h + before_h, j s_w + q = w + before_w
        dx[n,i,j,k] = Σ_{p,q,c} dỹ[n, i s_h + p, j s_w + q, c] W[p,q,c,k]
        dW[p,q,c,k] = Σ_{n,i,j} dỹ[n, i s_h + p, j s_w + q, c] x[n,i,j,k]         db = Σ_{n,h,w} dy

    x (N, H, W, IN), W (kh, kw, OUT, IN) as in Keras, b (OUT,), y (N, OH, OW, OUT) with OH, OW by
    l2ae_core.layers.padding; dỹ is dy with the zeros of the convolution over an OH×OW image.
    Raises ValueError when the parameters or an input do not fit.
    """

    _order: ClassVar[Literal[1, -1]] = -1

    def output_side(self, axis: Axis, length: int) -> int:
        return axis.transposed(length)

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Cache]:
        OH, OW, _ = self.output_shape(sample_shape(self, x))
        stride, padding = self.geometry((OH, OW))
        y = ops.correlate_adjoint_x(
            x, self.W, self.b, image_size=(OH, OW), stride=stride, padding=padding
        )
        return y, x

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        grads = self.weight_grads(dy, cache)
        stride, padding = self.geometry(dy.shape[1:3])
        dx = ops.correlate(dy, self.W, None, stride=stride, padding=padding)
        return dx, grads

    def weight_grads(self, dy: Array, cache: Cache) -> Params:
        x = cache
        self._require_dy(dy, x)
        stride, padding = self.geometry(dy.shape[1:3])
        kernel = self.W.shape[:2]
        dW = ops.correlate_adjoint_W(dy, x, kernel_size=kernel, stride=stride, padding=padding)
        return {"W": dW, "b": ops.bias_adjoint(dy)}
