"""Tasks of Dask, and graphs of them: a task is a function and the tasks whose results it takes.

Results stay where they were computed as long as somebody holds their task, and a graph begins at
those: it does not grow from one pass to the next. A worker that is lost loses results; Dask runs
their tasks again, elsewhere.

`dask.delayed` does the same, and takes three times as long for it.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeAlias
from uuid import uuid4

import dask
from dask.core import get_dependencies
from dask.threaded import get as on_threads

Key: TypeAlias = Any  # text, or a tuple
Graph: TypeAlias = dict[Key, Any]


class Task:
    """A call of a function, function(*results of others, **named)."""

    def __init__(
        self, function: Callable[..., Any], /, *others: "Task | None", **named: Any
    ) -> None:
        self.key: Key = f"{function.__name__}-{uuid4().hex}"
        self.others = others
        self.graph: Graph = {
            self.key: (partial(function, **named), *(other and other.key for other in others))
        }

    def write(self, graph: Graph) -> None:
        """Add this task, and all that it needs, to a graph."""
        if self.key not in graph:
            graph.update(self.graph)
            for other in self.others:
                if other is not None:
                    other.write(graph)


class Node(Task):
    """The task of a graph that has a key; a future or a result may be in its place.

    The graph is that of many nodes: each writes what it needs, and what others wrote only once.
    """

    def __init__(self, key: Key, graph: Graph) -> None:
        self.key, self.graph, self.others = key, graph, ()

    def write(self, graph: Graph) -> None:
        """Add this task, and all that it needs, to another graph."""
        waiting = [self.key]
        while waiting:
            key = waiting.pop()
            if key not in graph:
                graph[key] = self.graph[key]
                waiting += get_dependencies(self.graph, key)


def value(of: Any) -> Task:
    """Return a task whose result is known: it travels once, whoever takes it."""
    return Task(_same, of=of)


def _same(of: Any) -> Any:
    return of


def compute(come: Iterable[Task], stay: Iterable[Task] = ()) -> list[Any]:
    """Run tasks; return the results of `come`, and leave those of `stay` where they are."""
    there, here = list(stay), list(come)
    wanted = [*there, *here]
    graph: Graph = {}
    for task in wanted:
        task.write(graph)
    found = dask.persist(_Tasks(graph, [task.key for task in wanted]))[0].graph
    for task in there:
        task.graph, task.others = {task.key: found[task.key]}, ()
    results = [found[task.key] for task in here]
    futures = [result for result in results if hasattr(result, "client")]
    if not futures:
        return results
    client = futures[0].client
    with ExitStack() as unless_done:  # a traceback that somebody keeps would keep workers at work
        unless_done.callback(_cancel, client, [found[task.key] for task in wanted])
        gathered: list[Any] = client.gather(results)
        unless_done.pop_all()
    return gathered


def _cancel(client: Any, futures: list[Any]) -> None:
    if client.status == "running":
        client.cancel(futures)


class _Tasks:
    """The tasks of a graph that are wanted, as Dask asks of a collection."""

    __dask_scheduler__ = staticmethod(on_threads)  # where there is no client

    @staticmethod
    def __dask_optimize__(graph: Graph, keys: list[Key], **_: Any) -> Graph:
        return graph  # it holds what is wanted, and no more

    def __init__(self, graph: Graph, keys: list[Key]) -> None:
        self.graph, self.keys = graph, keys

    def __dask_graph__(self) -> Graph:
        return self.graph

    def __dask_keys__(self) -> list[Key]:
        return self.keys

    def __dask_tokenize__(self) -> Any:
        return self.keys

    def __dask_postcompute__(self) -> Any:
        return list, ()

    def __dask_postpersist__(self) -> Any:
        return _rebuilt, (self.keys,)


def _rebuilt(graph: Graph, keys: list[Key], rename: Any = None) -> _Tasks:
    return _Tasks(dict(graph), keys)
