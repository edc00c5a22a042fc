"""The three products of a linear stage, each with the kernels that suit it.

    forward    y = finish(A x + b)                       A: a correlation, its adjoint, or x ↦ x W
    gradient   dW += adjoint in W of (x, dy),  db += Σ dy
    backward   dx = finish(Aᵀ dy), finish being the mask of the activation that made x

`finish` is the activation with `slope`, or, with a `gate`, its adjoint (cpu/microkernels/tiles.py).
Everything is an address in the memory of one thread.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.microkernels import calls
from l2ae_kernels.cpu.microkernels.program import FLOAT, Call
from l2ae_kernels.cpu.microkernels.winograd_calls import Winograd
from l2ae_kernels.geometry import Geometry
from l2ae_kernels.stages import Stage


def geometry(s: Stage) -> Geometry:
    """Return that of a linear stage's correlation, which a transposed one reverses; dense: 1×1."""
    if s.kind == "dense":
        return Geometry(1, 1, s.input_shape[-1], 1, 1, s.output_shape[-1], 1, 1, 1, 1, 0, 0)
    x, y = s.input_shape, s.output_shape
    if s.kind == "conv_transpose":
        x, y = y, x
    return Geometry.of(x, y, s.kernel, s.stride, s.padding)


class Padded:
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
class Product(ABC):
    """A correlation or, `transposed`, its adjoint in x."""

    g: Geometry
    transposed: bool
    samples: int
    W: int  # as `correlate` reads it
    W_adjoint: int  # as `adjoint_x` reads it
    zeros: int  # a bias of 0, as long as any
    one: int  # a slope of 1
    dW: int
    db: int

    def forward(self, x: int, y: int, b: int, slope: int) -> Iterator[Call]:
        """y = finish(A x + b)."""
        return (self.adjoint_x if self.transposed else self.correlate)(x, y, b, slope, 0)

    def gradient(self, x: int, dy: int) -> Iterator[Call]:
        """dW += adjoint in W of (x, dy), db += Σ dy; zeros around padded images change no sum."""
        yield from self.adjoint_W(*(dy, x) if self.transposed else (x, dy))
        g = self.large
        rows, outputs = (g.H * g.W, g.C) if self.transposed else (g.OH * g.OW, g.K)
        yield calls.sum_rows(dy, self.samples * rows, outputs, self.db)

    def backward(self, dy: int, dx: int, slope: int, gate: int) -> Iterator[Call]:
        """dx = finish(Aᵀ dy); called after `gradient`, whose transforms it may use."""
        product = self.correlate if self.transposed else self.adjoint_x
        return product(dy, dx, self.zeros, slope, gate)

    @property
    def large(self) -> Geometry:
        """The geometry with the larger images as they lie in memory."""
        return self.g

    @abstractmethod
    def correlate(self, x: int, y: int, b: int, slope: int, gate: int) -> Iterator[Call]:
        """y = finish(correlate(x, W) + b)."""

    @abstractmethod
    def adjoint_x(self, y: int, x: int, b: int, slope: int, gate: int) -> Iterator[Call]:
        """x = finish(adjoint(y, W) + b)."""

    @abstractmethod
    def adjoint_W(self, x: int, y: int) -> Iterator[Call]:
        """dW += adjoint in W of (x, y)."""

    def end(self) -> Iterator[Call]:
        """After the last one."""
        return iter(())


