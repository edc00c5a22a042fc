"""What to call for the products of a stride-2 layer by Winograd's algorithm; see winograd.py.

The twin of calls.py: the same three products, on addresses, for geometries where it pays.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod

from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.microkernels.pack import COPY
from l2ae_kernels.cpu.microkernels.program import FLOAT, Call
from l2ae_kernels.cpu.microkernels.winograd import POINTS, points
from l2ae_kernels.cpu.microkernels.winograd_layouts import (
    FilterLayout,
    Group,
    Phase,
    TransformLayout,
    groups_of,
    panel_vectors,
    phases_of,
    tiles_of,
)
from l2ae_kernels.cpu.microkernels.winograd_products import MULTIPLY, MULTIPLY_ADJOINT
from l2ae_kernels.cpu.microkernels.winograd_transforms import (
    FILL,
    FILTER,
    INPUT,
    OUTPUT,
    kernel_name,
)
from l2ae_kernels.geometry import Geometry, Images

ENOUGH = 32  # tiles whose matrices stay in the second-level cache; filters are read for them all
PAYS = 0.7  # products over those of the direct way, below which the transforms are worth it


@dataclass(frozen=True)
class Winograd:
    """The products of one geometry for micro-batches of so many samples."""

    g: Geometry
    samples: int
    vectors: Vectors
    zeros: int  # address of as many zeros as a row of x, or of y, has floats
    one: int  # address of a 1

    @classmethod
    def fits(cls, g: Geometry, vectors: Vectors) -> bool:
        """Whether the transforms exist for a geometry, and it has so many taps that they pay."""
        rows, columns = phases_of(g.kh, g.sh, g.top), phases_of(g.kw, g.sw, g.left)
        if any(p.taps not in (2, 3) for p in rows + columns) or (g.sh, g.sw) == (1, 1):
            return False
        if len({p.before for p in rows}) > 1 or len({p.before for p in columns}) > 1:
            return False  # the classes of pixels would not use the same tiles of y
        if g.C % vectors.lanes or g.K % (vectors.lanes * panel_vectors(vectors).columns):
            return False
        along_h, along_w = (
            sum(len(points(p.taps, t.outputs)) * t.number for p in phases for t in tiles_of(size))
            for phases, size in zip((rows, columns), _outputs(g), strict=True)
        )
        direct = _reached(g.H, g.OH, g.kh, g.sh, g.top) * _reached(g.W, g.OW, g.kw, g.sw, g.left)
        return along_h * along_w < PAYS * direct

    @staticmethod
    def piece(g: Geometry, samples: int) -> int:
        """Return how many of `samples` samples to take at once: those that make enough tiles."""
        tiles = prod(sum(t.number for t in tiles_of(size)) for size in _outputs(g))
        while samples % 2 == 0 and samples // 2 * tiles >= ENOUGH:
            samples //= 2
        return samples

    # where things lie

    @cached_property
    def phases(self) -> list[tuple[Phase, Phase]]:
        """The phases of both axes; matrices hold their channels in this order."""
        g = self.g
        rows, columns = phases_of(g.kh, g.sh, g.top), phases_of(g.kw, g.sw, g.left)
        return [(h, w) for h in rows for w in columns]

    @cached_property
    def groups(self) -> list[Group]:
        """The tiles of all samples, by their sizes."""
        return groups_of(self.samples, *_outputs(self.g))

    @property
    def tiles(self) -> int:
        """Rows of the matrices."""
        return sum(group.rows for group in self.groups)

    @property
    def x_layout(self) -> TransformLayout:
        """The matrices with phases: V of the correlation, M of the adjoint in x."""
        return TransformLayout.of(self.tiles, self.g.C * len(self.phases))

    @property
    def y_layout(self) -> TransformLayout:
        """The matrices without: M of the correlation, V of the adjoint in x, dM."""
        return TransformLayout.of(self.tiles, self.g.K)

    @property
    def filter_layout(self) -> FilterLayout:
        """U and dU of the correlation."""
        return FilterLayout.of(self.g.C * len(self.phases), self.g.K, self._panel_width)

    @property
    def reversed_filter_layout(self) -> FilterLayout:
        """U of the adjoint in x."""
        return FilterLayout.of(self.g.K, self.g.C * len(self.phases), self._panel_width)

    def width(self, point: int) -> int:
        """Channels of all phases that have the point: columns of V and rows of U."""
        return self._slot(None, point)

    def sizes(self) -> tuple[int, int, int]:
        """Floats of the matrices with phases, of those without, and of U and dU."""
        return self.x_layout.floats, self.y_layout.floats, self.filter_layout.floats

    def packed_floats(self) -> tuple[int, int]:
        """Floats of packed U for the correlation and for its adjoint in x."""
        return self.filter_layout.floats, self.reversed_filter_layout.floats

    # the three products, and the two packings

    def pack_correlate(self, W: int, packed: int) -> Iterator[Call]:
        """U = G g Gᵀ for the correlation, packed."""
        yield from self._filter("winograd_filter", W, packed)

    def pack_adjoint_x(self, W: int, workspace: int, packed: int) -> Iterator[Call]:
        """U of the reversed taps, transposed and packed; `workspace` is as large as W."""
        g, U = self.g, self.reversed_filter_layout
        yield Call("copy", COPY.row(
            source=W, source_sample=g.C * g.K, source_row=1, source_column=g.K, source_batch=0,
            target=workspace, target_sample=g.C * g.K, target_row=g.C, target_column=1,
            samples=g.kh * g.kw, rows=g.K, columns=g.C, total=g.kh * g.kw,
        ))  # fmt: skip
        for phase in self.phases:
            h, w = phase
            tap_h, tap_w, first = self._taps(phase)
            column, last = (self._slot(phase, point) for point in (0, POINTS - 1))
            end = first + (h.taps - 1) * tap_h + (w.taps - 1) * tap_w
            yield Call(f"winograd_filter_{h.taps}{w.taps}", FILTER.row(
                W=workspace + end * FLOAT, tap_h=-tap_h, tap_w=-tap_w, C=g.K, K=g.C, U=packed,
                panel=U.panel, point=U.point, row=0, column=column, last_row=0, last_column=last,
            ))  # fmt: skip

    def transform_x(self, x: Images, V: int) -> Iterator[Call]:
        """V = Bᵀ d B of the phases of x, for `correlate` and `adjoint_W`."""
        g = self.g
        for phase in self.phases:
            h, w = phase
            kernel, size = f"input_{h.taps}{w.taps}", (g.H, g.W, g.C)
            base = (h.first - g.top, w.first - g.left)
            yield from self._input(kernel, x, size, (g.sh, g.sw), base, V, self.x_layout, phase)

    def correlate(
        self, V: int, packed: int, M: int, b: int, y: Images, *, slope: int, gate: int = 0
    ) -> Iterator[Call]:
        """y = finish(correlate(x, W) + b) from V of x."""
        g, V_at, U_at, M_at = self.g, self.x_layout, self.filter_layout, self.y_layout
        for p in range(POINTS**2):
            yield self._multiply(p, V, V_at, packed, U_at, M, M_at, self.width(p), g.K)
        size = (g.OH, g.OW, g.K)
        yield from self._output("output_33", M, M_at, None, b, y, size, slope, gate)

    def adjoint_x(
        self, y: Images, V: int, packed: int, M: int, b: int, x: Images,
        *, slope: int, gate: int = 0,
    ) -> Iterator[Call]:  # fmt: skip
        """x = finish(adjoint(y, W) + b); V holds the transform of y, M the products."""
        g, V_at, U_at, M_at = self.g, self.y_layout, self.reversed_filter_layout, self.x_layout
        (h, w), *_ = self.phases
        size, base = (g.OH, g.OW, g.K), (-h.before, -w.before)
        yield from self._input("input_33", y, size, (1, 1), base, V, V_at)
        for p in range(POINTS**2):
            yield self._multiply(p, V, V_at, packed, U_at, M, M_at, g.K, self.width(p))
        for phase in self.phases:
            h, w = phase
            at = (h.pixel * x.row + w.pixel * x.pixel) * FLOAT
            pixels = Images(x.address + at, x.sample, x.row * g.sh, x.pixel * g.sw, x.batch)
            size = (-(-(g.H - h.pixel) // g.sh), -(-(g.W - w.pixel) // g.sw), g.C)
            yield from self._output(
                f"output_{h.taps}{w.taps}", M, M_at, phase, b, pixels, size, slope,
                gate and gate + at,
            )  # fmt: skip

    def adjoint_W(self, V: int, y: Images, dM: int, dU: int) -> Iterator[Call]:
        """dU += Vᵀ dM, from V of x; from the micro-batch on that `first` of the calls says."""
        g, V_at, dM_at, dU_at = self.g, self.x_layout, self.y_layout, self.filter_layout
        yield from self._input("spread", y, (g.OH, g.OW, g.K), (1, 1), (0, 0), dM, dM_at)
        for p in range(POINTS**2):
            first, rows = self._rows(p)
            yield Call("multiply_adjoint", MULTIPLY_ADJOINT.row(
                x=V + V_at.at(p, first), x_row=V_at.row, inputs=self.width(p),
                dy=dM + dM_at.at(p, first), dy_row=dM_at.row, dw=dU + p * dU_at.point * FLOAT,
                w_panel=dU_at.panel, rows=rows, outputs=g.K, first=-1,
            ))  # fmt: skip

    def clear(self, dU: int) -> Call:
        """Set dU to 0."""
        return Call("fill", FILL.row(address=dU, count=self.filter_layout.floats))

    def finish_W(self, dU: int, dW: int) -> Iterator[Call]:
        """dW += Gᵀ dU G."""
        yield from self._filter("winograd_filter_adjoint", dW, dU)

    # rows of arguments

    @property
    def _panel_width(self) -> int:
        return self.vectors.lanes * panel_vectors(self.vectors).columns

    def _slot(self, phase: tuple[Phase, Phase] | None, point: int) -> int:
        """Channels of the phases before this one, of all for None, that have a point."""
        earlier = self.phases[: self.phases.index(phase)] if phase else self.phases
        i, j = divmod(point, POINTS)
        return self.g.C * sum(i in points(h.taps) and j in points(w.taps) for h, w in earlier)

    def _taps(self, phase: tuple[Phase, Phase]) -> tuple[int, int, int]:
        """Floats of W between neighbouring taps of a phase along H and W, and before the first."""
        g, (h, w) = self.g, phase
        tap = g.C * g.K
        return g.sh * g.kw * tap, g.sw * tap, (h.first * g.kw + w.first) * tap

    def _filter(self, kernel: str, W: int, U: int) -> Iterator[Call]:
        """Calls of a kernel between filters W and the matrices U of the correlation."""
        g, U_at = self.g, self.filter_layout
        for phase in self.phases:
            h, w = phase
            tap_h, tap_w, first = self._taps(phase)
            row, last = (self._slot(phase, point) for point in (0, POINTS - 1))
            yield Call(f"{kernel}_{h.taps}{w.taps}", FILTER.row(
                W=W + first * FLOAT, tap_h=tap_h, tap_w=tap_w, C=g.C, K=g.K, U=U, panel=U_at.panel,
                point=U_at.point, row=row, column=0, last_row=last, last_column=0,
            ))  # fmt: skip

    def _multiply(
        self, p: int, x: int, x_at: TransformLayout, w: int, w_at: FilterLayout, y: int,
        y_at: TransformLayout, inputs: int, outputs: int,
    ) -> Call:  # fmt: skip
        """The product of one point."""
        first, rows = self._rows(p)
        return Call("multiply", MULTIPLY.row(
            x=x + x_at.at(p, first), x_row=x_at.row, inputs=inputs,
            w=w + p * w_at.point * FLOAT, w_panel=w_at.panel, y=y + y_at.at(p, first),
            y_row=y_at.row, rows=rows, outputs=outputs,
        ))  # fmt: skip

    def _rows(self, p: int) -> tuple[int, int]:
        """The first tile that has a point, and how many there are."""
        groups = [group for group in self.groups if group.has(p)]
        return groups[0].first if groups else 0, sum(group.rows for group in groups)

    def _slots(self, phase: tuple[Phase, Phase] | None) -> tuple[int, int]:
        """Floats before a phase in the rows of V or M, and how much further it is at j = 5."""
        if phase is None:
            return 0, 0
        first, last = (self._slot(phase, point) for point in (0, POINTS - 1))
        return first, last - first

    def _input(
        self, kernel: str, x: Images, size: tuple[int, int, int], step: tuple[int, int],
        base: tuple[int, int], V: int, V_at: TransformLayout,
        phase: tuple[Phase, Phase] | None = None,
    ) -> Iterator[Call]:  # fmt: skip
        """Calls of a kernel between pixels x and V, for tiles of each size."""
        (H, W, C), (slot, last) = size, self._slots(phase)
        for group in self.groups:
            h, w = group.h, group.w
            yield Call(kernel_name((h.outputs, w.outputs), kernel), INPUT.row(
                x=x.address, x_sample=x.sample, x_row=x.row, x_pixel=x.pixel, x_batch=x.batch, H=H,
                W=W, C=C, samples=self.samples, tiles_h=h.number, tiles_w=w.number, step_h=step[0],
                step_w=step[1], base_h=base[0] + h.first * step[0],
                base_w=base[1] + w.first * step[1], zeros=self.zeros,
                V=V + V_at.at(0, group.first) + slot * FLOAT, row=V_at.row, point=V_at.point,
                last=last,
            ))  # fmt: skip

    def _output(
        self, kernel: str, M: int, M_at: TransformLayout, phase: tuple[Phase, Phase] | None, b: int,
        y: Images, size: tuple[int, int, int], slope: int, gate: int,
    ) -> Iterator[Call]:  # fmt: skip
        """Calls of a kernel between M and pixels y, for tiles of each size."""
        (H, W, C), (slot, last) = size, self._slots(phase)
        for group in self.groups:
            h, w = group.h, group.w
            name = kernel_name((h.outputs, w.outputs), kernel)
            at = (h.first * y.row + w.first * y.pixel) * FLOAT
            yield Call(name, OUTPUT.row(
                y=y.address + at, y_sample=y.sample, y_row=y.row, y_pixel=y.pixel, y_batch=y.batch,
                H=H - h.first, W=W - w.first, C=C, samples=self.samples, tiles_h=h.number,
                tiles_w=w.number, b=b, slope=slope, gate=gate and gate + at,
                M=M + M_at.at(0, group.first) + slot * FLOAT, row=M_at.row, point=M_at.point,
                last=last,
            ))  # fmt: skip


def _outputs(g: Geometry) -> tuple[int, int]:
    """Rows and columns that tiles reach: those of y, and those of a phase of x."""
    return max(g.OH, -(-g.H // g.sh)), max(g.OW, -(-g.W // g.sw))


def _reached(size: int, outputs: int, kernel: int, stride: int, before: int) -> int:
    """Pairs of output and tap along an axis whose pixel lies in the image."""
    return sum(0 <= o * stride + i - before < size for o in range(outputs) for i in range(kernel))
