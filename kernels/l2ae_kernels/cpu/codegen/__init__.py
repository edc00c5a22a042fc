"""A small compiler of vector kernels: Python writes LLVM IR, LLVM makes machine code of it.

    vectors.py   what the machine's vector unit is like, and how to force another
    emitter.py   the language: vectors, loops, calls
    amx.py       the same for tile registers, where amx_permission.py says they can be used
    machine_code.py   IR to machine code, kept on disk, called without the GIL
    cache.py     where that is

Numba compiles Python loops and hopes that LLVM finds the vectors. A register-tiled kernel must
know which values stay in registers over the whole loop, and which are broadcast from memory. So it
is written in terms of registers, by a Python function that unrolls what is known when it runs.
"""
