"""The memory of a compiled step: buffers that are laid out once, and constants at an address."""

from collections.abc import Callable, Iterable, Sequence
from math import prod
from operator import is_
from threading import local

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.microkernels.library import Kernels
from l2ae_kernels.cpu.microkernels.program import FLOAT, Call, Program, address
from l2ae_kernels.cpu.numba.optim import adam_numbers
from l2ae_kernels.stages import AdamSettings, Params, Stage

ALIGNMENT = 16  # floats: a cache line
HUGE_PAGE = 1 << 19  # floats: 2 MB


class Arena:
    """Memory that is laid out piece by piece before it exists: offsets first, one array then."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, floats: int) -> int:
        """Return the offset of a new piece."""
        offset = self.size
        self.size += -(-floats // ALIGNMENT) * ALIGNMENT
        return offset


def aligned(floats: int) -> Array:
    """Return zeros that begin a cache line, and if they are many, a page of 2 MB.

    NumPy asks for such pages where an array has 4 MB; one is one TLB entry, not 512: a step is 3 %
    faster. What is not touched takes no memory.
    """
    unit, more = (HUGE_PAGE, 2 * HUGE_PAGE) if floats > HUGE_PAGE // 4 else (ALIGNMENT, ALIGNMENT)
    memory = np.zeros(floats + unit + more, np.float32)
    first = -address(memory) // FLOAT % unit
    return memory[first : first + floats]


class Workspace(local):
    """Memory of each thread that asks for its address."""

    def __init__(self, floats: int) -> None:
        self._memory = aligned(floats)
        self.address = address(self._memory)


class Constants:
    """What the kernels of all threads read: parameters, and numbers at an address."""

    def __init__(self, stages: Sequence[Stage], params: Params) -> None:
        self.params = params
        shapes = [stages[0].input_shape, *(s.output_shape for s in stages)]
        self.zeros = np.zeros(max(map(prod, shapes)), np.float32)
        self.ones, self.scale = np.ones_like(self.zeros), np.ones(1, np.float32)
        self.slopes = np.array([s.slope for s in stages], np.float32)
        guards = [s.eps**2 if s.kind == "l2_normalize" else s.eps for s in stages]
        self.guards = np.array(guards, np.float32)  # ε² or ε under a root

    def parameter(self, s: Stage, name: str) -> int:
        """Return the address of a parameter of a stage."""
        return address(self.params[f"{s.name}.{name}"])


class AdamProgram:
    """The program that applies Adam, made anew where the moments are other arrays."""

    def __init__(self) -> None:
        self.numbers = np.zeros(7, np.float32)  # where the kernel looks for them
        self.made: tuple[list[Array], Program] | None = None

    def program(
        self,
        code: Kernels,
        calls: Callable[[Params, Params, int], Iterable[Call]],
        m: Params,
        v: Params,
        settings: AdamSettings,
        step: int,
    ) -> Program:
        """Return the program of calls(m, v, address of the numbers), with those of this step."""
        self.numbers[:] = adam_numbers(settings, step)
        moments = [*m.values(), *v.values()]
        if self.made is None or not all(map(is_, moments, self.made[0])):
            self.made = moments, Program(code, calls(m, v, address(self.numbers)))
        return self.made[1]
