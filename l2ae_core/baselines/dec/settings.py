"""How DEC, IDEC and DCEC are trained: what their authors' code does, as one table."""

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Literal, Self, TypeAlias, get_args

from l2ae_core.training.optim import SGD, Adam, Optimizer

Method: TypeAlias = Literal["dec", "idec", "dcec"]
Rule: TypeAlias = Literal["adam", "sgd"]


@dataclass(frozen=True)
class DecSettings:
    """All choices of a refinement; they can be written as JSON.

        dec          loss = KL(P‖Q)                   the decoder is not trained
        idec, dcec   loss = mse + gamma · KL(P‖Q)     dense, and convolutional network

    Both terms are means over the samples, and mse is a mean over the pixels too: against a sum
    over the 784 pixels of MNIST, gamma = 0.1 would be 78.4.

    Raises ValueError, naming the field, for values out of range.
    """

    method: Method
    n_clusters: int = 10  # K
    n_init: int = 20  # restarts of the k-means that gives the first centers
    alpha: float = 1.0  # degrees of freedom of the Student's t
    gamma: float = 0.1  # weight of KL; without meaning for "dec"
    update_interval: int = 140  # iterations between two targets p
    tol: float = 1e-3  # end when fewer than this share of all labels changed between two targets
    max_iter: int = 20_000
    batch_size: int = 256
    optimizer: Rule = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.9  # "sgd" only

    def __post_init__(self) -> None:
        for name, known in {"method": get_args(Method), "optimizer": get_args(Rule)}.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"DecSettings: {name} is {getattr(self, name)!r} but expected one of {known}"
                )
        for name in ("n_clusters", "n_init", "update_interval", "max_iter", "batch_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"DecSettings: {name} is {value} but expected an integer ≥ 1")
        for name in ("alpha", "gamma"):
            value = getattr(self, name)
            if not (isfinite(value) and value > 0):
                raise ValueError(f"DecSettings: {name} is {value} but expected a number > 0")
        if not 0 <= self.tol < 1:
            raise ValueError(f"DecSettings: tol is {self.tol} but expected 0 ≤ tol < 1")
        self.make_optimizer()

    @classmethod
    def reference(cls, method: Method, data: str = "mnist") -> Self:
        """Return the settings of the authors' code for "mnist" or "usps".

        Sources: Guo's DEC-keras for "dec", IDEC and DCEC for the other two. For other data take
        the nearer one and change what it needs with `dataclasses.replace`.
        """
        changes = REFERENCE.get((method, data))
        if changes is None:
            raise ValueError(
                f"DecSettings.reference: there are none of {method!r} on {data!r}; expected one of "
                f"{[*REFERENCE]}"
            )
        return cls(method, **changes)

    def make_optimizer(self) -> Optimizer:
        """Return a new optimizer; ValueError when its settings are out of range."""
        if self.optimizer == "adam":
            return Adam(self.learning_rate)
        return SGD(self.learning_rate, self.momentum)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return asdict(self)


REFERENCE: dict[tuple[str, str], dict[str, Any]] = {
    ("dec", "mnist"): {"optimizer": "sgd", "learning_rate": 0.01},
    ("dec", "usps"): {"optimizer": "sgd", "learning_rate": 0.01, "update_interval": 30},
    ("idec", "mnist"): {},
    ("idec", "usps"): {
        "optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.99, "update_interval": 30,
    },
    ("dcec", "mnist"): {},
    ("dcec", "usps"): {},
}  # fmt: skip
