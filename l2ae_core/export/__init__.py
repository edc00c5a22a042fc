"""`l2ae export`: a trained run as one ONNX graph, compared with NumPy before it is written."""

from l2ae_core.export.command import Exported, export

__all__ = ["Exported", "export"]
