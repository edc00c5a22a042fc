"""What the build checks compile: files with their defines, and the registers kernels may take."""

from collections.abc import Mapping
from typing import NamedTuple

from l2ae_kernels.cuda import conv_tiles
from l2ae_kernels.cuda.text import Defines


class Variant(NamedTuple):
    """A file with its defines, and the registers that each kernel of it may take."""

    file_name: str
    defines: Defines
    budget: Mapping[str, int]

    @property
    def name(self) -> str:
        """The file and its defines, to be read."""
        defines = " ".join(f"{name}={value}" for name, value in self.defines.items())
        return f"{self.file_name} {defines}".strip()


# Budgets hold on every architecture.
TILED = {"lloyd_tiled": 160, "lloyd_apply_assignment": 48}
KMEANS = [
    Variant("assign.cu", {}, {"assign_tiled": 96}),
    Variant("assign.cu", {"REAL": "double"}, {"assign_tiled": 160}),
    Variant("assign_short.cu", {"D": 10, "K": 10}, {"assign_short": 48}),
    Variant("assign_short.cu", {"D": 32}, {"assign_short": 64}),
    Variant("assign_short.cu", {"REAL": "double", "D": 16}, {"assign_short": 64}),
    Variant("lloyd.cu", {}, TILED),
    Variant("lloyd.cu", {"REAL": "double"}, {"lloyd_tiled": 168, "lloyd_apply_assignment": 48}),
    Variant("lloyd_short.cu", {"D": 10, "K": 10}, {"lloyd_short": 64}),
    Variant("lloyd_short.cu", {"D": 10, "K": 10, "ONE_RUN": 1}, {"lloyd_short": 64}),
    Variant("lloyd_short.cu", {"D": 32}, {"lloyd_short": 88}),
    Variant("lloyd_short.cu", {"D": 32, "ONE_RUN": 1}, {"lloyd_short": 88}),
    Variant("lloyd_short.cu", {"REAL": "double", "D": 16}, {"lloyd_short": 88}),
    Variant("resident.cu", {"D": 10, "K": 10}, {"lloyd_resident": 96}),
    Variant("resident.cu", {"D": 32}, {"lloyd_resident": 112}),
    Variant("resident.cu", {"REAL": "double", "D": 16}, {"lloyd_resident": 112}),
    Variant("init.cu", {}, {"init_min_sq_distances": 96, "init_choose": 64, "init_draw": 64}),
    Variant("init.cu", {"REAL": "double"}, {"init_min_sq_distances": 160}),
    Variant("max_abs.cu", {}, {"max_abs": 40, "max_label": 40}),
    *(
        Variant(
            "tensor.cu",
            {"RESIDENT": resident, "VECTOR": vector},
            {"assign_tensor": 168, "split_centers": 40},
        )
        for resident in (1, 0)
        for vector in (1, 0)
    ),
    Variant("label_distances.cu", {"VECTOR": 1}, {"label_distances": 56}),
    Variant("label_distances.cu", {"VECTOR": 0}, {"label_distances": 80}),
]

# 64 K registers are shared by the threads of a multiprocessor. 128 leave four blocks of 128 threads
# of a product, or two of 256 of the bottleneck; 40 leave all 1,536 threads (sm_80: of 2,048) to
# kernels that wait for memory. float64 is for checks: it may take more.
MEMORY_BOUND = 40
SMALL = {
    "product_naive.cu": ("product_naive",),
    "elementwise.cu": ("finish_sums", "column_sums"),
    "adam.cu": ("adam_step",),
}
# Those that add up parts have few blocks: their registers keep nobody out.
NORMS = {
    "add_gradients": 48,
    "moments_finish": 80,
    "layer_norm_adjoint": 64,
    **dict.fromkeys(("l2_normalize", "l2_normalize_adjoint", "layer_norm"), MEMORY_BOUND),
    **dict.fromkeys(("moments_parts", "batch_norm", "batch_norm_sums"), MEMORY_BOUND),
    "batch_norm_adjoint": MEMORY_BOUND,
}
NORMS_OF_DOUBLE = {"batch_norm_adjoint": 48}
LOSS = {"squared_error": MEMORY_BOUND, "add_errors": 48}
BIASES = {"bias_parts": MEMORY_BOUND}
STEP = {"gather_images": MEMORY_BOUND, "begin_images": MEMORY_BOUND, "begin_step": 48}
CONV = ("correlate", "correlate_adjoint_x", "correlate_adjoint_W")
CONV_NAIVE = {f"{operation}_naive": 56 for operation in CONV}
BOTTLENECK = ("bottleneck", "bottleneck_adjoint", "bottleneck_gradients")
ORDERS = ((1, 0), (1, 1), (0, 0))  # A_BY_DEPTH, B_BY_DEPTH of dense and its two adjoints


