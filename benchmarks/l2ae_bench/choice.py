"""Which workloads, rungs and shapes to time: what `run.py -k … --shape …` chooses.

A shape is a name (conv2, 500x2000, 70000x10-k10) or the sizes of x, in the order of its axes, with
or without those of the weights:

    correlate and its adjoints    N H W C, weights kh kw C K; 5 5 C 32 where none are given
    dense and its adjoints        N inputs, weights inputs outputs; 500 outputs
    assign, update, restarts      n d, and the number of clusters; 10
    warp, training_step           N H W C
    adam_step                     the number of parameters
    all others                    any axes, the last of features

An operation that cannot have such a shape is left out.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from l2ae_bench import operations
from l2ae_bench.case import Case
from l2ae_bench.shapes import Rule, Sizes, build
from l2ae_kernels.geometry import Pair
from l2ae_kernels.operations import IMPLEMENTATIONS

KMEANS = ("assign", "update", "restarts")
AXES = {"correlate": 4, "dense": 2, "warp": 4, "training_step": 4, "adam_step": 1,
        **dict.fromkeys(KMEANS, 2)}  # fmt: skip
FILTERS, OUTPUTS, CLUSTERS = 32, 500, 10


@dataclass(frozen=True)
class Choice:
    """What to time; everything where nothing is said."""

    pattern: str = ""  # a regular expression that is found in the name of the workload
    rungs: tuple[str, ...] = ()
    shape: str = ""
    weights: tuple[int, ...] = ()
    clusters: int = CLUSTERS
    stride: Pair = (2, 2)
    padding: Rule = "same"
    dtype: str = "float32"

    def takes(self, workload: str) -> bool:
        """Whether a workload is chosen by its name."""
        return re.search(self.pattern, workload) is not None

    def only(self, case: Case) -> list[str] | None:
        """Return the rungs of a case to time; None: all but the reference."""
        return [r for r in case.rungs() if r in self.rungs] if self.rungs else None

    def cases(self, quick: bool = False) -> list[Case]:
        """Return the operations to time on a CPU; ValueError as for `named`."""
        return [case for case in self.named(quick) if self.only(case) != []]

    def named(self, quick: bool = False) -> list[Case]:
        """Return the chosen operations, whatever rungs they have.

        ValueError for an unknown rung, or sizes with no shape.
        """
        self._check()
        return [case for case in self._shaped(quick) if self.takes(case.workload)]

    @property
    def of_operations(self) -> bool:
        """Whether it says anything that only operations have."""
        return self != Choice(self.pattern)

    def _check(self) -> None:
        given = self != replace(Choice(), pattern=self.pattern, rungs=self.rungs, shape=self.shape,
                                dtype=self.dtype)  # fmt: skip
        if given and not sizes_of(self.shape):
            raise ValueError(
                "--weights, --clusters, --stride, --padding: are for a --shape of sizes, such as "
                f"256x28x28x1, and it is {self.shape!r}"
            )
        known = {rung for table in IMPLEMENTATIONS.values() for rung in table}
        for rung in self.rungs:
            if rung not in known:
                raise ValueError(f"--rung: {rung!r} is not one of {', '.join(sorted(known))}")

    def _shaped(self, quick: bool) -> list[Case]:
        sizes = sizes_of(self.shape)
        found = []
        for operation in IMPLEMENTATIONS:
            shapes = operations.shapes(operation)
            if self.shape in shapes:
                shapes = {self.shape: shapes[self.shape]}
            elif self.shape:
                own = self._own(operation, sizes)
                shapes = {} if own is None else {self._name(own): own}
            elif quick:
                shapes = {n: s for n, s in shapes.items() if n in operations.QUICK}
            ending = "" if self.dtype == "float32" else f"-{self.dtype}"
            found += [build(operation, n + ending, s, self.dtype) for n, s in shapes.items()]
        return found

    def _own(self, operation: str, x: tuple[int, ...]) -> Sizes | None:
        """The sizes of an operation for its x; None when x or the weights do not fit it."""
        family = operation.partition("_adjoint")[0]
        if not x or len(x) != AXES.get(family, len(x)):
            return None
        made = Sizes(x, stride=self.stride, padding=self.padding)
        if family == "correlate":
            weights = self.weights or (5, 5, x[3], FILTERS)
            return replace(made, W=weights) if len(weights) == 4 and weights[2] == x[3] else None
        if family == "dense":
            weights = self.weights or (x[1], OUTPUTS)
            return replace(made, W=weights) if len(weights) == 2 and weights[0] == x[1] else None
        if family in KMEANS:
            return replace(made, k=self.clusters) if x[0] >= self.clusters else None
        return None if self.weights else made

    def _name(self, sizes: Sizes) -> str:
        """Say a shape of one's own, with all that its time depends on."""
        text = _times(sizes.x) + (f"-k{sizes.k}" if sizes.k else "")
        if len(sizes.W) == 4:
            (s, t), padding = sizes.stride, sizes.padding
            words = padding if isinstance(padding, str) else f"p{_times(padding)}"
            return f"{text}-w{_times(sizes.W)}-s{s if s == t else _times((s, t))}-{words}"
        return text + (f"-w{_times(sizes.W)}" if sizes.W else "")

    def __str__(self) -> str:
        named = {"-k": self.pattern, "--rung": ",".join(self.rungs), "--shape": self.shape,
                 "--weights": _times(self.weights),
                 "--dtype": "" if self.dtype == "float32" else self.dtype}  # fmt: skip
        return " ".join(f"{option} {value}" for option, value in named.items() if value)


def sizes_of(text: str) -> tuple[int, ...]:
    """Return the sizes of "256x28x28x1"; none of a text that is no such thing."""
    parts = text.split("x")
    return tuple(map(int, parts)) if all(re.fullmatch("[1-9][0-9]*", p) for p in parts) else ()


def _times(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))
