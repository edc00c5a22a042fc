"""Three ways to call a function of PyTorch: eager, captured into a graph, compiled."""

from collections.abc import Callable
from typing import Any

import torch

Step = Callable[[], Any]
WARM_UP = 3  # calls before a capture, as PyTorch's manual has it


def variants(step: Step, compiled: Callable[[], Step], on: str) -> dict[str, Step]:
    """Return `step`, and where `on` is a GPU a graph of it and what `compiled` returns.

    They queue their work; see `wait`.
    """
    if on != "cuda":
        return {"torch": step}
    return {"torch": step, "torch-graph": captured(step), "torch-compile": compiled()}


def wait(on: str) -> None:
    """Wait until the device has done what was queued."""
    if on == "cuda":
        torch.cuda.synchronize()


def captured(step: Step) -> Step:
    """Return a call that replays the step as one graph, into the same results."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = step()

    def call() -> Any:
        graph.replay()
        return results

    return call
