"""An instruction with its operands, as what makes C++ of it asks for them."""

from collections.abc import Callable
from dataclasses import dataclass

from l2ae_kernels.emulator.errors import CompileError
from l2ae_kernels.emulator.ptx.names import NUMBERS, Names
from l2ae_kernels.emulator.ptx.parse import Instruction

SPACES = ("shared", "global", "local", "param", "const")


@dataclass(frozen=True)
class Call:
    """An instruction with what most entries of the table ask it for."""

    instruction: Instruction
    names: Names

    @property
    def modifiers(self) -> tuple[str, ...]:
        """All of them; `shared::cta` is `shared`."""
        return tuple(m.replace("::cta", "") for m in self.instruction.modifiers)

    @property
    def types(self) -> list[str]:
        """Its PTX types: `cvt` has two."""
        return [m for m in self.modifiers if m in NUMBERS]

    @property
    def number(self) -> str:
        """The C++ type of its last PTX type."""
        return NUMBERS[self.types[-1]]

    @property
    def operands(self) -> tuple[str, ...]:
        """As they are written."""
        return self.instruction.operands

    @property
    def place(self) -> str:
        """The line, in C++."""
        return self.names.place(self.instruction.place)

    def has(self, *words: str) -> bool:
        """Whether it has one of the modifiers."""
        return any(word in self.modifiers for word in words)

    def one_of(self, *words: str) -> str:
        """Return which of the modifiers it has; "" for none."""
        return next((m for m in self.modifiers if m in words), "")

    def read(self, position: int, number: str = "") -> str:
        """Return an operand; with .ftz a float without its subnormal numbers."""
        number = number or self.number
        value = self.names.read(self.operands[position], number)
        return f"ptx::flush({value})" if number == "f32" and self.has("ftz") else value

    def write(self, value: str, position: int = 0) -> str:
        """Return the statement that sets a register to a result, as .ftz and .sat ask for."""
        if self.has("sat"):
            if self.types[0] not in ("f32", "f64"):
                raise self.unknown()
            value = f"ptx::saturate({value})"
        if self.has("ftz") and "f32" in self.types[:1]:
            value = f"ptx::flush({value})"
        return self.names.write(self.operands[position], value)

    def unknown(self) -> CompileError:
        """Return the error for what is not executed here."""
        at = self.instruction.place
        return CompileError(f"PTX: {self.instruction} ({at.file}:{at.line}) is not known")


Maker = Callable[[Call], str]
