"""What the CUDA kernels pass on a machine without a GPU, as a table in Markdown.

    python -m tests.l2ae_kernels.cuda.build_checks [--quick]    # in the project's folder
    python -m tests.l2ae_kernels.cuda.build_checks --predictions

* **compiled** for every architecture of ARCHITECTURES with warnings as errors, no spilled register,
  and no more registers than the budget of the kernel: one block fewer on a multiprocessor is a
  regression that no test of results would see. NVRTC compiles, from the extra `cuda-check`; else
  nvcc, where it is on the path.
* **run** in the emulator, on workloads of a few hundred samples (workloads.py); and, unless
  --quick, once more under AddressSanitizer and ThreadSanitizer.
* **read and counted**: instructions of the inner loop in SASS for sm_90, and the share of those
  that compute (HMMA, FFMA, DFMA) or, where none does, load; sectors of global memory and passes
  over shared memory, over the least for the same bytes, in PTX of NVRTC, in float32, for the
  kernels of most workloads (prediction_table.py). Tests hold them.

What no check here can show is speed. --predictions writes what would follow for an H100 to
kernels/README.md.
"""

import argparse
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from l2ae_kernels.cuda import conv_tiles
from l2ae_kernels.cuda.text import SOURCE, Defines, options, read_source
from l2ae_kernels.emulator.errors import CompileError
from l2ae_kernels.emulator.ptx.compile import nvrtc_version

README = Path(__file__).parents[3] / "kernels" / "README.md"
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")


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


class Usage(NamedTuple):
    """What a compiled kernel takes on a multiprocessor."""

    registers: int
    shared: int  # bytes that the text declares; a launch may ask for more
    spilled: int  # bytes


class NoTool(RuntimeError):
    """There is no disassembler; the message says what to install."""


class NoCompiler(RuntimeError):
    """There is neither NVRTC nor nvcc; the message says what to install."""


def find_compiler() -> str:
    """Return "nvrtc" or "nvcc"; NoCompiler where there is neither."""
    try:
        from cuda.core import Program  # noqa: F401

        nvrtc_version()  # the library itself may be missing
    except (ImportError, CompileError):
        if shutil.which("nvcc"):
            return "nvcc"
        raise NoCompiler(
            "no CUDA compiler: pip install l2ae[cuda-check], or put nvcc on PATH"
        ) from None
    return "nvrtc"


def compile_variant(variant: Variant, architecture: str, compiler: str) -> dict[str, Usage]:
    """Compile a variant and return what each of its kernels takes.

    RuntimeError with the compiler's words for an error or a warning.
    """
    return compile_and_read(variant, architecture, compiler)[1]


def compile_and_read(
    variant: Variant, architecture: str, compiler: str
) -> tuple[bytes, dict[str, Usage]]:
    """The same, with the binary."""
    binary, log = compile_cubin(variant, architecture, compiler)
    if re.search(r"\bwarning\b", log):
        raise RuntimeError(f"{variant.name} for {architecture}: {log}")
    return binary, read_usage(log)


def compile_cubin(variant: Variant, architecture: str, compiler: str) -> tuple[bytes, str]:
    """Compile a variant; return the binary of its kernels, and what the compiler said."""
    return (_nvrtc if compiler == "nvrtc" else _nvcc)(variant, architecture)


def read_usage(log: str) -> dict[str, Usage]:
    """Read what `ptxas -v` said of each kernel."""
    parts = re.split(r"Compiling entry function '(\w+)'", log)[1:]
    found = {}
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        numbers = (r"Used (\d+) registers", r"(\d+) bytes smem", r"(\d+) bytes spill stores")
        matches = (re.search(pattern, text) for pattern in numbers)
        found[name] = Usage(*(int(m.group(1)) if m else 0 for m in matches))
    return found


def _nvrtc(variant: Variant, architecture: str) -> tuple[bytes, str]:
    from cuda.core import Program, ProgramOptions

    settings = ProgramOptions(
        std="c++17",
        arch=architecture,
        include_path=[str(SOURCE)],
        define_macro=[(name, str(value)) for name, value in variant.defines.items()] or None,
        ptxas_options=["-v"],
        device_as_default_execution_space=True,
        ftz=True,  # as CuPy compiles
    )
    log = io.StringIO()
    binary = Program(read_source(variant.file_name), "c++", settings).compile("cubin", logs=log)
    return bytes(binary.code), log.getvalue()