@dataclass(frozen=True)
class DenseProduct(Product):
    """x ↦ x W, a correlation of 1×1 images: C inputs, K outputs. W is not packed."""

    panels: int = 0  # workspace: dy, packed
    workspace: int = 0  # of AMX

    def correlate(self, x: int, y: int, b: int, slope: int, gate: int) -> Iterator[Call]:
        yield self._dense(self.g.C, self.g.K, x, y, b, slope, gate, transposed=False)

    def adjoint_x(self, y: int, x: int, b: int, slope: int, gate: int) -> Iterator[Call]:
        yield self._dense(self.g.K, self.g.C, y, x, b, slope, gate, transposed=True)

    def adjoint_W(self, x: int, y: int) -> Iterator[Call]:
        g = self.g
        return calls.adjoint_W(g, self.samples, g.x_images(x), g.y_images(y), self.panels, self.dW)

    def _dense(
        self, inputs: int, outputs: int, x: int, y: int, b: int, slope: int, gate: int,
        *, transposed: bool,
    ) -> Call:  # fmt: skip
        return calls.dense(
            self.samples, inputs, outputs, x, self.W, b, y, transposed=transposed, one=self.one,
            slope=slope, gate=gate, workspace=self.workspace,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TiledProduct(Product):
    """A convolution over register tiles."""

    vectors: Vectors
    panels: int  # workspace: the smaller images, packed
    padded: Padded | None = None  # the larger images

    @property
    def large(self) -> Geometry:
        return self.padded.geometry if self.padded else self.g

    def correlate(self, x: int, y: int, b: int, slope: int, gate: int) -> Iterator[Call]:
        g = self.large
        return calls.correlate(
            g, self.samples, g.x_images(x), self.W, b, g.y_images(y), self.vectors,
            slope=slope, gate=gate,
        )  # fmt: skip

    def adjoint_x(self, y: int, x: int, b: int, slope: int, gate: int) -> Iterator[Call]:
        g = self.g
        return calls.adjoint_x(
            g, self.samples, g.y_images(y), self.W_adjoint, b, g.x_images(x), self.vectors,
            slope=slope, gate=gate,
        )  # fmt: skip

    def adjoint_W(self, x: int, y: int) -> Iterator[Call]:
        g = self.padded.merged if self.padded else self.g
        return calls.adjoint_W(
            g, self.samples, self.large.x_images(x), self.g.y_images(y), self.panels, self.dW
        )


@dataclass(frozen=True, kw_only=True)
class WinogradProduct(Product):
    """The same by Winograd's algorithm. dW is summed in the transform domain, in `dU`.

    A micro-batch is taken in pieces, each of the samples that `winograd` is for: their matrices
    stay in the second-level cache.
    """

    winograd: Winograd
    x_transform: int  # workspace: the transform-domain matrices of the larger images,
    y_transform: int  # of the smaller images
    dU: int

    def correlate(self, x: int, y: int, b: int, slope: int, gate: int) -> Iterator[Call]:
        is_known = self.transposed and self.winograd.samples == self.samples  # from adjoint_W
        for at_x, at_y in self._pieces():
            if not is_known:
                yield from self.winograd.transform_x(self.g.x_images(x + at_x), self.x_transform)
            yield from self.winograd.correlate(
                self.x_transform, self.W, self.y_transform, b, self.g.y_images(y + at_y),
                slope=slope, gate=gate and gate + at_y,
            )  # fmt: skip

    def adjoint_x(self, y: int, x: int, b: int, slope: int, gate: int) -> Iterator[Call]:
        for at_x, at_y in self._pieces():
            yield from self.winograd.adjoint_x(
                self.g.y_images(y + at_y), self.y_transform, self.W_adjoint, self.x_transform, b,
                self.g.x_images(x + at_x), slope=slope, gate=gate and gate + at_x,
            )  # fmt: skip

    def adjoint_W(self, x: int, y: int) -> Iterator[Call]:
        for at_x, at_y in self._pieces():
            yield from self.winograd.transform_x(self.g.x_images(x + at_x), self.x_transform)
            yield from self.winograd.adjoint_W(
                self.x_transform, self.g.y_images(y + at_y), self.y_transform, self.dU
            )

    def end(self) -> Iterator[Call]:
        return self.winograd.finish_W(self.dU, self.dW)

    def _pieces(self) -> Iterator[tuple[int, int]]:
        """Bytes before each piece, in the larger images and in the smaller ones."""
        x, y = self.g.x_images(0), self.g.y_images(0)
        for n in range(0, self.samples, self.winograd.samples):
            yield n * x.sample * FLOAT, n * y.sample * FLOAT
