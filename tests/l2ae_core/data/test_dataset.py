import numpy as np
import pytest

from l2ae_core.data import Dataset
from l2ae_core.data.dataset import join


def images(n: int = 4) -> np.ndarray:
    return np.random.default_rng(0).random((n, 3, 2, 1), dtype=np.float32)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (images()[..., 0], r"images of t is float32 \(4, 3, 2\)"),
        (images().astype(np.float64), "images of t is float64"),
        (images()[:0], "not empty"),
        (images()[:, ::-1], "C-contiguous"),
        (images() + 1, r"lie in \[1\..* expected \[0, 1\]"),
        (images() - 0.5, r"expected \[0, 1\]"),
        (np.where(np.arange(2).reshape(1, 1, 2, 1) == 0, np.float32("nan"), images()), "nan"),
    ],
)
def test_images_that_do_not_fit(x: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dataset(x, None, "t")


@pytest.mark.parametrize(
    "labels", [np.arange(3), np.arange(4, dtype=np.int32), np.zeros((4, 1), np.int64)]
)
def test_labels_that_do_not_fit(labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"labels of t is .* expected int64 \(4,\)"):
        Dataset(images(), labels, "t")


def test_sample_names_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="sample_names of t has 1 name but expected 4"):
        Dataset(images(), None, "t", sample_names=("a",))


@pytest.mark.parametrize(
    "index",
    [slice(1, 3), np.array([False, True, True, False]), np.array([1, 2]), [1, 2]],
    ids=["slice", "mask", "integers", "list"],
)
def test_subset(index: object) -> None:
    data = Dataset(images(), np.array([5, 6, 7, 8]), "t", ("a",) * 9, tuple("wxyz"))
    part = data.subset(index)
    np.testing.assert_array_equal(part.images, data.images[1:3])
    np.testing.assert_array_equal(part.labels, [6, 7])
    assert (part.sample_names, part.class_names) == (("x", "y"), ("a",) * 9)
    assert part.name == "t"
    assert data.subset(index, "part").name == "part"
    assert len(part) == 2


def test_subset_keeps_order_and_repeats() -> None:
    part = Dataset(images(), np.arange(4), "t").subset([3, 0, 3])
    np.testing.assert_array_equal(part.labels, [3, 0, 3])


def test_digest_is_of_the_numbers() -> None:
    x, labels = images(), np.arange(4)
    digest = Dataset(x, labels, "t").digest
    assert digest == Dataset(x.copy(), labels.copy(), "another name").digest
    changed = x.copy()
    changed[3, 2, 1, 0] = 0.25
    others = [
        Dataset(changed, labels, "t"),
        Dataset(x, labels + 1, "t"),
        Dataset(x, None, "t"),
        Dataset(x.reshape(4, 2, 3, 1), labels, "t"),
        Dataset(x[::-1].copy(), labels, "t"),
    ]
    assert len({digest, *(other.digest for other in others)}) == 6


def test_digest_stays_the_same_over_versions() -> None:
    """Run directories hold digests, so that their definition must not move."""
    data = Dataset(np.zeros((1, 1, 1, 1), np.float32), np.array([3]), "t")
    assert data.digest == "290d6d63dfd6095c9b01df325a3981daeb877120a3f31e8d94653ee5d87cd7c3"


def test_join() -> None:
    a, b = Dataset(images(2), np.array([1, 2]), "a"), Dataset(images(3), np.array([3, 4, 5]), "b")
    both = join(a, b, "ab")
    np.testing.assert_array_equal(both.labels, [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(both.images[2:], b.images)
    assert join(a, Dataset(images(3), None, "b"), "ab").labels is None