def _nvcc(variant: Variant, architecture: str) -> tuple[bytes, str]:
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / variant.file_name
        text.write_text(read_source(variant.file_name), encoding="utf-8")
        command = ["nvcc", f"-arch={architecture}", "-cubin", "-Xptxas", "-v"]
        command += ["-Werror", "all-warnings", "-ftz=true", *options(variant.defines)]
        command += [str(text), "-o", str(text.with_suffix(".cubin"))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{variant.name} for {architecture}: {done.stderr}")
        return text.with_suffix(".cubin").read_bytes(), done.stderr


def emulated(tool: str | None) -> dict[str, float | str]:
    """Run the workloads in a process of its own; seconds of each kernel, or its report."""
    command = [sys.executable, str(Path(__file__).with_name("workloads.py"))]
    if tool is not None:
        command = [
            sys.executable, "-m", "l2ae_kernels.emulator.sanitized", "--tool", tool, "--", *command
        ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"workloads, {tool or 'no sanitizer'}: {done.stderr}")
    found: dict[str, float | str] = json.loads(done.stdout)
    return found


def table(quick: bool) -> tuple[str, bool]:
    """Return the table, and whether every check is passed."""
    from . import prediction_table, sass  # they take Variant from here

    compiler = find_compiler()
    moved = prediction_table.moved() if compiler == "nvrtc" else {}
    tools = () if quick else ("address", "thread")
    watched = tqdm((None, *tools), desc="workloads", leave=False)
    results = {tool: emulated(tool) for tool in watched}
    heads = ["kernel", "of", *(f"registers {a}" for a in ARCHITECTURES), "budget", "shared"]
    heads += ["inner loop", "useful", "sectors", "passes", "emulator", *tools]
    lines, good = [heads, ["---"] * len(heads)], True
    variants = [*KMEANS, *(QUICK if quick else NETWORK)]
    for variant in tqdm(variants, desc="compile", unit="variant", leave=False):
        compiled = {a: compile_and_read(variant, a, compiler) for a in ARCHITECTURES}
        usages = [usage for _, usage in compiled.values()]
        loops = sass.read_loops(sass.list_instructions(compiled["sm_90"][0]))
        for kernel, budget in variant.budget.items():
            used = [usage[kernel] for usage in usages]
            found = {tool: result.get(kernel, "not run") for tool, result in results.items()}
            good &= all(u.registers <= budget and not u.spilled for u in used)
            good &= all(isinstance(seconds, float) for seconds in found.values())
            lines.append([
                f"`{kernel}`", f"`{variant.name}`", *map(_registers, used), str(budget),
                f"{used[0].shared} B", *sass.show(sass.inner_loop(loops[kernel])),
                *(map(prediction_table.ratio, moved[kernel]) if kernel in moved else ("", "")),
                *(_shown(*one) for one in found.items()),
            ])  # fmt: skip
    return "\n".join("| " + " | ".join(row) + " |" for row in lines), good


def _registers(usage: Usage) -> str:
    return f"{usage.registers}" + f", spills {usage.spilled} B" * bool(usage.spilled)


def _shown(tool: str | None, found: float | str) -> str:
    """Seconds without a sanitizer, "clean" with one, or the report."""
    if isinstance(found, str):
        return found
    return f"{1e3 * found:.1f} ms" if tool is None else "clean"


def main() -> int:
    """Print the table; 1 where a check fails, 2 without a compiler or a disassembler."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave the sanitizers out")
    parser.add_argument(
        "--predictions", action="store_true", help="write the tables of predictions instead"
    )
    arguments = parser.parse_args()
    try:
        if arguments.predictions:
            from .prediction_table import write

            README.write_text(write(README.read_text(encoding="utf-8")), encoding="utf-8")
            return 0
        text, good = table(arguments.quick)
    except (NoCompiler, NoTool) as error:
        print(f"build_checks: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0 if good else 1


if __name__ == "__main__":
    from . import build_checks  # the module whose errors sass.py raises

    sys.exit(build_checks.main())
