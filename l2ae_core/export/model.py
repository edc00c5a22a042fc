"""The ONNX model of a run: the network, then distances to the centers and the verdict.

    images (N, H, W, C) float32 in [0, 1]
      → code (N, D)                     u of Eq. 4
      → cluster (N,) int64              argmin_j |u − c_j|², as `l2ae cluster`
      → normality (N,)                  v = max_j u · c_j/(|u| |c_j|), Eq. 5
      → reconstruction (N, H, W, C)     D(u)
      → reconstruction_error (N,)       Σ (D(u) − images)²
      → anomalous (N,) bool             v < τ or error > ε, as `l2ae_core.verdict`

All of it is float32. A float32 number v is below a threshold τ exactly where it is below the least
float32 number that is not less than τ, so rounding τ up changes no verdict, nor rounding ε down.
NaN is anomalous.
"""

import json
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper

from l2ae_core.directions import unit_rows
from l2ae_core.environment import versions
from l2ae_core.export.graph import Graph, sum_of_squares
from l2ae_core.inference import Inference
from l2ae_core.verdict import Thresholds
from l2ae_kernels.arrays import Array

OPSET = 17  # the first with LayerNormalization
IR_VERSION = 8  # of the files of that time: runtimes of 2022 read it
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def make_model(run: Inference, limits: Thresholds, metadata: dict[str, Any]) -> ModelProto:
    """Return the model of a run with these thresholds; it carries `metadata`, JSON values."""
    g = Graph()
    image, D = run.model.input_shape, run.model.latent_dim
    z = g.add_layers("encoder", run.model.encoder, "images")
    u = g.add_layer("normalize", run.model.normalize, z, (D,), (D,))
    code = g.node("Identity", u, name="code")
    decoded = g.add_layers("decoder", run.model.decoder, code)
    reconstruction = g.node("Identity", decoded, name="reconstruction")
    _add_cluster(g, code, run.clusters.centers)
    v = _add_normality(g, code, run.clusters.centers)
    _add_verdict(g, v, _add_error(g, reconstruction), limits)
    outputs = {
        "code": (FLOAT, ("N", D)),
        "cluster": (INT64, ("N",)),
        "normality": (FLOAT, ("N",)),
        "reconstruction": (FLOAT, ("N", *image)),
        "reconstruction_error": (FLOAT, ("N",)),
        "anomalous": (BOOL, ("N",)),
    }
    graph = helper.make_graph(
        g.nodes,
        "l2ae",
        [helper.make_tensor_value_info("images", FLOAT, ("N", *image))],
        [helper.make_tensor_value_info(name, *of) for name, of in outputs.items()],
        g.constants,
        doc_string=__doc__,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="l2ae",
        producer_version=versions(())["l2ae"],
    )
    helper.set_model_props(model, {k: json.dumps(v) for k, v in metadata.items()})
    return model


def round_up(tau: float) -> Array:
    """Return the least float32 number that is not less than τ."""
    rounded = np.float32(tau)
    up = rounded if float(rounded) >= tau else np.nextafter(rounded, np.float32(np.inf))
    return np.asarray(up)


def round_down(epsilon: float) -> Array:
    """Return the largest float32 number that is not above ε."""
    return -round_up(-epsilon)


def _add_verdict(g: Graph, v: str, error: str, limits: Thresholds) -> None:
    """Normal is what is inside of every threshold; NaN is inside of none."""
    inside = []
    if limits.normality is not None:
        tau = g.constant("threshold", round_up(limits.normality))
        inside.append(g.node("GreaterOrEqual", v, tau))
    if limits.error is not None:
        epsilon = g.constant("error_threshold", round_down(limits.error))
        inside.append(g.node("LessOrEqual", error, epsilon))
    normal = inside[0] if len(inside) == 1 else g.node("And", *inside)
    g.node("Not", normal, name="anomalous")


def _add_error(g: Graph, reconstruction: str) -> str:
    difference = g.node("Sub", reconstruction, "images")
    total = sum_of_squares(g, difference, (1, 2, 3))
    return g.node("Identity", total, name="reconstruction_error")


def _add_cluster(g: Graph, code: str, centers: Array) -> None:
    """By differences, not by |u|² − 2 u·c + |c|², which cancels."""
    apart = g.node("Unsqueeze", code, g.constant("center_axis", (1,), np.int64))  # (N, 1, D)
    differences = g.node("Sub", apart, g.constant("centers", centers))  # (N, K, D)
    distances = sum_of_squares(g, differences)
    g.node("ArgMin", distances, name="cluster", axis=1, keepdims=0)


def _add_normality(g: Graph, code: str, centers: Array) -> str:
    directions = unit_rows(centers)[0]  # (K, D)
    length = g.node("Sqrt", sum_of_squares(g, code, keepdims=1))  # (N, 1)
    unit = g.node("Div", code, length)
    cosines = g.node("MatMul", unit, g.constant("directions", directions.T))  # (N, K)
    return g.node("ReduceMax", cosines, name="normality", axes=(1,), keepdims=0)
