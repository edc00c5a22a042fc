"""One call of an operation: how it is made, and what has to come of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from guarded import Array, Memory
from oracle import assert_close, expected, nearest

from l2ae_kernels import ops
from l2ae_kernels.cpu.codegen.vectors import vectors
from l2ae_kernels.cpu.threads import threads

CLUSTERS = ("assign", "update", "restarts")
NO_BUFFER = (*CLUSTERS, "adam_step", "moments", "squared_error")


@dataclass
class Call:
    """What is called, with what, and where its arrays lie; `odd`: what was made odd."""

    operation: str
    arguments: dict[str, Any]
    vectors: str
    threads: int
    memory: Memory
    odd: list[str]

    def __str__(self) -> str:
        words = [f"{name}={word(value)}" for name, value in self.arguments.items()]
        how = f"vectors={self.vectors} threads={self.threads} odd={self.odd}"
        return f"{self.operation}({', '.join(words)}) {how}"

    def make(self) -> Any:
        """Call the operation; of `restarts`, make one assignment."""
        with vectors(self.vectors), threads(self.threads), np.errstate(all="ignore"):
            found = getattr(ops, self.operation)(**self.arguments)
            if self.operation == "restarts":
                runs, k = found.centers.shape[:2]
                for r in range(runs):
                    found.centers[r] = found.x[np.arange(r, r + k) % len(found.x)]
                found.assign(list(range(runs)))
            return found

    def check(self) -> str:
        """Make the call; "accepted" or "refused". AssertionError for what is wrong."""
        names = "pmv" if self.operation == "adam_step" else ""
        before = {n: np.array(self.arguments[n]) for n in names if n in self.arguments}
        try:
            found = self.make()
        except ValueError as error:
            named(str(error), self.operation, "AdamSettings", "Restarts")
            assert self.memory.intact(), "memory changed in a call that was refused"
            return "refused"
        assert self.memory.intact(), "memory in front of an array changed, or an input"
        inputs = self.arguments | before
        inputs.pop("out", None)
        if self.operation in CLUSTERS:
            self._check_clusters(found, tame(inputs))
            return "accepted"
        results = found if isinstance(found, tuple) else (np.asarray(found),)
        if self.operation == "adam_step":
            results = tuple(self.arguments[name] for name in "pmv")
        out = self.arguments.get("out")
        assert out is None or found is out or found[0] is out, "out is not what is returned"
        for got, (exact, bound) in zip(results, expected(self.operation, inputs), strict=True):
            assert_close(got, exact, bound if tame(inputs) else None)
        return "accepted"

    def _check_clusters(self, found: Any, numbers: bool) -> None:
        x = np.asarray(self.arguments["x"])
        if self.operation == "assign":
            labels, distances = found
            in_range(labels, len(self.arguments["centers"]))
            assert not numbers or nearest(x, self.arguments["centers"], labels, distances)
        elif self.operation == "update":
            _check_sums(x, np.asarray(self.arguments["labels"]), *found, numbers)
        else:
            for r, labels in enumerate(found.labels):
                _check_sums(x, labels, found.sums[r], found.counts[r], numbers)
                assert not numbers or nearest(x, found.centers[r], labels, None)


def _check_sums(x: Array, labels: Array, sums: Array, counts: Array, numbers: bool) -> None:
    in_range(labels, len(counts))
    assert np.array_equal(counts, np.bincount(labels.astype("i8"), minlength=len(counts)))
    if numbers:
        one_hot = (labels[:, None] == np.arange(len(counts))).astype("f8")
        limit = 1e-12 * (1 + len(x)) ** 2 * np.abs(x).max(initial=0)
        assert np.abs(sums - one_hot.T @ x.astype("f8")).max(initial=0) <= limit + 1e-300


def in_range(labels: Array, k: int) -> None:
    """Assert that labels are those of k clusters."""
    assert labels.min(initial=0) >= 0
    assert labels.max(initial=0) < k


def named(message: str, *names: str) -> None:
    """Assert that an error has one line, which begins with one of the names."""
    assert "\n" not in message, f"several lines: {message!r}"
    assert message.startswith(names), f"not one of {names} is named: {message}"


def tame(arguments: dict[str, Any]) -> bool:
    """Whether all numbers are finite, and their products too."""
    arrays = [np.asarray(a) for a in arguments.values() if isinstance(a, np.ndarray)]
    floats = [a for a in arrays if a.dtype.kind in "fc"]
    return all(np.isfinite(a).all() and np.abs(a).max(initial=0) < 1e15 for a in floats)


def word(value: Any) -> str:
    """A value in few words."""
    if isinstance(value, np.ndarray):
        flags = "C" * value.flags.c_contiguous + "W" * value.flags.writeable
        return f"<{type(value).__name__} {value.dtype} {value.shape} {value.strides} {flags}>"
    if isinstance(value, int) and abs(value) > 10**30:
        return "a very large integer"
    return repr(value)
