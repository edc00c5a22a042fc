"""`DaskImages`: the images of a Dask array, read for a training, or worked on where they lie.

    gather        the batches of a training in their order: from every chunk comes what a WINDOW of
                  them needs, so that an epoch has windows times chunks tasks; of a file that
                  `dask_npy` opened they are read here
    over_chunks   codes, labels, scores: a lazy array, a task a chunk, and the network sent once

No task leaves anything in a worker, so that the chunks of one that is lost are computed again.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from threading import Thread
from typing import Any

import dask
import dask.array as da
import numpy as np

from l2ae_core.data.chunked import NpyRows, rows_behind
from l2ae_core.data.preparation import Preparation
from l2ae_core.data.values import AS_THEY_ARE, require_channels_last, unit_values
from l2ae_core.distributed import chunks
from l2ae_core.distributed.chunks import Form, OfChunk, aligned, cut
from l2ae_core.images import Index
from l2ae_core.networks import AutoEncoder
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.vectors import get_vectors

WINDOW = 1 << 25  # bytes of the batches that are fetched together; the next ones come meanwhile


def dask_images(
    method: str, X: da.Array, preparation: Preparation | None, flat: Sequence[int] | None
) -> "DaskImages":
    """Return the images (N, H, W, C) in a Dask array (N, H, W[, C]), or (N, F) with `flat`.

    Values are uint8, bool, or floating point in [0, 1], unless a preparation takes others.
    ValueError, naming the method, for chunks of unknown sizes, for other shapes and dtypes, and,
    when a chunk is met, for values out of range.
    """
    if np.isnan(X.shape).any():
        raise ValueError(
            f"{method}: X has chunks of unknown sizes {X.shape} but expected known ones: "
            "X.compute_chunk_sizes() finds them"
        )
    shape = _image_shape(method, X.shape, flat)
    readable = X.dtype in (np.uint8, np.bool_) or X.dtype.kind == "f"
    if not readable and (preparation is None or X.dtype.kind not in "iu"):
        raise ValueError(
            f"{method}: X is a Dask array of {X.dtype} but expected uint8, bool or floating point "
            "in [0, 1]"
        )
    form, image = Form(method, shape), tuple[int, ...](shape)
    if preparation is not None and preparation != AS_THEY_ARE:
        form = replace(form, preparation=preparation)
        image = preparation.apply(np.zeros(shape, np.float32), f"{method}: X").shape
    return DaskImages(cut(X, X.chunks[0]), form, image, rows_behind(X))


@dataclass(frozen=True, eq=False)
class DaskImages:
    """N images (N, H, W, C) of a Dask array; those that are asked for come here as float32."""

    array: da.Array  # (N, …) as stored, in chunks of whole images
    form: Form  # what its rows are
    image: tuple[int, ...]  # (H, W, C) of what is asked for
    file: NpyRows | None  # where the rows of the array are, if all of it is a file

    def __len__(self) -> int:
        """Return N."""
        return int(self.array.shape[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return len(self), *self.image

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32, in which networks are trained."""
        return np.dtype(np.float32)

    @property
    def code_dtype(self) -> np.dtype[Any]:
        """The dtype that images are encoded in: float64 for float64 and float16, else float32."""
        double = self._stored.kind == "f" and self._stored != np.float32
        return np.dtype(np.float64 if double else np.float32)

    def __getitem__(self, index: Index) -> Array:
        """Return images (n, H, W, C), or one (H, W, C), float32; IndexError where none are."""
        N = len(self)
        if isinstance(index, slice):
            return self._read(np.arange(*index.indices(N)))
        rows = np.asarray(index)
        if rows.dtype == np.bool_ and rows.shape == (N,):
            rows = np.flatnonzero(rows)
        if rows.dtype.kind not in "iu" or rows.ndim > 1 or ((rows < -N) | (rows >= N)).any():
            raise IndexError(
                f"{self.form.method}: index is {rows.dtype} {rows.shape} but expected integers "
                f"below {N}, or a mask ({N},)"
            )
        found = self._read(np.atleast_1d(np.where(rows < 0, rows + N, rows)))
        return found[0] if rows.ndim == 0 else found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return all images as one array: `np.asarray(images)`."""
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)

    def crc32(self) -> int:
        """Return the checksum of all images, float32, of which each worker looks at its own."""
        look = dask.delayed(chunks.checksum, pure=False, traverse=False)
        firsts = self._firsts.tolist()
        tasks = [
            look(chunk, first, self.form) for chunk, first in zip(self._chunks, firsts, strict=True)
        ]
        found = 0
        for one, size in dask.compute(*tasks):
            found = chunks.joined_checksum(found, one, size)
        return found

    def gather(self, batches: Sequence[Array]) -> Iterator[Array]:
        """Yield the images (n, H, W, C) float32 of each batch of indices (n,), in order.

        While the batches of a window are worked on, those of the next one are fetched.
        """
        windows = self._windows(batches)

        def fetch() -> tuple[list[Array], Future[Array]] | None:
            window = next(windows, None)
            if window is None:
                return None
            return window, _meanwhile(self._fetch, np.concatenate(window))

        coming = fetch()
        while coming is not None:
            (window, fetched), first = coming, 0
            images = fetched.result()
            coming = fetch()
            for batch in window:
                yield unit_values(images[first : first + len(batch)], AS_THEY_ARE)
                first += len(batch)

    def encode(self, network: AutoEncoder) -> Array:
        """Return the codes u (N, D) of all images as `network` is trained, in float32.

        They are computed where the images are, and come here.
        """
        shape = (network.latent_dim,)
        u = self.over_chunks(
            chunks.codes_in_training, dtype=np.float32, shape=shape, network=network
        )
        return np.asarray(u)

    def over_chunks(
        self, function: OfChunk, *more: da.Array, dtype: Any, shape: tuple[int, ...] = (),
        **same: Any,
    ) -> da.Array:  # fmt: skip
        """Return function(images, *rows, **same) of each chunk, lazily, as one array (N, *shape).

        `images` are those of the chunk as `Images`, `rows` the same ones of the arrays (N, …) in
        `more`. What is the `same` for all chunks is sent once. Chunks are aligned: `as_given`
        cuts the array as the one that was given.
        """
        name = getattr(get_vectors(), "name", "none")
        sent = {key: dask.delayed(value, pure=False, traverse=False) for key, value in same.items()}
        ndim, sizes = 1 + len(shape), aligned(self.array.chunks[0])
        return da.map_blocks(
            chunks.call, *(_four_axes(cut(rows, sizes)) for rows in (self.array, *more)),
            function=function, form=self.form, emitted=name, **sent, dtype=dtype,
            chunks=(sizes, *((side,) for side in shape)), drop_axis=[*range(ndim, 4)],
            meta=_empty(ndim, dtype),
        )  # fmt: skip

    def as_given(self, found: da.Array) -> da.Array:
        """Return what was found (N, …), cut as the array was that was given."""
        return cut(found, self.array.chunks[0])

    def in_colour(self) -> "DaskImages":
        """Return grey images (N, H, W, 1) with their channel three times."""
        return replace(self, form=replace(self.form, copies=3), image=(*self.image[:2], 3))

    @property
    def _stored(self) -> np.dtype[Any]:
        """The dtype of images before they become float32."""
        prepared = self.form.preparation is not None
        return np.dtype(np.float32) if prepared else self.array.dtype

    @cached_property
    def _firsts(self) -> Array:
        return np.cumsum([0, *self.array.chunks[0]])[:-1]

    @cached_property
    def _chunks(self) -> list[Any]:
        return list(self.array.to_delayed().ravel())

    def _windows(self, batches: Sequence[Array]) -> Iterator[list[Array]]:
        """Yield the batches, as many at a time as fit a window, and one at least."""
        each = prod(self.image) * self._stored.itemsize
        window: list[Array] = []
        for batch in batches:
            if window and each * (sum(map(len, window)) + len(batch)) > WINDOW:
                yield window
                window = []
            window.append(batch)
        if window:
            yield window

    def _read(self, rows: Array) -> Array:
        return unit_values(self._fetch(rows), AS_THEY_ARE)

    def _fetch(self, rows: Array) -> Array:
        """Return images (n, H, W, C), as `pick` does, by one task for each chunk that has some."""
        dtype = self.dtype if self._stored.kind == "f" else self._stored
        fetched = np.empty((len(rows), *self.image), dtype)
        if not len(rows):
            return fetched
        if self.file is not None:
            order = np.argsort(rows, kind="stable")  # as they lie in the file
            fetched[order] = self.form.images(self.file[rows[order]], rows[order])
            return fetched
        at = np.searchsorted(self._firsts, rows, side="right") - 1
        order = np.argsort(at, kind="stable")
        holding, starts = np.unique(at[order], return_index=True)
        places = np.split(order, starts[1:])
        pick = dask.delayed(chunks.pick, pure=False, traverse=False)
        tasks = [
            pick(self._chunks[c], rows[place] - self._firsts[c], int(self._firsts[c]), self.form)
            for c, place in zip(holding, places, strict=True)
        ]
        for place, images in zip(places, dask.compute(*tasks), strict=True):
            fetched[place] = images
        return fetched


def _image_shape(
    method: str, shape: tuple[int, ...], flat: Sequence[int] | None
) -> tuple[int, int, int]:
    """Return (H, W, C) of images in an array of this shape; ValueError where there are none."""
    found = tuple(flat) if len(shape) == 2 and flat is not None else shape[1:]
    if len(found) not in (2, 3) or 0 in shape or prod(found) != prod(shape[1:]):
        raise ValueError(
            f"{method}: X is a Dask array {shape} but expected images (N, H, W[, C]), or rows "
            "(N, H*W*C) with image_shape, not empty; a table that fits in memory: X.compute()"
        )
    if len(shape) == 4:
        require_channels_last(method, shape)
    H, W, *channels = (int(side) for side in found)
    return H, W, channels[0] if channels else 1


def _meanwhile(function: Callable[..., Array], *arguments: Any) -> Future[Array]:
    """Call a function in a thread of its own that nobody has to wait for.

    The thread of an executor is waited for after Ctrl-C, and at the end of the process: for ever
    where the workers are gone.
    """
    future: Future[Array] = Future()

    def run() -> None:
        try:
            future.set_result(function(*arguments))
        except BaseException as error:  # noqa: BLE001  # whoever takes the result raises it
            future.set_exception(error)

    # A context says where Dask runs.
    Thread(target=copy_context().run, args=(run,), daemon=True, name="l2ae images").start()
    return future


def _four_axes(rows: da.Array) -> da.Array:
    return rows[(..., *(None,) * (4 - rows.ndim))]


def _empty(ndim: int, dtype: Any) -> Array:
    return np.empty((0,) * ndim, dtype)
