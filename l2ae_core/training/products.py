"""The three products of a stage, each with the kernels that suit it: all have the same face.

    forward    y = finish(A x + b)                                  A is linear, see layers/conv.py
    gradient   dW += adjoint in W of (x, dy)
    backward   dx = finish(Aᵀ dy), finish being the mask of the activation that made x

`finish` is the activation with `slope`, or, with a `gate`, its adjoint (cpu/microkernels/tiles.py).
Everything is an address in the memory of one thread.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.microkernels import calls, dense_calls
from l2ae_kernels.cpu.microkernels.calls import Call
from l2ae_kernels.cpu.microkernels.filtering import Filtering
from l2ae_kernels.geometry import Geometry, Images


class Products(Protocol):
    """What a micro-batch asks of a stage."""

    def forward(self, x: int, y: int, b: int, slope: int) -> Iterator[Call]:
        """y = finish(A x + b)."""

    def gradient(self, x: int, dy: int, dW: int) -> Iterator[Call]:
        """dW += adjoint in W of (x, dy)."""

    def backward(self, dy: int, dx: int, slope: int, gate: int) -> Iterator[Call]:
        """dx = finish(Aᵀ dy); called after `gradient`, whose work it may use."""


@dataclass(frozen=True)
class Weights:
    """Addresses: W packed for the correlation and for its adjoint (W itself for a dense layer)."""

    correlation: int
    adjoint: int
    zeros: int  # a bias of 0, as long as any
    one: int  # a slope of 1


class Bordered:
    """Images of few channels with zeros around them, so that every window lies inside.

    All kw·C values of a kernel row are then one run in every window: `merged` takes them as so many
    channels, enough to fill a gradient tile.
    """

    def __init__(self, g: Geometry, samples: int) -> None:
        H = max((g.OH - 1) * g.sh + g.kh, g.top + g.H)
        W = max((g.OW - 1) * g.sw + g.kw, g.left + g.W)
        self.geometry = replace(g, H=H, W=W, top=0, left=0)
        self.merged = replace(self.geometry, C=g.kw * g.C, kw=1)
        self.inside = (g.top * W + g.left) * g.C  # where the first pixel of the image lies
        self.floats = samples * H * W * g.C


@dataclass(frozen=True)
class DenseProducts:
    """A x = x W."""

    g: Geometry  # 1×1: C inputs, K outputs
    samples: int
    weights: Weights
    panels: int  # room for dy, packed

    def forward(self, x: int, y: int, b: int, slope: int) -> Iterator[Call]:
        g, w = self.g, self.weights
        yield dense_calls.dense(
            self.samples, g.C, g.K, Images(x, g.C, 0, 0), w.correlation, b, Images(y, g.K, 0, 0),
            turned=False, one=w.one, slope=slope,
        )  # fmt: skip

    def gradient(self, x: int, dy: int, dW: int) -> Iterator[Call]:
        g = self.g
        yield from calls.adjoint_W(g, self.samples, g.x_images(x), g.y_images(dy), self.panels, dW)

    def backward(self, dy: int, dx: int, slope: int, gate: int) -> Iterator[Call]:
        g, w = self.g, self.weights
        yield dense_calls.dense(
            self.samples, g.K, g.C, Images(dy, g.K, 0, 0), w.correlation, w.zeros,
            Images(dx, g.C, 0, 0), turned=True, one=w.one, slope=slope, gate=gate,
        )  # fmt: skip


@dataclass(frozen=True)
class TiledProducts:
    """A convolution or, `transposed`, its adjoint, over register tiles."""

    g: Geometry
    transposed: bool
    samples: int
    weights: Weights
    vectors: Vectors
    panels: int  # room for the smaller images, packed
    border: Bordered | None = None  # of the larger images

    def forward(self, x: int, y: int, b: int, slope: int) -> Iterator[Call]:
        product = self._adjoint if self.transposed else self._correlate
        return product(x, y, b, slope, 0)

    def gradient(self, x: int, dy: int, dW: int) -> Iterator[Call]:
        large, small = (dy, x) if self.transposed else (x, dy)
        g = self.border.merged if self.border else self.g
        return calls.adjoint_W(
            g, self.samples, self._large(large), self.g.y_images(small), self.panels, dW
        )

    def backward(self, dy: int, dx: int, slope: int, gate: int) -> Iterator[Call]:
        product = self._correlate if self.transposed else self._adjoint
        return product(dy, dx, self.weights.zeros, slope, gate)

    def _large(self, address: int) -> Images:
        return (self.border.geometry if self.border else self.g).x_images(address)

    def _correlate(self, x: int, y: int, b: int, slope: int, gate: int) -> Iterator[Call]:
        g = self.border.geometry if self.border else self.g
        return calls.correlate(
            g, self.samples, self._large(x), self.weights.correlation, b, g.y_images(y),
            self.vectors, slope=slope, gate=gate,
        )  # fmt: skip

    def _adjoint(self, y: int, x: int, b: int, slope: int, gate: int) -> Iterator[Call]:
        g = self.g
        return calls.adjoint_x(
            g, self.samples, g.y_images(y), self.weights.adjoint, b, g.x_images(x), self.vectors,
            slope=slope, gate=gate,
        )  # fmt: skip


@dataclass(frozen=True)
class FilteredProducts:
    """The same by Winograd's filtering. dW is summed by points, in `dU`, whatever dW is given."""

    filtering: Filtering
    transposed: bool
    weights: Weights
    x_points: int  # room for matrices by points: of the larger images,
    y_points: int  # of the smaller images
    dU: int

    def forward(self, x: int, y: int, b: int, slope: int) -> Iterator[Call]:
        f, w = self.filtering, self.weights
        if self.transposed:
            yield from self._adjoint(x, y, b, slope, 0)
        else:
            yield from f.transform_x(f.g.x_images(x), self.x_points)
            yield from f.correlate(
                self.x_points, w.correlation, self.y_points, b, f.g.y_images(y), slope=slope
            )

    def gradient(self, x: int, dy: int, dW: int) -> Iterator[Call]:
        f = self.filtering
        large, small = (dy, x) if self.transposed else (x, dy)
        yield from f.transform_x(f.g.x_images(large), self.x_points)
        yield from f.adjoint_W(self.x_points, f.g.y_images(small), self.y_points, self.dU)

    def backward(self, dy: int, dx: int, slope: int, gate: int) -> Iterator[Call]:
        f, w = self.filtering, self.weights
        if not self.transposed:
            yield from self._adjoint(dy, dx, w.zeros, slope, gate)
        else:  # `gradient` has left the transform of dy
            yield from f.correlate(
                self.x_points, w.correlation, self.y_points, w.zeros, f.g.y_images(dx),
                slope=slope, gate=gate,
            )  # fmt: skip

    def _adjoint(self, y: int, x: int, b: int, slope: int, gate: int) -> Iterator[Call]:
        f = self.filtering
        return f.adjoint_x(
            f.g.y_images(y), self.y_points, self.weights.adjoint, self.x_points, b,
            f.g.x_images(x), slope=slope, gate=gate,
        )  # fmt: skip
