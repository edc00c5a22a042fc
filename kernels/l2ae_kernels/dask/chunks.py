"""The chunks of samples: whole blocks of rows, and a task for each.

A pass over the samples is one graph: for every chunk a task whose result stays where the chunk is,
and a small one whose result comes back. Every task is a function of a chunk and of what the pass
sends along, never of what an earlier pass left in a process: a result that was lost with a worker
is computed again, to the same bits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.core import flatten, get_dependencies

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.vectors import vectors
from l2ae_kernels.cpu.threads import threads
from l2ae_kernels.dask.tasks import Graph, Key, Node, Task, value
from l2ae_kernels.ops.checks import readable

BLOCK = 1024  # rows: chunks begin at multiples, where the blocks of all sums in order begin
FEW = 32  # times the bytes that travel to a chunk are less than those of the chunk
GRAPH = 1 << 23  # bytes of arrays that are written into one graph: Dask warns of more than 10 MB


def aligned(function: str, x: da.Array) -> da.Array:
    """Return x (n, d) in chunks of whole rows that begin at multiples of BLOCK.

    A boundary moves to the nearest multiple: at most BLOCK / 2 rows change their chunk. ValueError
    for chunks of unknown sizes, and for an empty axis.
    """
    if np.isnan(x.shape).any():
        raise ValueError(
            f"{function}: x has chunks of unknown sizes but expected known ones: "
            "x.compute_chunk_sizes() finds them"
        )
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(
            f"{function}: x has shape {x.shape}, expected (n, d) without an empty axis"
        )
    rows, columns = x.chunks
    ends = {round(end / BLOCK) * BLOCK for end in np.cumsum(rows).tolist()[:-1]}
    cuts = [0, *sorted(end for end in ends if 0 < end < len(x)), len(x)]
    chunks = (tuple(np.diff(cuts).tolist()), (sum(columns),))
    return x if x.chunks == chunks else x.rechunk(chunks, method="tasks")


def readable_chunk(function: str, x: Any) -> Array:
    """Return a chunk as kernels read it; ValueError unless it is an array without a mask.

    Its numbers are in memory in the order of samples in one piece: NumPy's sums depend on it.
    """
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
        raise ValueError(f"{function}: a chunk of x is {type(x).__name__} but expected an array")
    return readable(x)


def in_memory(x: da.Array) -> bool:
    """Return whether the chunks of x lie in memory, here or on workers: nothing is to be done."""
    return all(map(_is_data, dict(x.__dask_graph__()).values()))


def _is_data(node: Any) -> bool:
    """Whether a node of a graph is a result, here or on a worker, and no task."""
    return isinstance(getattr(node, "value", node), np.ndarray) or hasattr(node, "client")


@dataclass(frozen=True, eq=False)
class _Made:
    """A chunk that the task which takes it makes: it never travels."""

    key: Any
    graph: dict[Any, Any]

    def __call__(self) -> Any:
        return dask.get(self.graph, self.key)


def _made(keys: list[Key], graph: Graph) -> list[_Made | None]:
    """Return for each key how its result is made, if no other key takes part in that."""
    user: dict[Key, int] = {}  # of a part of the graph, the first
    own: list[Graph] = [{} for _ in keys]
    others = set[int]()  # that share a part, or are made of what is in memory
    for p, key in enumerate(keys):
        waiting = [key]
        while waiting:
            part = waiting.pop()
            if (first := user.setdefault(part, p)) != p:
                others |= {first, p}
            elif part not in own[p]:
                own[p][part] = graph[part]
                waiting += get_dependencies(graph, part)
                if _is_data(graph[part]):
                    others.add(p)
    return [None if p in others else _Made(key, own[p]) for p, key in enumerate(keys)]


class Chunks:
    """The chunks of x (n, d), which `aligned` made, and tasks for them.

    first[p] is the number of the first sample of chunk p. Kernels of all tasks are those for the
    set of vectors of this name, on whatever machine.
    """

    def __init__(self, x: da.Array, name: str = "none") -> None:
        self.sizes = x.chunks[0]
        self.first = np.cumsum([0, *self.sizes])[:-1]
        self.x, self.name = x, name
        (optimized,) = dask.optimize(x)
        # An optimized graph leaves out what is in memory already.
        graph = {**x.__dask_graph__(), **optimized.__dask_graph__()}
        keys = list(flatten(optimized.__dask_keys__()))
        self._chunks = [Node(key, graph) for key in keys]
        self._made = _made(keys, graph)

    def __len__(self) -> int:
        return len(self._chunks)

    def send(self, a: Array) -> Array | Task:
        """Return what tasks of all chunks take for an array that is here: as a rule itself.

        A task of a chunk then takes no other result but what was made of that chunk, and Dask runs
        it where these are. Where the array is not small beside a chunk it travels once to a worker,
        and Dask may move a chunk instead.
        """
        small = len(self) * a.nbytes <= min(GRAPH, self.x.nbytes / FEW)
        return a if small else value(a)

    def task(
        self, p: int, function: Callable[..., Any], *others: Task | Array | None, **named: Any
    ) -> Task:
        """Return a task that calls function(chunk p, its first number, *others, **named)."""
        shape, first = (self.sizes[p], self.x.shape[1]), int(self.first[p])
        here = {i: other for i, other in enumerate(others) if isinstance(other, np.ndarray)}
        tasks = [other if isinstance(other, Task) else None for other in others]
        call = _Call(function, first, shape, self.x.dtype, self.name, here, named, self._made[p])
        return Task(call, None if self._made[p] else self._chunks[p], *tasks)

    def map(
        self, function: Callable[..., Any], *others: Sequence[Task | Array | None], **named: Any
    ) -> list[Task]:
        """Return a task for each chunk; of a sequence of others each takes its own."""
        columns = zip(range(len(self)), *others, strict=True)
        return [self.task(p, function, *others, **named) for p, *others in columns]

    def holding(self, rows: Array) -> Array:
        """Return for each row the number of the chunk that holds it."""
        found: Array = np.searchsorted(self.first, rows, side="right") - 1
        return found


@dataclass(frozen=True, eq=False)
class _Call:
    """A call with a chunk, which has to be what the array that it is of says."""

    function: Callable[..., Any]
    first: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    vectors: str
    here: dict[int, Array]  # in the place of some of the others
    named: dict[str, Any]
    made: _Made | None

    @property
    def __name__(self) -> str:
        return self.function.__name__

    def __call__(self, x: Any, *others: Any) -> Any:
        """Use one thread: Dask runs as many tasks as there are cores."""
        if self.made is not None:
            x = self.made()
        x = readable_chunk("kmeans", x)
        if x.shape != self.shape or x.dtype != self.dtype:
            expected = f"{self.shape} {self.dtype}"
            raise ValueError(f"kmeans: a chunk of x is {x.shape} {x.dtype} but x says {expected}")
        with threads(1), vectors(self.vectors):
            taken = [self.here.get(i, other) for i, other in enumerate(others)]
            return self.function(x, self.first, *taken, **self.named)
