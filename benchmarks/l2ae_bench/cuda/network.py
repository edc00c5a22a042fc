"""Pieces of the network on a device: forward and backward of a layer, and Adam.

    dense-I×O     y = x W + b, dx, dW, db                             784×500 and 500×2000
    bottleneck    y = relu(l2(x W1 + b1) W2 + b2), dx and gradients   1152 → 10 → 1152
    adam          one step of the 275,979 parameters of the network for 28×28

Batch 256. Ours and the peers' results are compared with NumPy's in float64 first. A contender makes
CALLS calls and waits once, for these take microseconds; times are of one call.

NAME-cuda           ours replays a graph of its launches, as "torch-graph" does
NAME-cuda-launched  ours alone, each launch queued by Python

A row has one class of precision for all its contenders (precision.py): float32, and for what is a
product also TF32, NAME-tf32-cuda.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from l2ae_bench.case import ROUNDING
from l2ae_bench.comparison import OURS, Contender, Measurement, make_row, measure, require_agreement
from l2ae_bench.cuda import network_peers
from l2ae_bench.cuda.precision import IMPL, Precision, torch_precision
from l2ae_bench.operations import BATCH, CAE_PARAMETERS
from l2ae_bench.shapes import ELEMENTWISE
from l2ae_bench.work import Work
from l2ae_core.layers import Dense, L2Normalize, ReLU, Sequential
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda import elementwise, optim, products
from l2ae_kernels.cuda.bottleneck import Bottleneck, Sizes
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.stages import AdamSettings

CALLS = 20
LAUNCHED = f"{OURS}, launched"
# A product of numbers with 10 bits of mantissa is off by up to 2^-10 of itself, and
# Σ |x w| is up to 8 times the largest result: 0.64 · 2000 beside 4 · √2000, of normal numbers.
ALLOWED = {"float32": ROUNDING["float32"], "tf32": 8 * 2.0**-10}
EPS = 1e-6  # of the unit norm
ADAM = AdamSettings(variant="torch")
Arrays = dict[str, Array]
Call = Callable[[], Arrays]  # arrays of a device or of the host


@dataclass(frozen=True)
class Piece:
    """A piece: what goes in, what comes out as NumPy has it, and ours on a device."""

    kind: str
    precision: Precision
    inputs: Arrays
    expected: Callable[[Arrays], Arrays]  # of the inputs in float64
    ours: Callable[[Device, Arrays], Call]
    work: Work


def pieces(batch: int = BATCH, parameters: int = CAE_PARAMETERS) -> dict[str, Piece]:
    """Return every workload; smaller ones for tests."""
    small = batch < BATCH
    shapes = [(7, 5)] if small else [(784, 500), (500, 2000)]
    found = {f"dense-{I}x{O}": _dense(batch, I, O, "float32") for I, O in shapes}
    found |= {f"dense-{I}x{O}-tf32": _dense(batch, I, O, "tf32") for I, O in shapes}
    width = 12 if small else 1152
    found["bottleneck"] = _bottleneck(batch, width, 10)
    found["adam"] = _adam(parameters)
    return found


def rows(
    workload: str,
    piece: Piece,
    device: Device,
    repeats: int,
    seconds: float | None = None,
    done: Callable[[], object] = lambda: None,
) -> list[Measurement]:
    """Return the rows of a piece, after all contenders were found to compute what NumPy does."""
    with torch_precision(piece.precision):
        contenders, agreement = _compared(workload, piece, device)
        measured = []
        for suffix, names in (("", list(contenders)[1:]), ("-launched", [LAUNCHED])):
            timed = {OURS if n == LAUNCHED else n: contenders[n] for n in names}
            said = done if not suffix else _nothing
            times = measure(timed, repeats, device.properties.name, seconds=seconds, done=said)
            single = {name: [t / CALLS for t in each] for name, each in times.items()}
            name = f"{workload}-cuda{suffix}"
            measured.append(make_row(name, device.properties.name, single, agreement, piece.work))
    return measured


def _compared(workload: str, piece: Piece, device: Device) -> tuple[dict[str, Contender], float]:
    """Return the contenders, ours first launched and then replayed, and how far they differ."""
    expected = piece.expected({name: a.astype(np.float64) for name, a in piece.inputs.items()})

    def agree(name: str, found: Arrays) -> float:
        return _agree(f"{workload}, {name}", found, expected, piece.precision)

    launched, wait = piece.ours(device, piece.inputs), lambda _: device.synchronize()
    worst = agree(LAUNCHED, _host(device, launched()))  # which compiles the kernels
    replayed = _captured(device, piece)
    worst = max(worst, agree(OURS, _host(device, replayed())))
    contenders: dict[str, Contender] = {
        LAUNCHED: _often(launched, wait), OURS: _often(replayed, wait)
    }  # fmt: skip
    on = "cpu" if device.emulated else "cuda"
    for name, (call, ready) in network_peers.calls(
        piece.kind, piece.inputs, on, piece.precision
    ).items():
        worst = max(worst, agree(name, call()))
        contenders[name] = _often(call, ready)
    return contenders, worst


def _nothing() -> None:
    pass


def _captured(device: Device, piece: Piece) -> Call:
    """Return a call that replays the launches of a call of ours."""
    call = piece.ours(device, piece.inputs)
    with device.capture() as graph:
        out = call()

    def replay() -> Arrays:
        graph.launch()
        return out

    return replay


def _host(device: Device, arrays: Arrays) -> Arrays:
    return {name: device.to_host(a) for name, a in arrays.items()}


def _often(call: Call, wait: Callable[[Arrays], object]) -> Contender:
    """Make CALLS calls, and wait for the last."""

    def often() -> None:
        for _ in range(CALLS - 1):
            call()
        wait(call())

    return often


def _agree(workload: str, found: Arrays, expected: Arrays, precision: Precision) -> float:
    """Return the largest difference, each relative to the largest entry of its array."""
    worst = 0.0
    for name, right in expected.items():
        difference = float(np.abs(found[name] - right).max() / np.abs(right).max())
        worst = max(worst, require_agreement(workload, name, difference, ALLOWED[precision]))
    return worst


def _draw(**shapes: tuple[int, ...]) -> Arrays:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(s, dtype=np.float32) for name, s in shapes.items()}


def _dense(N: int, I: int, O: int, precision: Precision) -> Piece:
    def expected(a: Arrays) -> Arrays:
        layer = Dense(a["W"], a["b"])
        y, cache = layer.forward(a["x"])
        dx, grads = layer.backward(a["dy"], cache)
        return {"y": y, "dx": dx, "dW": grads["W"], "db": grads["b"]}

    def ours(device: Device, inputs: Arrays) -> Call:
        a = {name: device.to_device(x) for name, x in inputs.items()}
        shapes = {"y": (N, O), "dx": (N, I), "dW": (I, O), "db": (O,)}
        out = {name: device.empty(shape, np.float32) for name, shape in shapes.items()}

        def call() -> Arrays:
            products.dense(a["x"], a["W"], a["b"], out["y"], impl=IMPL[precision])
            products.dense_adjoint_x(a["dy"], a["W"], out["dx"], impl=IMPL[precision])
            products.dense_adjoint_W(a["x"], a["dy"], out["dW"], impl=IMPL[precision])
            elementwise.bias_adjoint(a["dy"], out["db"])
            return out

        return call

    work = Work(6.0 * N * I * O, 8.0 * (N * I + I * O + N * O))  # y, dx and dW
    inputs = _draw(x=(N, I), W=(I, O), b=(O,), dy=(N, O))
    return Piece("dense", precision, inputs, expected, ours, work)


def _bottleneck(N: int, I: int, D: int) -> Piece:
    sizes = Sizes(1, N, I, D, I)
    names = list(sizes.weights())

    def expected(a: Arrays) -> Arrays:
        layers = [Dense(a["W1"], a["b1"]), L2Normalize(EPS), Dense(a["W2"], a["b2"]), ReLU()]
        network = Sequential(layers, (I,))
        y, cache = network.forward(a["x"])
        dx, grads = network.backward(a["dy"], cache)
        keys = ("0.W", "0.b", "2.W", "2.b")
        return {"y": y, "dx": dx} | {f"d{n}": grads[k] for n, k in zip(names, keys, strict=True)}

    def ours(device: Device, inputs: Arrays) -> Call:
        fused = Bottleneck(device, sizes, eps=EPS, slope=0.0)
        x, dy = device.to_device(inputs["x"]), device.to_device(inputs["dy"][None])
        params = {name: device.to_device(inputs[name][None]) for name in names}

        def call() -> Arrays:
            y = fused.forward(x, params)
            dx, grads = fused.backward(dy, x, params)
            return {"y": y[0], "dx": dx[0]} | {f"d{name}": g[0] for name, g in grads.items()}

        return call

    inputs = _draw(x=(N, I), dy=(N, I), **sizes.weights())
    work = Work(12.0 * N * I * D, 16.0 * (N * I + I * D))
    return Piece("bottleneck", "float32", _clear(inputs), expected, ours, work)


def _clear(inputs: Arrays) -> Arrays:
    """Take the gradient off units that lie within rounding of zero: either gate is right there."""
    a = {name: x.astype(np.float64) for name, x in inputs.items()}
    z = a["x"] @ a["W1"] + a["b1"]
    y = z / np.linalg.norm(z, axis=1, keepdims=True) @ a["W2"] + a["b2"]
    return inputs | {"dy": np.where(np.abs(y) < 1e-4, np.float32(0), inputs["dy"])}


def _adam(count: int) -> Piece:
    def expected(a: Arrays) -> Arrays:
        p, m, v = a["p"], np.zeros(count), np.zeros(count)
        ops.adam_step(p, m, v, a["g"], ADAM, step=1, impl="reference")
        return {"p": p, "m": m, "v": v}

    def ours(device: Device, inputs: Arrays) -> Call:
        p, g = (device.to_device(inputs[name]) for name in ("p", "g"))
        m, v = (device.zeros(count, np.float32) for _ in range(2))
        rates = optim.step_numbers(ADAM, 1)
        numbers = device.to_device(rates.astype(np.float32))

        def call() -> Arrays:
            optim.launch(p, m, v, g, numbers, ADAM)
            return {"p": p, "m": m, "v": v}

        return call

    flop, size = ELEMENTWISE["adam_step"]
    work = Work(float(flop * count), float(size * count), "bytes")
    return Piece("adam", "float32", _draw(p=(count,), g=(count,)), expected, ours, work)
