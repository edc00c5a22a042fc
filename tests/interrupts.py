"""KeyboardInterrupt at a chosen instruction of Python, as a signal handler raises it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any


@contextmanager
def interrupted_at(n: int, *modules: ModuleType) -> Iterator[None]:
    """Raise KeyboardInterrupt before the n-th instruction of `modules` on this thread, n ≥ 1."""
    sources = {module.__file__ for module in modules}
    left = n

    def instruction(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return instruction

    def call(frame: FrameType, _event: str, _: Any) -> Any:
        return instruction(frame, "call", None) if frame.f_code.co_filename in sources else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        yield
    finally:
        sys.settrace(before)
