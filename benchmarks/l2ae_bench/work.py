"""What a call has to do: its operations and bytes, and the rate that its time makes of them."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Unit: TypeAlias = Literal["flop", "bytes"]
UNITS: dict[Unit, str] = {"flop": "GFLOP/s", "bytes": "GB/s"}
FMA, SGEMM, TRIAD = "gflop-fma", "gflop-sgemm", "triad-"  # rows; TRIAD: and the bytes of all arrays
GIGA = 1e9


@dataclass(frozen=True)
class Work:
    """What a call has to do, and which of both its speed is told by."""

    flop: float
    bytes: float
    unit: Unit = "flop"
    dtype: str = "float32"

    @property
    def amount(self) -> float:
        """What its speed is told by."""
        return self.flop if self.unit == "flop" else self.bytes

    def times(self, factor: float) -> "Work":
        """Return the work of so many calls."""
        return replace(self, flop=factor * self.flop, bytes=factor * self.bytes)

    def rate(self, ms: float, unit: Unit | None = None) -> float:
        """Return GFLOP/s or GB/s of a call that takes so many ms."""
        amounts = {"flop": self.flop, "bytes": self.bytes}
        return amounts[unit or self.unit] / ms / 1e6

    @property
    def intensity(self) -> float:
        """Floating-point operations a byte."""
        return self.flop / self.bytes


def is_ceiling(workload: str) -> bool:
    """Whether a row is of a ceiling: its time is that of 10⁹ operations or bytes."""
    return workload in (FMA, SGEMM) or workload.startswith(TRIAD)


def triad_name(size: int) -> str:
    """Return the name of the row of a triad whose arrays have `size` bytes together."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if size >= factor:
            return f"{TRIAD}{size // factor}{unit}"
    return f"{TRIAD}{size >> 10}KiB"


def triad_bytes(name: str) -> int:
    """Inverse of `triad_name`."""
    number, unit = name.removeprefix(TRIAD)[:-3], name[-3:]
    return int(number) << {"KiB": 10, "MiB": 20, "GiB": 30}[unit]
