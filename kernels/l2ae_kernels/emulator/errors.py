"""What goes wrong in the emulator, by kind."""


class EmulatorError(RuntimeError):
    """A kernel did what no kernel may do; the message names kernel, block, thread and line."""


class CompileError(EmulatorError):
    """The .cu text does not compile, or there is no compiler; the message is the compiler's."""


class SanitizerError(EmulatorError):
    """AddressSanitizer or ThreadSanitizer reported something; the message is its report."""
