"""The public gradient checker: any layer, any network, any scalar function of NumPy arrays.

report = check_layer(layer, x, train=True)      # every parameter and the input
report = check_function(f, gradient, x)         # f(x) -> float
print(report)                                   # ranked table, worst first
report.raise_if_bad()                           # GradientError, an AssertionError, in a test
"""

from l2ae_core.gradcheck.check import check_function, check_layer
from l2ae_core.gradcheck.report import GradientError, Report, Row

__all__ = ["GradientError", "Report", "Row", "check_function", "check_layer"]
