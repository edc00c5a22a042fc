"""The paper's method from end to end on the embedded digits, in about a minute."""

from l2ae_core.demo.run import run_demo
from l2ae_core.demo.table import format_table

__all__ = ["format_table", "run_demo"]
