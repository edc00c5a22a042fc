"""The functions of CUDA's driver that CuPy calls: modules, launches, occupancy."""

import ctypes

from .device import StandIn
from .errors import Code, Refused
from .functions import INT, POINTER, SIZE, TEXT, UNSIGNED, Library, Texts, load, store, takes
from .kernels import MOST_THREADS, Module, Size

ATTRIBUTE_THREADS, ATTRIBUTE_SHARED, ATTRIBUTE_DYNAMIC = 0, 1, 8  # CUfunction_attribute


class Driver(Library):
    """What CuPy finds in place of libcuda.so.1. Handles are numbers, results go to addresses."""

    def __init__(self, device: StandIn) -> None:
        super().__init__(device)
        self._texts = Texts(device, lambda code: f"CUDA_ERROR_{code.name}")

    @takes(INT, POINTER)
    def cuGetErrorName(self, code: int, text: int) -> None:
        store(text, SIZE, self._texts.name(code))

    @takes(INT, POINTER)
    def cuGetErrorString(self, code: int, text: int) -> None:
        store(text, SIZE, self._texts.description(code))

    @takes(POINTER)
    def cuCtxGetCurrent(self, context: int) -> None:
        store(context, SIZE, 1)

    @takes(POINTER, POINTER)
    def cuModuleLoadData(self, handle: int, image: int) -> None:
        module = Module(ctypes.string_at(image).decode(), self.device.order)
        store(handle, SIZE, self.device.keep(self.device.modules, module))

    @takes(POINTER)
    def cuModuleUnload(self, handle: int) -> None:
        del self.device.modules[handle]  # launches that are queued keep what they need

    @takes(POINTER, POINTER, TEXT)
    def cuModuleGetFunction(self, handle: int, module: int, name: bytes) -> None:
        function = self.device.modules[module].function(name.decode())
        store(handle, SIZE, self.device.keep(self.device.functions, function))

    @takes(POINTER, INT, POINTER)
    def cuFuncGetAttribute(self, value: int, attribute: int, handle: int) -> None:
        function = self.device.functions[handle]
        values = {
            ATTRIBUTE_THREADS: min(function.most_threads, MOST_THREADS),
            ATTRIBUTE_SHARED: function.static_shared,
            ATTRIBUTE_DYNAMIC: function.most_dynamic,
        }
        if attribute not in values:
            raise Refused(Code.INVALID_VALUE)
        store(value, INT, values[attribute])

    @takes(POINTER, INT, INT)
    def cuFuncSetAttribute(self, handle: int, attribute: int, value: int) -> None:
        if attribute != ATTRIBUTE_DYNAMIC:
            raise Refused(Code.NOT_SUPPORTED)
        self.device.functions[handle].allow_dynamic(value)

    @takes(POINTER, POINTER, INT, SIZE)
    def cuOccupancyMaxActiveBlocksPerMultiprocessor(
        self, blocks: int, handle: int, threads: int, dynamic: int
    ) -> None:
        store(blocks, INT, self.device.functions[handle].blocks_each(threads, dynamic))

    @takes(POINTER, *[UNSIGNED] * 7, POINTER, POINTER, POINTER)
    def cuLaunchKernel(self, handle: int, *arguments: int) -> None:
        self._launch(handle, *arguments[:9], cooperative=False)

    @takes(POINTER, *[UNSIGNED] * 7, POINTER, POINTER)
    def cuLaunchCooperativeKernel(self, handle: int, *arguments: int) -> None:
        self._launch(handle, *arguments, cooperative=True)

    def _launch(self, handle: int, *arguments: int, cooperative: bool) -> None:
        """Queue a kernel: a grid of three numbers, a block, shared memory, stream, parameters."""
        gx, gy, gz, bx, by, bz, dynamic, stream, parameters = arguments
        function = self.device.functions[handle]
        values = []
        for i, size in enumerate(function.parameters):
            address = load(parameters + 8 * i, SIZE)
            if not address:  # the driver would read from there
                raise Refused(Code.INVALID_VALUE)
            values.append(ctypes.string_at(address, size))
        grid: Size = (gx, gy, gz)
        block: Size = (bx, by, bz)
        on = self.device.stream(stream)
        self.device.launch(function, grid, block, dynamic, on, values, cooperative)
