"""What is compiled of the network's .cu files, and the registers that each kernel may take.

64 K registers are shared by the threads of a multiprocessor. 128 leave four blocks of 128 threads
of a product, or two of 256 of the bottleneck; 40 leave all 1,536 threads (sm_80: of 2,048) to
kernels that wait for memory. float64 is for checks: it may take more.
"""

from l2ae_kernels.cuda.module import Module
from l2ae_kernels.cuda.text import Defines

ORDERS = ((1, 0), (1, 1), (0, 0))  # A_BY_DEPTH, B_BY_DEPTH of dense and its two adjoints
MEMORY_BOUND = 40
PRODUCT = {"float": 128, "double": 168}
BOTTLENECK = {"float": 128, "double": 200}
LATENT = {"float": (1, 10, 32), "double": (1, 10, 16)}


def _elementwise(real: str) -> list[Module]:
    budgets = {
        "product_naive.cu": ("product_naive",),
        "elementwise.cu": ("finish_sums", "column_sums"),
        "adam.cu": ("adam_step",),
    }
    return [
        Module(file, {"REAL": real}, dict.fromkeys(kernels, MEMORY_BOUND))
        for file, kernels in budgets.items()
    ]


def _bottleneck(real: str) -> list[Module]:
    kernels = ("bottleneck", "bottleneck_adjoint", "bottleneck_gradients")
    budget = dict.fromkeys(kernels, BOTTLENECK[real])
    return [Module("bottleneck.cu", {"REAL": real, "LATENT": D}, budget) for D in LATENT[real]]


def _product(kernel: str, defines: Defines, budget: int) -> list[Module]:
    return [
        Module(f"{kernel}.cu", {**defines, "A_BY_DEPTH": a, "B_BY_DEPTH": b}, {kernel: budget})
        for a, b in ORDERS
    ]


TENSOR = [
    m for terms in (1, 3) for m in _product("product_mma", {"TERMS": terms}, PRODUCT["float"])
]
MODULES = [
    *TENSOR,
    *(
        module
        for real in ("float", "double")
        for module in (
            *_elementwise(real),
            *_bottleneck(real),
            *_product("product_tiled", {"REAL": real}, PRODUCT[real]),
        )
    ),
]
# One of each, as the network of the paper has it: quick enough for every run of the tests.
EVERY_DAY = [
    *_elementwise("float"),
    _bottleneck("float")[1],
    _product("product_tiled", {"REAL": "float"}, PRODUCT["float"])[0],
    TENSOR[3],
]
