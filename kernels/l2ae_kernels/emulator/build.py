"""From CUDA C++ to a library that the emulator runs, each made once: see store.py."""

from pathlib import Path

from l2ae_kernels.emulator import store, toolchain
from l2ae_kernels.emulator.translate import translate


def compiled(code: str, options: tuple[str, ...], tool: str | None, debug: bool) -> Path:
    """Return the library for `code`, from the cache where it is there."""
    name = store.key(code, options, tool, debug)
    path = store.find(name, "kernel.so")
    if path is not None:
        return path
    entry = store.writable(name)
    source = store.write(entry / "kernel.cu", code.encode())
    text = translate(toolchain.preprocess(code, source, options, tool))
    return store.make(
        entry / "kernel.so",
        lambda output: toolchain.build(text, options, tool, debug, engine(tool), output),
    )


def engine(tool: str | None) -> Path:
    """Return the object file of the engine, from the cache where it is there."""
    name = store.key("engine", (), tool)
    path = store.find(name, "engine.o")
    if path is not None:
        return path
    return store.make(
        store.writable(name) / "engine.o", lambda output: toolchain.build_engine(tool, output)
    )
