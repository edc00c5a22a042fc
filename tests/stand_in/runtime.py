"""The functions of CUDA's runtime that CuPy calls: the device itself; the others are beside."""

import ctypes

from .device import NAME, StandIn
from .errors import Code, Refused
from .functions import INT, POINTER, SIZE, Texts, store, takes
from .kernels import (
    BLOCKS_EACH,
    CAPABILITY,
    MOST_BLOCKS,
    MOST_THREADS,
    MULTIPROCESSORS,
    REGISTERS_EACH,
    SHARED,
    SHARED_EACH,
    SHARED_OPTIN,
    SHARED_RESERVED,
    THREADS_EACH,
)
from .runtime_memory import BYTES, MemoryFunctions
from .runtime_streams import StreamFunctions

VERSION = 13_000
ATTRIBUTES = {  # cudaDeviceAttr
    1: MOST_THREADS, 8: SHARED, 10: 32, 12: REGISTERS_EACH, 16: MULTIPROCESSORS, 39: THREADS_EACH,
    75: CAPABILITY[0], 76: CAPABILITY[1], 81: SHARED_EACH, 95: 1, 97: SHARED_OPTIN,
    106: BLOCKS_EACH, 111: SHARED_RESERVED,
}  # fmt: skip
PROPERTIES_BYTES = 1008  # of cudaDeviceProp, with some of its members by where they lie
PROPERTIES = {
    288: (SIZE, (BYTES,)), 296: (SIZE, (SHARED,)), 304: (INT, (REGISTERS_EACH, 32)),
    320: (INT, (MOST_THREADS, MOST_THREADS, MOST_THREADS, 64, *MOST_BLOCKS)),
    360: (INT, CAPABILITY), 384: (INT, (MULTIPROCESSORS,)), 672: (SIZE, (SHARED_OPTIN,)),
}  # fmt: skip


class Runtime(MemoryFunctions, StreamFunctions):
    """What replaces the runtime inside of CuPy. Handles are numbers, results go to addresses."""

    def __init__(self, device: StandIn) -> None:
        super().__init__(device)
        texts = Texts(device, lambda code: "cudaError" + code.name.title().replace("_", ""))
        by_code = ctypes.CFUNCTYPE(POINTER, INT)  # these two return addresses, not codes
        self._pointers["cudaGetErrorName"] = by_code(texts.name)
        self._pointers["cudaGetErrorString"] = by_code(texts.description)

    # --- the device

    @takes(POINTER)
    def cudaGetDeviceCount(self, count: int) -> None:
        store(count, INT, 1)

    @takes(POINTER)
    def cudaGetDevice(self, index: int) -> None:
        store(index, INT, 0)

    @takes(INT)
    def cudaSetDevice(self, index: int) -> None:
        if index != 0:
            raise Refused(Code.INVALID_DEVICE)

    @takes(POINTER, INT, INT)
    def cudaDeviceGetAttribute(self, value: int, attribute: int, index: int) -> None:
        self.cudaSetDevice(index)
        store(value, INT, ATTRIBUTES.get(attribute, 0))

    @takes(POINTER, INT)
    def cudaGetDeviceProperties(self, properties: int, index: int) -> None:
        self.cudaSetDevice(index)
        ctypes.memset(properties, 0, PROPERTIES_BYTES)
        ctypes.memmove(properties, NAME.encode(), len(NAME))
        for offset, (kind, values) in PROPERTIES.items():
            for i, value in enumerate(values):
                store(properties + offset + i * ctypes.sizeof(kind), kind, value)

    @takes(POINTER)
    def cudaRuntimeGetVersion(self, version: int) -> None:
        store(version, INT, VERSION)

    @takes(POINTER)
    def cudaDriverGetVersion(self, version: int) -> None:
        store(version, INT, VERSION)

    @takes()
    def cudaGetLastError(self) -> None:
        """No error is kept beside those that are returned."""

    @takes()
    def cudaDeviceSynchronize(self) -> None:
        self.device.counts["waits for the device"] += 1
        self.device.schedule.refuse_while_any_is_captured()
        self.device.schedule.synchronize_all()
        self.device.refuse_when_broken()