def _product(kernel: str, defines: Defines, budget: int) -> list[Variant]:
    return [
        Variant(f"{kernel}.cu", {**defines, "A_BY_DEPTH": a, "B_BY_DEPTH": b}, {kernel: budget})
        for a, b in ORDERS
    ]


def _network(real: str, latent: tuple[int, ...], product: int, bottleneck: int) -> list[Variant]:
    """The variants of one data type, with the budgets of a product and of the bottleneck."""
    return [
        *(
            Variant(file, {"REAL": real}, dict.fromkeys(kernels, MEMORY_BOUND))
            for file, kernels in SMALL.items()
        ),
        *(
            Variant(
                "bottleneck.cu", {"REAL": real, "LATENT": D}, dict.fromkeys(BOTTLENECK, bottleneck)
            )
            for D in latent
        ),
        *_product("product_tiled", {"REAL": real}, product),
        Variant("conv_naive.cu", {"REAL": real}, CONV_NAIVE),
        Variant("norms.cu", {"REAL": real}, NORMS | (NORMS_OF_DOUBLE if real == "double" else {})),
        Variant("loss.cu", {"REAL": real}, LOSS),
        Variant("biases.cu", {"REAL": real}, BIASES),
        Variant("step.cu", {"REAL": real}, STEP),
        Variant("step.cu", {"REAL": real, "BYTES": 1}, STEP),
    ]


TENSOR = [
    variant
    for vector in (1, 0)
    for terms in (1, 3)
    for variant in _product("product_mma", {"TERMS": terms, "VECTOR": vector}, 128)
]
# conv1 to conv3 of the paper's network, whose transposed convolutions have the same geometries, and
# one of ragged sizes: H, W, C, OH, OW, K, kernel, stride, zeros before.
CONV1 = (28, 28, 1, 14, 14, 32, 5, 5, 2, 2, 1, 1)
GEOMETRIES = (
    (14, 14, 32, 7, 7, 64, 5, 5, 2, 2, 1, 1),
    (7, 7, 64, 3, 3, 128, 3, 3, 2, 2, 0, 0),
    (7, 8, 5, 9, 3, 66, 4, 5, 1, 3, 2, 1),
)


def _convolution(
    kind: str, geometry: tuple[int, ...], defines: dict[str, int], budget: int
) -> Variant:
    sizes = dict(zip(conv_tiles.DEFINES, geometry, strict=True))
    return Variant(
        f"conv_{kind}.cu",
        {**sizes, **defines, "ALIGNED": 1},
        dict.fromkeys((f"{operation}_{kind}" for operation in CONV), budget),
    )


CONVOLUTIONS = [
    *(_convolution("mma", g, {"TERMS": terms}, 128) for terms in (3, 1) for g in GEOMETRIES),
    *(_convolution("thin", CONV1, {"ROWS": rows}, 128) for rows in (14, 28)),
]
FLOAT = _network("float", (1, 10, 32), product=128, bottleneck=128)
NETWORK = [
    *TENSOR,
    *CONVOLUTIONS,
    *FLOAT,
    *_network("double", (1, 10, 16), product=168, bottleneck=200),
]
# The small ones, the bottleneck of 10 features, a product in float32 and one on tensor cores,
# a convolution.
QUICK = [*FLOAT[:3], FLOAT[4], FLOAT[6], TENSOR[3], CONVOLUTIONS[0]]
