"""CUDA kernels: the .cu files in `source`, and the host code that launches them.

`device.py` has the one class that knows where a kernel runs: on a GPU through CuPy, or on the CPU
through the emulator, from the same text. Nothing here imports CuPy before a device is asked for.
"""
