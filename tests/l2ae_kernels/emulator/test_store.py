"""Compiled kernels are kept, and made again only when something that they are made from changes."""

import stat
import subprocess
import sys

import numpy as np
import pytest

from l2ae_kernels.emulator import CompileError, RawModule, store, toolchain

CODE = """
#include "factor.cuh"
extern "C" __global__ void scale(float* x) { x[threadIdx.x] *= FACTOR; }
"""


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cache(shared_cache, compiler, monkeypatch):
    """A cache that begins empty, with one engine for all tests; each has its own header."""
    monkeypatch.setenv("L2AE_CACHE_DIR", str(shared_cache))
    compiler()
    return shared_cache / "emulator"


@pytest.fixture
def compiler(tmp_path_factory, monkeypatch):
    """A function that names the compiler to take, with more flags, and never optimizing."""
    real = toolchain.current()

    def take(*flags):
        script = tmp_path_factory.getbasetemp() / "-".join(["g++", *flags])
        script.write_text(f'#!/bin/sh\nexec {real} "$@" -O0 {" ".join(flags)}\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("CXX", str(script))

    return take


@pytest.fixture
def compilations(monkeypatch):
    """The libraries that are built while a test runs."""
    built = []
    build = toolchain.build

    def counted(text, options, tool, debug, engine, output):
        built.append(output)
        build(text, options, tool, debug, engine, output)

    monkeypatch.setattr(toolchain, "build", counted)
    return built


@pytest.fixture
def header(tmp_path):
    (tmp_path / "factor.cuh").write_text("#define FACTOR 2.0f\n")
    return tmp_path / "factor.cuh"


def scaled(header, code=CODE):
    x = np.ones(2, np.float32)
    module = RawModule(code=code, options=(f"-I{header.parent}",))
    module.get_function("scale")((1,), (2,), (x,))
    return x[0]


def test_compiled_once(cache, compilations, header):
    assert scaled(header) == 2
    assert scaled(header) == 2
    assert len(compilations) == 1
    assert not list(cache.rglob("*.tmp"))


def test_compiled_anew_when_an_included_file_changes(cache, compilations, header):
    assert scaled(header) == 2
    header.write_text("#define FACTOR 3.0f\n")
    assert scaled(header) == 3
    assert len(compilations) == 2


def test_damaged_library_is_compiled_anew(cache, compilations, header):
    assert scaled(header) == 2
    for library in cache.rglob("kernel.so"):
        damaged = library.read_bytes()[:-100]
        library.unlink()  # this process has it mapped
        library.write_bytes(damaged)
    assert scaled(header) == 2
    assert len(compilations) == 2


def test_folder_that_cannot_be_made_is_tolerated(cache, compilations, header):
    cache.mkdir(exist_ok=True)
    (cache / store.key(CODE, (f"-I{header.parent}",), None, False)).touch()
    assert scaled(header) == 2
    assert scaled(header) == 2
    assert len(compilations) == 1


@pytest.mark.slow
def test_two_processes_may_start_at_once(tmp_path, monkeypatch, header):
    monkeypatch.setenv("L2AE_CACHE_DIR", str(tmp_path))
    program = (
        "import numpy as np\n"
        "from l2ae_kernels.emulator import RawModule\n"
        f"m = RawModule(code={CODE!r}, options=('-I{header.parent}',))\n"
        "x = np.ones(2, np.float32); m.get_function('scale')((1,), (2,), (x,)); assert x[1] == 2\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]


def test_no_compiler_is_one_clear_error(cache, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(CompileError, match=r"no C\+\+ compiler. Install g\+\+ or clang\+\+"):
        RawModule(code="")


def test_fibers_without_assembly(cache, compiler, header):
    """The way of processors other than x86-64: ucontext."""
    compiler("-DEMULATOR_UCONTEXT")
    code = r"""
    extern "C" __global__ void scale(float* x) {
      __shared__ float kept[2];
      kept[threadIdx.x] = threadIdx.x == 1 ? 5.0f : 0.0f;
      __syncthreads();
      x[threadIdx.x] = __shfl_sync(0x3u, kept[1 - threadIdx.x], 0);
    }"""
    assert scaled(header, code) == 5
