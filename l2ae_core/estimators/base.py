"""What the clusterer and the detector share: how they are fitted, alone or as a run directory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sklearn.utils.validation import check_is_fitted

from l2ae_core.estimators import fitting, inputs, runs
from l2ae_core.estimators.fitted import FittedNetwork
from l2ae_core.estimators.parameters import check_parameters


@dataclass(eq=False, repr=False)
class AutoEncoderBase(FittedNetwork):
    """An auto-encoder and the k-means clusters of its codes u = E_c(x) (Eq. 4).

    Parameters and fitted attributes are described in `AutoEncoderClusterer`.
    """

    def _fit(self, X: Any) -> None:
        """Train the network on X, encode X, and cluster the codes."""
        check_parameters(self.get_params())
        images = self._start(X)  # (N, H, W, C)
        if self.run_dir is not None:
            if inputs.on_workers(images):
                raise ValueError(
                    f"fit: run_dir is {self.run_dir} but X is a Dask array: fit without, then "
                    "save_run"
                )
            fitting.fit_in_run(self, X, images)
        else:
            self.seed_ = fitting.seed_of(self.random_state)
            fitting.fit(self, images, self._validation())

    @classmethod
    def from_run(cls, run: str | Path, X: Any = None) -> Self:
        """Return what `l2ae fit` trained in the directory `run`, with the bits of `l2ae cluster`.

        Of a folder of several seeds it is the chosen run. X are the images of the training, for
        `labels_` and `embedding_`, which a run does not keep; without them, these are missing.
        CheckpointError, naming the file, when the run is missing, unfinished or damaged; ValueError
        when X are other images.
        """
        return runs.load(cls, Path(run), X)[0]

    def save_run(self, run: str | Path) -> None:
        """Write the fitted estimator as the run directory `run`, for `l2ae cluster`, `score`, …

        The directory is there when all of it is, whatever ends the call. It cannot be resumed: an
        estimator does not keep the optimizer. One that was fitted with `run_dir` has such a
        directory already, which can. Raises ValueError for what a run cannot be: tables, scaled
        images, spherical or self-labelled clusters; and where `run` is a folder that is not empty,
        CheckpointError when that is a run.
        """
        check_is_fitted(self)
        runs.save(Path(run), self)
