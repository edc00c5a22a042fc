"""C functions in Python: how CuPy gets them, and how they write their results."""

import ctypes
from collections.abc import Callable
from typing import Any, TypeVar

from .device import StandIn
from .errors import Code, Refused

POINTER, INT, UNSIGNED, SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint, ctypes.c_size_t
FLOAT, TEXT = ctypes.c_float, ctypes.c_char_p

Method = TypeVar("Method", bound=Callable[..., Any])


def takes(*types: Any) -> Callable[[Method], Method]:
    """Declare the C types of a method's arguments: it is the function of CUDA of its name."""

    def declare(method: Method) -> Method:
        method.c_types = types  # type: ignore[attr-defined]
        return method

    return declare


def store(address: int, kind: Any, value: Any) -> None:
    """Write a result to where the caller wants it."""
    kind.from_address(address).value = value


def load(address: int, kind: Any) -> Any:
    """Read what an argument points to."""
    return kind.from_address(address).value


class Library:
    """Functions of CUDA as methods.

    A method that raises `Refused` returns its code. Any other error is a fault of the device: no
    exception passes through C. What no method is declared for is counted, and not supported.
    """

    def __init__(self, device: StandIn) -> None:
        self.device = device
        self._pointers: dict[str, Any] = {}

    def pointer(self, name: str) -> Any:
        """Return the C function of a name."""
        if name not in self._pointers:
            method = getattr(self, name, None)
            types = getattr(method, "c_types", ())
            call = self._missing(name) if method is None else self._guarded(method)
            self._pointers[name] = ctypes.CFUNCTYPE(INT, *types)(call)
        return self._pointers[name]

    def _guarded(self, method: Callable[..., Any]) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            try:
                with self.device.call():
                    method(*arguments)
            except Refused as refused:
                return int(refused.code)
            except Exception as error:  # noqa: BLE001  C would drop it
                self.device.faults.append(error)
                return int(Code.LAUNCH_FAILURE)
            return int(Code.SUCCESS)

        return call

    def _missing(self, name: str) -> Callable[[], int]:
        def call() -> int:
            self.device.unknown[name] += 1
            return int(Code.NOT_SUPPORTED)

        return call


class Texts:
    """Names and descriptions of the codes, where C finds them as long as the process runs."""

    def __init__(self, device: StandIn, name_of: Callable[[Code], str]) -> None:
        self._device, self._name_of = device, name_of
        self._kept: dict[str, Any] = {}

    def name(self, code: int) -> int:
        """Return the address of a name that ends with 0."""
        return self._address(self._name_of(Code(code)) if code in set(Code) else "unknown error")

    def description(self, code: int) -> int:
        """Return the address of a description: of a fault, what the emulator says of it."""
        faults = self._device.faults
        if code != Code.LAUNCH_FAILURE or not faults:
            return self.name(code)
        return self._address(f"{type(faults[0]).__name__}: {faults[0]}")

    def _address(self, text: str) -> int:
        if text not in self._kept:
            self._kept[text] = ctypes.create_string_buffer(text.encode())
        return ctypes.addressof(self._kept[text])
