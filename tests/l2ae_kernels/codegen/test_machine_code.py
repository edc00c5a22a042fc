"""The cache of machine code: what is kept, and what happens when it is damaged or not ours."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from l2ae_kernels.cpu.codegen import machine_code
from l2ae_kernels.cpu.codegen.emitter import Module
from l2ae_kernels.cpu.codegen.machine_code import Library
from l2ae_kernels.cpu.codegen.vectors import SETS

IR = 'define void @"f"(i64 %a) {{ %p = inttoptr i64 %a to ptr\n store i64 {}, ptr %p\n ret void }}'


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("L2AE_CACHE_DIR", str(tmp_path / "kernels"))
    return tmp_path / "kernels"


@pytest.fixture
def compiled(monkeypatch):
    """How often something was compiled."""
    real, count = machine_code.compile_ir, []

    def counting(ir):
        count.append(ir)
        return real(ir)

    monkeypatch.setattr(machine_code, "compile_ir", counting)
    return count


def answer(number):
    """What the function of IR writes."""
    out = np.zeros(1, np.int64)
    Library(IR.format(number)).function("f", 1)(out.ctypes.data)
    return int(out[0])


def test_code_is_compiled_once_and_found_by_its_content(cache, compiled):
    assert [answer(7), answer(7), answer(8), answer(7)] == [7, 7, 8, 7]
    assert len(compiled) == 2
    assert len(list(cache.iterdir())) == 2


def test_a_damaged_entry_is_compiled_again(cache, compiled):
    answer(7)
    (path,) = cache.iterdir()
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert answer(7) == 7
    assert path.read_bytes() == good
    assert len(compiled) == 2


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path, compiled, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("L2AE_CACHE_DIR", str(tmp_path / "file" / "kernels"))
    assert [answer(7), answer(7)] == [7, 7]
    assert len(compiled) == 2


def test_other_processors_have_other_entries(cache, compiled, monkeypatch):
    answer(7)
    monkeypatch.setattr("l2ae_kernels.cpu.codegen.cache.host", lambda: ("x86-64", ""))
    machine_code.load_or_compile(IR.format(7))
    assert len(compiled) == 2


@pytest.mark.slow
def test_processes_that_start_at_once_share_the_cache(cache):
    script = "import test_machine_code as t; print(sum(t.answer(n) for n in range(20)))"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True,
            cwd=os.path.dirname(__file__),  # noqa: PTH120
        )
        for _ in range(3)
    ]  # fmt: skip
    assert [p.communicate()[0].strip() for p in processes] == ["190"] * 3
    assert len(list(cache.iterdir())) == 20  # no temporary file is left


def test_a_library_of_sources_is_not_written_as_ir_again(cache, compiled):
    written = []

    def build(vectors):
        written.append(vectors.name)
        module = Module(vectors)
        with module.function("f", 1) as (e, out):
            e.b.store(e.index(vectors.lanes).value, e.pointer(out))
        return module

    out = np.zeros(1, np.int64)
    for vectors in (SETS["avx2"], SETS["neon"], SETS["avx2"]):
        Library.of(build, vectors).function("f", 1)(out.ctypes.data)
        assert out[0] == vectors.lanes
    assert written == ["avx2", "neon"]


def module_of(number):
    def build(vectors):
        module = Module(vectors)
        with module.function("f", 1) as (e, out):
            e.b.store(e.index(number).value, e.pointer(out))
        return module

    build.__qualname__ = f"module_of({number})"
    return build


@pytest.mark.parametrize("threads", [1, 3])
def test_several_libraries_are_compiled_side_by_side(cache, compiled, threads):
    builds, out = [module_of(n) for n in range(5)], np.zeros(1, np.int64)
    found = Library.all_of([(builds[1], SETS["avx2"])])
    found += Library.all_of([(build, SETS["avx2"]) for build in builds], threads)
    for library, expected in zip(found, [1, 0, 1, 2, 3, 4], strict=True):
        library.function("f", 1)(out.ctypes.data)
        assert out[0] == expected
    assert found[0] is found[2]
    assert len(compiled) == len(list(cache.iterdir())) == 5


def test_an_error_of_one_compilation_is_raised_and_the_others_are_kept(cache, monkeypatch):
    real = machine_code.compile_ir

    def failing(ir):
        if "i64 2" in ir:
            raise RuntimeError("LLVM says no")
        return real(ir)

    monkeypatch.setattr(machine_code, "compile_ir", failing)
    with pytest.raises(RuntimeError, match="LLVM says no"):
        Library.all_of([(module_of(n), SETS["avx2"]) for n in range(4)], 2)
    assert len(list(cache.iterdir())) == 3


def test_changed_sources_are_compiled_again(cache, compiled, monkeypatch):
    def build(vectors):
        module = Module(vectors)
        with module.function("f", 0):
            pass
        return module

    Library.of(build, SETS["avx2"])
    monkeypatch.setattr(machine_code, "digest", lambda: "other")
    Library.of(build, SETS["avx2"])
    assert len(compiled) == 2


def test_threads_that_need_a_library_at_once_get_the_same(cache, compiled):
    """Kernels are known by address alone: a second library would leave the first to be freed."""

    def build(vectors):
        time.sleep(0.02)
        module = Module(vectors)
        with module.function("f", 0):
            pass
        return module

    with ThreadPoolExecutor(2) as pool:
        libraries = list(pool.map(lambda _: Library.of(build, SETS["avx2"]), range(2)))
    assert libraries[0] is libraries[1]
    assert len(compiled) == 1
