"""Bad parameters and data are named in the error."""

from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from l2ae_core.data import load
from l2ae_core.estimators import AutoEncoderClusterer, AutoEncoderDetector
from l2ae_core.refinement import SelfLabelling
from l2ae_core.training.augment import Warp
from l2ae_core.training.history import TrainingError

from .small import ONE_EPOCH, TINY, table


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_clusters": 0}, "n_clusters is 0 but expected an integer ≥ 1"),
        ({"n_clusters": 61}, "n_clusters is 61 but X has only n_samples=60"),
        ({"epochs": 1.5}, "epochs is 1.5"),
        ({"latent_dim": -1}, "latent_dim is -1"),
        ({"hidden": 500}, "hidden is 500"),
        ({"hidden": (500, 0)}, r"hidden\[1\] is 0"),
        ({"filters": (8, 4)}, r"filters is \(8, 4\) and kernels is \(5, 5, 3\) but expected one"),
        ({"kernels": (5, 5, "3")}, r"kernels\[2\] is '3'"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"slope": -0.1}, "slope is -0.1 but expected a number ≥ 0"),
        ({"model": "rnn"}, "model is 'rnn' but expected one of"),
        ({"norm": "l1"}, "norm is 'l1'"),
        ({"scale": "minmax"}, "scale is 'minmax'"),
        ({"model": "cae"}, r"model is 'cae' but X is a table"),
        ({"image_shape": (8,)}, r"image_shape is \(8,\) but expected"),
        ({"image_shape": 8}, "image_shape is 8 but expected"),
        ({"image_shape": (2, 2)}, r"image_shape is \(2, 2, 1\), 4 values .* X is \(60, 5\)"),
        ({"random_state": -1}, "random_state is -1"),
        ({"augment": 1}, "augment is 1 but expected True, False or a Warp"),
        ({"augment": SelfLabelling(8)}, "augment is SelfLabelling.* but expected True, False or a"),
        ({"self_label": None}, "self_label is None but expected True, False or a SelfLabelling"),
        ({"self_label": SelfLabelling(9)}, "self_label has n_clusters=9 but .* n_clusters=10"),
        ({"self_label": True, "norm": "none"}, "self_label is on and norm is 'none' but expected"),
        ({"augment": True}, r"augment is True but X is a table \(N, F\): expected images"),
        ({"augment": Warp(scale=0.1)}, r"augment is Warp\(.*scale=0.1\) but X is a table"),
        ({"self_label": SelfLabelling(10)}, r"self_label has warp=Warp.* X is a table.* warp=None"),
    ],
)
def test_fit_names_the_bad_parameter(parameters: dict[str, Any], message: str) -> None:
    endless = {**TINY, "epochs": 10**9}  # what is refused is refused before any training
    model = AutoEncoderClusterer(**{**endless, **parameters})  # __init__ checks nothing
    with pytest.raises(ValueError, match=message):
        model.fit(table())


@pytest.mark.parametrize("contamination", [0, 0.51, -0.1, "much", None])
def test_bad_contamination_is_named_before_any_training(contamination: Any) -> None:
    with pytest.raises(ValueError, match="contamination is .* but expected 'auto'"):
        AutoEncoderDetector(2, contamination=contamination, epochs=10**9).fit(table())
    fitted = AutoEncoderClusterer(2, **ONE_EPOCH).fit(table())
    with pytest.raises(ValueError, match="contamination is .* but expected 'auto'"):
        AutoEncoderDetector.from_clusterer(fitted, contamination=contamination)


def test_images_that_do_not_fit_are_refused() -> None:
    images = load("digits", split="test").images
    with pytest.raises(ValueError, match=r"image_shape is \(4, 16, 1\) but the images of X"):
        AutoEncoderClusterer(2, image_shape=(4, 16), **ONE_EPOCH).fit(images)
    with pytest.raises(ValueError, match=r"from 0.0 to 255.0 but .* x / 255") as told:
        AutoEncoderClusterer(2, **ONE_EPOCH).fit((images * 255).astype(np.int64))
    assert "scale='none'" not in str(told.value), "that would train on 0 … 255"
    with pytest.raises(ValueError, match=r"from 0.0 to 1.0000001.* np.clip\(x, 0, 1\)"):
        AutoEncoderClusterer(2, **ONE_EPOCH).fit(images.astype(np.float64) * 1.0000001)
    with pytest.raises(ValueError, match="takes sides from 8 on; H is 6"):
        AutoEncoderClusterer(2, model="cae", **ONE_EPOCH).fit(images[:, :6])
    model = AutoEncoderClusterer(2, **ONE_EPOCH).fit(images)
    with pytest.raises(ValueError, match=r"predict: X has values from 0.0 to 255"):
        model.predict(images * 255)
    with pytest.raises(ValueError, match=r"predict: X is .* fitted to images of shape \(8, 8, 1\)"):
        model.predict(images.reshape(-1, 4, 16))
    for one in (images[0], images[0, ..., 0]):
        with pytest.raises(ValueError, match=r"predict: X is .* one image; write X\[None\]"):
            model.predict(one)
    with pytest.raises(ValueError, match=r"inverse_transform: codes is \(1, 3\)"):
        model.inverse_transform(np.zeros((1, 3)))
    tabular = AutoEncoderClusterer(2, **ONE_EPOCH).fit(images.reshape(-1, 64))
    with pytest.raises(ValueError, match=r"transform: X is .* fitted to a table"):
        tabular.transform(images)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 8, 12)])
def test_channels_first_are_refused_unless_the_shape_is_named(shape: tuple[int, int, int]) -> None:
    X = np.random.default_rng(0).random((20, *shape), np.float32)
    for estimator in (AutoEncoderClusterer, AutoEncoderDetector):
        with pytest.raises(ValueError, match=r"fit: .* looks like \(N, C, H, W\)") as told:
            estimator(2, **ONE_EPOCH).fit(X)
    assert "transpose(0, 2, 3, 1)" in str(told.value)
    fitted = AutoEncoderClusterer(2, **ONE_EPOCH).fit(X.transpose(0, 2, 3, 1))
    assert fitted.image_shape_ == (*shape[1:], shape[0])
    with pytest.raises(ValueError, match=r"predict: X is .* fitted to images of shape"):
        fitted.predict(X)
    named = AutoEncoderClusterer(2, image_shape=shape, **ONE_EPOCH).fit(X)
    assert named.image_shape_ == shape


def test_constant_tables_and_unfitted_estimators_are_refused() -> None:
    with pytest.raises(ValueError, match="every column of X is constant"):
        AutoEncoderClusterer(2, **TINY).fit(np.full((9, 3), 0.1))
    with pytest.raises(NotFittedError):
        AutoEncoderClusterer().save("never.npz")
    with pytest.raises(NotFittedError):
        AutoEncoderDetector.from_clusterer(AutoEncoderClusterer())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, of overflow
@pytest.mark.parametrize("self_label", [False, True])
def test_codes_that_the_last_update_made_infinite_are_an_error_of_the_training(
    self_label: bool,
) -> None:
    diverged = {**ONE_EPOCH, "learning_rate": 1e30, "self_label": self_label}
    with pytest.raises(TrainingError, match="codes hold NaN or Inf.* smaller learning_rate"):
        AutoEncoderClusterer(2, **diverged).fit(table().astype(np.float32))
