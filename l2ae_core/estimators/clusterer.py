"""Clustering by k-means on the codes of an auto-encoder (Section III-A), as a scikit-learn face."""

from typing import Any, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from l2ae_core.clustering.kmeans import Clustering, kmeans
from l2ae_core.directions import unit_rows
from l2ae_core.estimators.base import AutoEncoderBase
from l2ae_core.estimators.fitted import DTYPES
from l2ae_core.images import Images
from l2ae_core.seeding import rngs
from l2ae_core.tables import counted
from l2ae_kernels.arrays import Array
from l2ae_kernels.ops.checks import count


class AutoEncoderClusterer(
    ClusterMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    AutoEncoderBase,
):
    """Train an auto-encoder with the paper's constraint |u| = 1, and cluster its codes.

        fit        minimise the loss of Eq. 4, keep the epoch with the lowest, k-means on u
        transform  u = E_c(x)
        predict    argmin_j |u − c_j|²

    Beyond the paper, `augment` warps the images of the training, and `self_label` goes on with the
    clusters as labels, before the codes are clustered for good: both as `l2ae fit` does.

    X is a table (N, F), a table of flat images (N, H·W·C) with `image_shape`, an array of images
    (N, H, W) or (N, H, W, C), a folder of images or another path that `l2ae_core.load` reads, what
    that returns, or a list of image files, of images of Pillow or of arrays (H, W[, C]). Weights
    are trained in float32. Codes are computed, clustered and returned in float32 for float32 X, 8
    bits and files, in float64 for every other dtype: slower, but then the result for one sample
    does not depend on its companions beyond 1e-12. The same integer random_state gives the same
    bits on the same machine, whatever the number of threads.

    The method is for images. It takes tables, but was not made for them: on nine real tables
    `AutoEncoderDetector` with slope 0.3 has a mean AUC of 0.638, below the plain sum of squared
    z-scores (0.705) and an isolation forest (0.715).

    Images have values in [0, 1] and channels last; uint8 is divided by 255, bool is 0 and 1, as the
    command line does. For those with channels first write X.transpose(0, 2, 3, 1). They may be a
    memory map, np.load(path, mmap_mode="r"), of uint8, bool or float32: no copy of all is made, in
    the memory are the codes and some images at a time.

    X may be a Dask array of images, too: uint8, bool, or floating point in [0, 1], in chunks of
    known sizes. The bits are those of the same images in memory, however it is cut and however
    many workers there are. `fit` and the rounds of `self_label` train here. Their batches are read
    here, too, where X is a file that `l2ae_core.data.dask_npy` opened; else workers pick them, for
    32 MB at a time from all chunks: persist X if these are made by more than a look into memory.
    Codes and errors are computed and kept where the chunks lie, and so the attributes labels_,
    embedding_ and reconstruction_errors_ are Dask arrays; `predict`, `transform` and `reconstruct`
    return lazy ones, chunk by chunk. Chunks begin at multiples of 1024 images for that: those of
    such sizes need not be cut anew. A chunk with values out of range raises ValueError when it is
    met. Not with run_dir, nor with another `scale` than "auto".

    Parameters
    ----------
    n_clusters : int, K.
    model : "cae" (convolutions), "dense", or "auto": the convolutional network for images whose
        sides it takes, from 8 on (2 to the power of the number of `filters`), the dense one for
        everything else.
    image_shape : (H, W) or (H, W, C) when X is flat images; None otherwise.
    preparation : a `Preparation` (`l2ae_core.data`): size, grey, background and depth that every
        image is brought to, in `fit` and in all other methods; None leaves images as they are.
    latent_dim : int, D, the length of a code.
    norm : "l2" (the paper), "none", "batch" or "layer": what is done to the code (Table III).
    hidden_norm : "none", "batch" or "layer", before every hidden activation.
    affine : trained scale and shift in batch and layer norm.
    hidden : widths of the dense network on the way to the code.
    filters, kernels : channels of the convolutions, and the sides of their kernels: as many
        numbers. Each of them halves the sides of the images.
    slope : of LeakyReLU, in the dense network; the paper names none. On MNIST the default clusters
        better by far with norm="l2" than Keras's 0.3 (benchmarks/RESULTS.md, Table I).
    scale : "standard": every column to mean 0 and deviation 1, as of the X of fit; "none"; or
        "auto": "standard" for a table, for images none but a check that they lie in [0, 1]. With
        the first two, images of 8 bits are not divided.
    epochs, batch_size, learning_rate : of the optimizer.
    optimizer, reduction : "adam" or "sgd"; the "mean" or the "sum" over pixels of squared errors.
    weights : those of the "best" epoch, with the lowest loss, or of the "last".
    validation : the share of X that no step is made on, drawn by the seed, or other images for
        this. Their loss after every epoch then chooses the best one. Clusters, and the training of
        `self_label`, take all X.
    patience : end the training when so many epochs in a row did not lower the loss (that of the
        validation images, where there are some); None: never.
    callbacks : functions, each called as on_epoch(record, model) after every epoch; the training
        ends after one that any of them answers True. `record` is an `EpochRecord`
        (`l2ae_core.training.history`), `model` the network under way, only to be looked at.
    n_init : restarts of k-means.
    spherical : spherical k-means instead of the paper's plain one.
    augment : True warps the images of every training step at random, by up to 10° and a tenth of
        each side; a `Warp` (`l2ae_core.training.augment`) has other ranges. Not for tables, and
        wrong where a rotation or a shift makes another object of one.
    self_label : True goes on training with the network's own clusters as labels, for at most 40
        passes over X, with the n_clusters, batch_size, learning_rate and n_init of this estimator
        and, for images, a wider warp than that of `augment`; a `SelfLabelling`
        (`l2ae_core.refinement`) has all settings of its own, and has to have the same n_clusters.
        Needs norm="l2", unless its assignment is "student".
    run_dir : a folder to train in, as `l2ae fit --out` does: with checkpoints, for `l2ae cluster`,
        `score` and `report`. For images with values in [0, 1], which are then taken in float32.
    resume : go on with what is in run_dir, after a kill or Ctrl-C, with the bits of a training that
        never stopped; X and all parameters are the same, but for more epochs, another patience,
        n_clusters, n_init or weights. Starts where there is nothing. False: nothing may be there.
    device : where the training makes its steps: None or "cpu", or "cuda" for a GPU, by Adam and
        without `self_label`. Everything else runs on the processor.
    random_state : int (the seed), numpy RandomState or None.
    verbose : progress bars on stderr when > 0.

    Attributes
    ----------
    labels_ (N,) int32, cluster_centers_ (K, D) in the space of the codes, inertia_, n_iter_
        (updates of the best k-means restart), embedding_ (N, D): the codes of the X of fit.
    reconstruction_errors_ (N,) float64: Σ (x̂ − x)² of each sample of the X of fit, over its pixels
        or scaled columns; None where a file or run of before had none.
    autoencoder_, architecture_, image_shape_ (H, W, C) or None, mean_ and scale_ (F,) or None.
    history_ : list of one dict an epoch: epoch, loss, seconds, images_per_second, ...
    self_labelling_history_ : list of one dict a round of `self_label`: round, loss, label_change
        (share of all labels), kl, reconstruction (None without it), mean_max_q (how sure the
        assignment is, 1/K … 1); None where self_label is off.
    seed_, n_features_in_, feature_names_in_ (when X has names).

    Every method raises ValueError when X holds NaN or infinity or does not fit, NotFittedError
    before `fit`; `fit` raises ValueError, by name, for a bad parameter, and TrainingError when the
    training diverges.
    """

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on X and cluster it; y is ignored."""
        self._fit(X)
        return self

    def recluster(self, n_clusters: int) -> Self:
        """Cluster the codes of the X of fit anew, into n_clusters, and return self.

        The network depends on no number of clusters, so nothing is trained: all attributes become
        those of a fit with this n_clusters, which is set, and the same seed, to the bit. What
        `from_clusterer` made before stays as it is. Raises ValueError for a number that is none or
        above n_samples, and where self_label is on: its network has learnt its clusters.
        """
        check_is_fitted(self)
        if self.self_labelling_history_ is not None:
            raise ValueError(
                f"recluster: n_clusters is {n_clusters} but the network was trained further with "
                f"its {counted(len(self.cluster_centers_), 'cluster')} as labels (self_label): fit "
                "again"
            )
        if not hasattr(self, "embedding_"):
            raise ValueError(
                "recluster: there is no embedding_: from_run(run, X) with the images of the run has"
            )
        K = count("recluster", "n_clusters", n_clusters, most=len(self.embedding_))
        clustering = kmeans(
            self.embedding_,
            K,
            n_init=int(self.n_init),
            rng=rngs(self.seed_).kmeans,
            spherical=bool(self.spherical),
            progress=self.verbose > 0,
        )
        self.n_clusters = K
        self._take_clusters(clustering)
        return self

    def predict(self, X: Any) -> Array:
        """Return the cluster int32 (N,) of each sample."""
        return self._of_images("predict", X, "_labels_of", np.int32)

    def transform(self, X: Any) -> Array:
        """Return the codes u (N, D)."""
        check_is_fitted(self)
        return self._of_images("transform", X, "_encode", shape=(self._n_features_out,))

    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """Fit and return the codes of X, which `fit` has anyway; y is ignored."""
        self._fit(X)
        return self.embedding_.copy()

    def inverse_transform(self, codes: Any) -> Array:
        """Return the decoded samples (N, F) for codes (N, D), in the units of X.

        The decoder is given the codes as they are. It was trained on unit codes when norm is "l2":
        bring centers to unit length before looking at them.
        """
        check_is_fitted(self)
        u: Array = check_array(codes, dtype=DTYPES, order="C")
        if u.shape[1] != self.autoencoder_.latent_dim:
            raise ValueError(
                f"inverse_transform: codes is {u.shape} but expected "
                f"(N, {self.autoencoder_.latent_dim})"
            )
        return self._from_network(self._network(u.dtype).decode(u))

    def score(self, X: Any, y: Any = None) -> float:
        """Return −Σ_i |u_i − c_{l_i}|², minus the inertia of X; y is ignored.

        It compares clusterings of one code space. Across networks the codes differ, and so does
        the unit of this number. Of a Dask array D squares a sample come here, to be added in order.
        """
        check_is_fitted(self)
        squares = self._of_images("score", X, "_squares_of", shape=(self._n_features_out,))
        return -float(np.asarray(squares).sum(dtype=np.float64))

    @property
    def _n_features_out(self) -> int:
        return self.autoencoder_.latent_dim

    def _labels_of(self, images: Images) -> Array:
        return self._clustering().predict(self._encode(images))

    def _squares_of(self, images: Images) -> Array:
        """Return (u − c)² (N, D) of the codes u and their centers c."""
        u = self._encode(images)
        labels = self._clustering().predict(u)
        residual = (unit_rows(u)[0] if self.spherical else u) - self.cluster_centers_[labels]
        squares: Array = residual * residual
        return squares

    def _clustering(self) -> Clustering:
        check_is_fitted(self)
        labels = getattr(self, "labels_", np.zeros(0, np.int32))  # none of a run without its X
        updates = getattr(self, "n_iter_", 0)
        return Clustering(
            labels, self.cluster_centers_, self.inertia_, updates, spherical=bool(self.spherical)
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.three_d_array = True
        return tags
