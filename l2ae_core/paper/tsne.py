"""t-SNE by openTSNE where it is installed (extra `tsne`), by scikit-learn otherwise.

Both start from positions that are given, with equal settings, on one thread: equal input gives
equal maps. Which library drew a map is part of what is told about it.
"""

from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
from threadpoolctl import threadpool_limits

from l2ae_kernels.arrays import Array

PERPLEXITY = 30
EXAGGERATED = 250  # first iterations, that pull neighbours together
ITERATIONS = 750  # all in all
START_SPREAD = 1e-4  # standard deviation of the first positions, as openTSNE asks for
STEP = 10  # iterations between two reports of progress


def library() -> str:
    """Name and version of the library that draws."""
    name = "openTSNE" if find_spec("openTSNE") else "scikit-learn"
    return f"{name} {version(name)}"


def start_positions(vectors: Array) -> Array:
    """Return the first positions (N, 2): two principal components of vectors (N, D), tiny.

    ValueError when all vectors are equal, or so close to each other that no component is left.
    """
    from sklearn.decomposition import PCA

    vectors = np.asarray(vectors, np.float64)
    with np.errstate(invalid="ignore"):  # of 0 / 0, where there is no variance to explain
        points = PCA(2, svd_solver="covariance_eigh").fit_transform(vectors)
    spread = points[:, 0].std()
    if (vectors == vectors[0]).all() or not 0 < spread < np.inf:
        raise ValueError(
            f"start_positions: vectors are {vectors.shape}, all equal; expected some that differ"
        )
    return np.asarray(points / spread * START_SPREAD)


def draw_map(codes: Array, start: Array, seed: int, report: Callable[[int], object]) -> Array:
    """Return the map (N, 2) of codes (N, D); `report` is told how many iterations more are done."""
    perplexity = min(PERPLEXITY, (len(codes) - 1) / 3)
    if library().startswith("openTSNE"):
        return _by_opentsne(codes, start, seed, perplexity, report)
    from sklearn.manifold import TSNE

    tsne = TSNE(2, perplexity=perplexity, init=start.astype(np.float32), random_state=seed,
                max_iter=ITERATIONS, n_jobs=1)  # fmt: skip
    # scikit-learn's threads spin between iterations, and sum in no fixed order
    with threadpool_limits(limits=1, user_api="openmp"):
        points = np.asarray(tsne.fit_transform(codes), np.float64)
    report(ITERATIONS)
    return points


def _by_opentsne(
    codes: Array, start: Array, seed: int, perplexity: float, report: Callable[[int], object]
) -> Array:
    from openTSNE import TSNE  # the extra `tsne`

    def tell(_: int, __: float, ___: Array) -> None:
        report(STEP)

    tsne = TSNE(2, perplexity=perplexity, random_state=seed, n_jobs=1, neighbors="exact",
                early_exaggeration_iter=EXAGGERATED, n_iter=ITERATIONS - EXAGGERATED,
                callbacks=tell, callbacks_every_iters=STEP)  # fmt: skip
    return np.asarray(tsne.fit(codes, initialization=start), np.float64)
