"""CUDA kernels: the .cu files in `source`, and the host code that launches them.

`device.py` and its subclass of `emulated.py` alone know where a kernel runs: on a GPU through CuPy,
or on the CPU through the emulator, from the same text. Nothing here imports CuPy before a device is
asked for.
"""
