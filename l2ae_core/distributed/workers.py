"""Codes and scores of the images in a file, by the workers of a Dask cluster.

Every task reads a part of the file by its path, and takes it through the network with the functions
that this process would use, on the same parts: so bits, and the order of rows, do not depend on the
workers. What travels is the network, once a worker, and of each image its code and scores. A task
needs nothing that an earlier one left: those of a worker that is lost run again elsewhere.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, Self

import numpy as np

from l2ae_core import method
from l2ae_core.data.errors import DataError
from l2ae_core.data.file_array import FileArray
from l2ae_core.data.stored import StoredImages
from l2ae_core.images import Images, parts
from l2ae_core.method import AnomalyScores
from l2ae_core.networks import AutoEncoder
from l2ae_core.progress import Bar
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.vectors import get_vectors, vectors
from l2ae_kernels.cpu.threads import MOST, threads

PATIENCE = 10  # seconds until a scheduler answers, and until it has a worker
RETURN = 300  # seconds until a cluster that lost all workers has one again
AHEAD = 3  # parts under way for each thread of the cluster, so that none waits for this process


def connect(argument: str, address: str) -> Any:
    """Return a client of the Dask scheduler at an address, which has a worker at least.

    ValueError, naming the argument, where Dask is missing, and where no scheduler with a worker
    answers in PATIENCE seconds.
    """
    if find_spec("distributed") is None:
        raise ValueError(f"{argument}: needs Dask: pip install 'l2ae[dist]'")
    from distributed import Client  # only a cluster needs it

    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{argument}: no Dask scheduler answers at {address!r} within {PATIENCE} seconds, "
            "expected an address such as tcp://10.0.0.1:8786"
        ) from error
    try:
        with ExitStack() as opened:
            opened.callback(client.close)
            require_worker(argument, client, PATIENCE)
            opened.pop_all()  # the caller closes it
    except ConnectionError as error:
        raise ValueError(str(error)) from error
    return client


def require_worker(argument: str, client: Any, seconds: float) -> None:
    """Raise ConnectionError, naming the argument, unless there is a worker in some seconds."""
    try:
        client.wait_for_workers(1, timeout=seconds)
    except TimeoutError as error:
        raise ConnectionError(
            f"{argument}: the scheduler at {client.scheduler.address} has no worker, after "
            f"{seconds} seconds"
        ) from error


class Workers:
    """The workers of a scheduler, connected from the beginning to the end of a `with` block.

    They see the file at the same path, and have this version of the package. The block raises what
    `connect` raises; ChildProcessError where workers are killed time and again, ConnectionError
    where the scheduler is lost, or all workers are.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def __enter__(self) -> Self:
        """Connect, and return the workers themselves."""
        self._client = connect("cluster", self.address)
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the cluster; what is still under way is dropped."""
        self._client.close()

    def encoded(
        self, model: AutoEncoder, images: Images, *, progress: bool = False
    ) -> Iterator[Array]:
        """Yield the codes of each of the `parts` of the images, as `method.encoded` does."""
        yield from self._in_order("encode", _encode, images, progress, model)

    def scored(
        self, model: AutoEncoder, centers: Array, images: Images, *, progress: bool = False
    ) -> Iterator[AnomalyScores]:
        """Yield the scores of each of the `parts` of the images, as `method.scored` does."""
        yield from self._in_order("score", _score, images, progress, model, centers)

    def _in_order(
        self, what: str, function: Callable[..., Any], images: Images, progress: bool, *given: Any
    ) -> Iterator[Any]:
        """Yield function(images, first, last, *given) of each part, in order."""
        from distributed import KilledWorker

        client, under_way = self._client, deque[tuple[slice, Any]]()
        self._require_file(images)
        assert isinstance(images, StoredImages)
        name = getattr(get_vectors(), "name", "none")
        # Tasks whose results are these values: unlike scattered ones they are made again when lost.
        silent = replace(images, progress=False)
        sent = [client.submit(_itself, value, pure=False) for value in (silent, *given)]
        most = AHEAD * sum(client.nthreads().values())
        coming = iter(parts(len(images)))
        with Bar(
            total=len(images), desc=what, unit="image", delay=1.0, disable=not progress
        ) as bar:
            while True:
                while len(under_way) < most and (part := next(coming, None)) is not None:
                    under_way.append((part, client.submit(
                        _on_part, function, name, part.start, part.stop, *sent, pure=False
                    )))  # fmt: skip
                if not under_way:
                    return
                part, future = under_way.popleft()
                try:
                    found = self._result(future)
                except KilledWorker as error:
                    raise ChildProcessError(
                        f"cluster: workers were killed at images {part.start} to {part.stop - 1}, "
                        "each time they were tried, perhaps for want of memory"
                    ) from error
                except CancelledError as error:
                    raise ConnectionError(f"cluster: {self.address} was lost") from error
                bar.update(part.stop - part.start)
                yield found

    def _result(self, future: Any) -> Any:
        """Wait for a result as long as there are workers."""
        while True:
            try:
                return future.result(timeout=PATIENCE)
            except TimeoutError:
                if future.done():  # since then, or by an error of the task, which comes again
                    return future.result()
                require_worker("cluster", self._client, RETURN)

    def _require_file(self, images: Images) -> None:
        """Raise ValueError unless the images are in a file, DataError unless all workers see it."""
        if not (isinstance(images, StoredImages) and isinstance(images.stored, FileArray)):
            raise ValueError(
                "cluster: expected images in one .npy file, which workers read a part at a time, "
                "and a network that takes them in the size and colours that they have there"
            )
        found = self._client.run(_problem_of, images.stored, on_error="return")
        for worker, problem in found.items():
            if isinstance(problem, ImportError):
                raise ValueError(f"cluster: worker {worker} lacks what is needed: {problem}")
            if isinstance(problem, str):  # or the error of a worker that has just been lost
                raise DataError(f"cluster: worker {worker} does not see the file: {problem}")


def _itself(value: Any) -> Any:
    return value


def _problem_of(array: FileArray) -> str | None:
    try:
        array.status()
    except (OSError, DataError) as error:
        return str(error)
    return None


def _on_part(
    function: Callable[..., Any], emitted: str, first: int, last: int, images: StoredImages,
    *given: Any,
) -> Any:  # fmt: skip
    """Call a function of some of the images, on the share of the cores that a thread here has.

    `emitted` names the set of vectors that kernels are for, on whatever machine.
    """
    from distributed import get_worker

    share = max(1, MOST // get_worker().state.nthreads)
    some = images.take(np.arange(first, last))
    with threads(share), vectors(emitted):
        return function(some, *given)


def _encode(images: Images, model: AutoEncoder) -> Array:
    return method.encode(model, images)


def _score(images: Images, model: AutoEncoder, centers: Array) -> AnomalyScores:
    return method.score(model, centers, images)
