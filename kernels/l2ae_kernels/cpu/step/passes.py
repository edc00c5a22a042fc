"""The two passes of some samples through all stages, and the loss between them, as calls.

Forward leaves the input of every stage; backward turns the gradient of each output into that of the
input. What suits a linear stage are its `Product`s; the normalizations are here, but for batch norm
(batch_norm.py), whose stage is the first of a range in both passes: what it needs of all samples is
made between two ranges.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import NamedTuple

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.microkernels.calls import sum_rows
from l2ae_kernels.cpu.microkernels.elementwise import NORMALIZE, NORMALIZE_ADJOINT, SQUARED_ERROR
from l2ae_kernels.cpu.microkernels.program import FLOAT, Call, address
from l2ae_kernels.cpu.microkernels.standardize import STANDARDIZE, STANDARDIZE_ADJOINT
from l2ae_kernels.cpu.step.batch_norm import BatchNorm
from l2ae_kernels.cpu.step.memory import Arena, Constants
from l2ae_kernels.cpu.step.products import Product
from l2ae_kernels.geometry import Images
from l2ae_kernels.stages import Shape, Stage

LOSS, NORMALIZED, NORMALIZED_ADJOINT = "loss", "normalize", "normalize, adjoint"  # what parts do


class Buffers(NamedTuple):
    """Addresses of what `samples` samples have at each stage."""

    samples: int
    values: list[int]  # the input of each stage, and the last output
    gradients: list[int]  # of these; that of the images is not made
    inverses: list[int]  # 1/n or 1/σ of each row of a normalization
    means: list[int]
    du: int  # of the second loss


def norm_rows(s: Stage) -> int:
    """Rows of a sample that a stage normalizes, 0 for a linear one."""
    return 0 if s.linear else prod(s.input_shape[:-1])


class Layout:
    """Where N samples have their buffers in memory; images and residuals may be padded, to x and d
    floats.
    """

    def __init__(
        self, stages: Sequence[Stage], input_shape: Shape, N: int, code: int | None, arena: Arena,
        x: int = 0, d: int = 0,
    ) -> None:  # fmt: skip
        self.sizes = [prod(input_shape), *(prod(s.output_shape) for s in stages)]
        self.rows = [norm_rows(s) for s in stages]
        images, *floats = (N * size for size in self.sizes)
        self.values = [arena.take(n) for n in (x or images, *floats)]
        self.gradients = [0, *(arena.take(n) for n in (*floats[:-1], d or images))]
        self.inverses, self.means = ([arena.take(N * r) for r in self.rows] for _ in range(2))
        self.D = 0 if code is None else self.sizes[code]
        self.u, self.du = self.values[code or 0], arena.take(N * self.D)

    def codes(self, memory: Array, N: int) -> list[Array]:
        """Return the codes u (N, D) and, to be written, du of the second loss."""
        return [memory[at : at + N * self.D].reshape(N, self.D) for at in (self.u, self.du)]

    def at(self, memory: int, samples: int, n: int = 0) -> Buffers:
        """Return the addresses for the samples from n on."""

        def addresses(offsets: list[int], sizes: list[int]) -> list[int]:
            return [memory + (o + n * k) * FLOAT for o, k in zip(offsets, sizes, strict=True)]

        return Buffers(
            samples, addresses(self.values, self.sizes), addresses(self.gradients, self.sizes),
            addresses(self.inverses, self.rows), addresses(self.means, self.rows),
            *addresses([self.du], [self.D]),
        )  # fmt: skip


class Part(NamedTuple):
    """The calls of a step that do one thing."""

    stage: int | None  # None: of no stage
    what: str  # "forward", "adjoint in W", "adjoint in x", "normalize", "loss", …
    calls: list[Call]


def calls_of(parts: Iterable[Part]) -> Iterator[Call]:
    """Yield the calls of parts, in order."""
    for part in parts:
        yield from part.calls


class Passes(NamedTuple):
    """The calls for one set of buffers."""

    stages: Sequence[Stage]
    products: Mapping[int, Product]  # of the linear stages
    norms: Mapping[int, BatchNorm]  # of the stages that are one
    at: Buffers
    constants: Constants

    def forward(self, first: int, last: int) -> Iterator[Part]:
        """Stages first … last − 1."""
        x, constants = self.at.values, self.constants
        for i in range(first, last):
            s = self.stages[i]
            if s.linear:
                b, slope = constants.parameter(s, "b"), address(constants.slopes[i:])
                calls = self.products[i].forward(x[i], x[i + 1], b, slope)
                yield Part(i, "forward", [*calls])
            elif s.kind == "batch_norm":
                yield Part(i, NORMALIZED, [self.norms[i].forward(x[i + 1])])
            else:
                yield Part(i, NORMALIZED, [self._normalize(i, s)])

    def backward(
        self, first: int, last: int, code: int | None, shard: Mapping[str, int]
    ) -> Iterator[Part]:
        """Stages last − 1 … first; du is added at the input of stage `code`, dγ and dβ to `shard`.

        Of a batch norm, which is stage `first`, the sums alone.
        """
        at, constants = self.at, self.constants
        for i in reversed(range(first, last)):
            s, x, dy, dx = self.stages[i], at.values[i], at.gradients[i + 1], at.gradients[i]
            if s.kind == "batch_norm":
                yield Part(i, NORMALIZED_ADJOINT, [self.norms[i].sums(dy)])
                continue
            if not s.linear:
                calls = [self._normalize_adjoint(i, s, dy, dx, shard)]
                yield Part(i, NORMALIZED_ADJOINT, calls)
                continue
            yield Part(i, "adjoint in W", [*self.products[i].gradient(x, dy)])
            if i:
                gate = x if self.stages[i - 1].slope != 1.0 else 0  # what the activation made
                slope = address(constants.slopes[i - 1 :])
                calls = [*self.products[i].backward(dy, dx, slope, gate)]
                if i == code:
                    calls.append(sum_rows(at.du, 1, at.samples * prod(s.input_shape), dx))
                yield Part(i, "adjoint in x", calls)

    def moments(self, i: int) -> Part:
        """What batch norm i needs of its input."""
        return Part(i, NORMALIZED, [self.norms[i].moments(self.at.values[i])])

    def adjoint(self, i: int) -> Part:
        """The gradient of the input of batch norm i, from the sums of its adjoint."""
        return Part(i, NORMALIZED_ADJOINT, [self.norms[i].adjoint(self.at.gradients[i])])

    def _normalize(self, i: int, s: Stage) -> Call:
        at, constants = self.at, self.constants
        x, y, D = at.values[i], at.values[i + 1], s.input_shape[-1]
        guard = address(constants.guards[i:])
        if s.kind == "l2_normalize":
            return Call("normalize", NORMALIZE.row(
                z=x, u=y, inverse=at.inverses[i], samples=at.samples * norm_rows(s), D=D,
                eps2=guard,
            ))  # fmt: skip
        gamma, beta = address(constants.ones), address(constants.zeros)
        if s.affine:
            gamma, beta = (constants.parameter(s, name) for name in ("gamma", "beta"))
        return Call("standardize", STANDARDIZE.row(
            x=x, y=y, mean=at.means[i], inverse=at.inverses[i], gamma=gamma, beta=beta, eps=guard,
            slope=address(constants.slopes[i:]), rows=at.samples * norm_rows(s), D=D,
        ))  # fmt: skip

    def _normalize_adjoint(
        self, i: int, s: Stage, dy: int, dx: int, shard: Mapping[str, int]
    ) -> Call:
        at, D = self.at, s.input_shape[-1]
        if s.kind == "l2_normalize":
            return Call("normalize_adjoint", NORMALIZE_ADJOINT.row(
                u=at.values[i + 1], inverse=at.inverses[i], du=dy, dz=dx,
                samples=at.samples * norm_rows(s), D=D,
            ))  # fmt: skip
        gamma, dgamma, dbeta = address(self.constants.ones), 0, 0
        if s.affine:
            gamma = self.constants.parameter(s, "gamma")
            dgamma, dbeta = (shard[f"{s.name}.{name}"] for name in ("gamma", "beta"))
        return Call("standardize_adjoint" + "_affine" * s.affine, STANDARDIZE_ADJOINT.row(
            x=at.values[i], dy=dy, dx=dx, mean=at.means[i], inverse=at.inverses[i], gamma=gamma,
            dgamma=dgamma, dbeta=dbeta, rows=at.samples * norm_rows(s), D=D,
        ))  # fmt: skip


def squared_error(
    y: int, x: Images, d: Images, image: Shape, samples: int, total: int, constants: Constants,
    loss: int, loss_sample: int,
) -> Call:  # fmt: skip
    """Eq. 3 and its gradient d, of images and reconstructions y; see SQUARED_ERROR."""
    return Call("squared_error", SQUARED_ERROR.row(
        y=y, x=x.address, x_sample=x.sample, x_row=x.row, d=d.address, d_sample=d.sample,
        d_row=d.row, samples=samples, rows=image[0], columns=prod(image[1:]), total=total,
        scale=address(constants.scale), loss=loss, loss_sample=loss_sample,
    ))  # fmt: skip
