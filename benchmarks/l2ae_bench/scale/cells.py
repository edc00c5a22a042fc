"""The cells of the part `scale`: what is done, to how many samples, by whom."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

Work: TypeAlias = Literal["k-means", "fit", "score"]

MEMORY, MAPPED, FLOATS = "memory", "memory map", "memory, float32"
WORKERS = {f"Dask, {count} worker{'s' * (count > 1)}": count for count in (1, 2, 4)}
OURS = (MEMORY, MAPPED, *WORKERS)
PEERS = ("scikit-learn", "scikit-learn, mini-batch", "faiss", "dask-ml")
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
SHAPES = ((10, 10), (10, 256), (64, 10), (64, 256))  # (d, k) of k-means
IMAGES = (10_000, 100_000, 1_000_000)
LARGEST = 10_000_000 * 10 * 256  # N·d·k of the cells that peers of many minutes take part in


@dataclass(frozen=True)
class Cell:
    """One measurement to make; of images d and k are those of the codes."""

    work: Work
    N: int
    d: int
    k: int
    contender: str

    @property
    def name(self) -> str:
        """The name by which a result is found again."""
        return f"{self.work}-{self.N}x{self.d}-k{self.k}-{self.contender}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return asdict(self)


def cells(*, quick: bool = False) -> list[Cell]:
    """Return all cells, the small ones first; `quick`: small ones of one shape alone."""
    sizes, shapes = (SIZES[:2], SHAPES[:1]) if quick else (SIZES, SHAPES)
    found = [
        Cell("k-means", N, d, k, contender)
        for N in sizes
        for d, k in shapes
        for contender in (*OURS, *PEERS)
        if N * d * k <= LARGEST or contender in OURS
    ]
    images = IMAGES[:1] if quick else IMAGES
    found += [
        Cell(work, N, 10, 10, contender)
        for N in images
        for work in ("fit", "score")
        for contender in (FLOATS, *OURS)
        if work == "score" or IMAGES[-1] > N or contender in (MEMORY, MAPPED)
    ]
    return sorted(found, key=lambda cell: cell.N * cell.d * cell.k)
