"""A layer by its address, `module:Name` or `file.py:Name`, and a point to check it at."""

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_origin

import numpy as np
from numpy.random import Generator

from l2ae_core.gradcheck.cases import SEED
from l2ae_core.gradcheck.check import check_layer
from l2ae_core.gradcheck.problem import check_form
from l2ae_core.gradcheck.report import Report
from l2ae_core.layers import Layer
from l2ae_kernels.arrays import Array

ENTRIES = 4096  # blocks up to this size are checked entry by entry: the layer is one, and small
ROWS, MAPS = 5, (2, 6, 5)  # of an input that nobody chose: (5, D) or (2, 6, 5, C)
FEATURES = 4  # D, where no parameter tells it


@dataclass(frozen=True, eq=False)
class OwnLayer:
    """A layer that does not belong to the suite, and where to check it."""

    address: str
    layer: Any  # whatever was found: check_layer says what is no layer
    x: Array | None  # None: one that forward takes
    file: str  # of the class

    def check(self, train: bool) -> Report:
        """Return the report.

        Raises ValueError for what is no layer, and for an input that forward does not take; one
        that the layer itself raises says in which line.
        """
        check_form(self.layer)
        with located(self.file):
            x = _taken(self.layer, self.address) if self.x is None else self.x
            return check_layer(self.layer, x, train=train, entries=ENTRIES, rng=SEED)


def is_address(name: str) -> bool:
    """Whether a name on the command line is that of a layer outside of the suite."""
    return ":" in name


def load(
    address: str, arguments: Mapping[str, Any], shape: tuple[int, ...] | None = None
) -> OwnLayer:
    """Import what `address` names, and make the layer; x is of `shape`, with N, if that is given.

    The name is that of a Layer, of a class, or of a function; it may have dots (`Dense.glorot`).
    A class with a classmethod `example` is made by that. What is called gets `arguments`, and a
    seeded Generator as `rng`; it returns a layer, or (layer, x). Without `shape` and x the input
    is the first of (5, D) and (2, 6, 5, C) that forward takes, with the lengths of the parameters.

    Raises ValueError for an address that leads nowhere, and for arguments that do not fit.
    """
    place, _, name = address.rpartition(":")
    module = _module(place)
    file = str(getattr(module, "__file__", None))
    with located(file):
        made = _made(_attribute(module, name, place), arguments, address)
    layer, x = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    return OwnLayer(address, layer, x if shape is None else _drawn(shape), file)


@contextmanager
def located(file: str) -> Iterator[None]:
    """Let a ValueError that was raised below a line of `file` name that line."""
    try:
        yield
    except ValueError as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
        if not frames:
            raise
        where = f"{Path(file).name}:{frames[-1].lineno}, in {frames[-1].name}"
        raise ValueError(f"{where}: {error}") from error


def _module(place: str) -> ModuleType:
    """Import a module from the current folder or the path, or a file."""
    here = Path.cwd()
    if not place.endswith(".py"):
        with _importing_from(here):
            try:
                return importlib.import_module(place)
            except ModuleNotFoundError as error:
                if error.name is None or not f"{place}.".startswith(f"{error.name}."):
                    raise  # of an import in the module
                raise ValueError(
                    f"gradcheck: there is no module {place!r}: expected one that can be imported "
                    f"from {here}, or a file such as layers.py:Scale"
                ) from error
    path = here / place
    if not path.is_file():
        raise ValueError(f"gradcheck: there is no file {path}")
    name = path.stem if path.stem not in sys.modules else f"{path.stem} of {path.parent}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for the module of a class
    with _importing_from(path.parent):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _attribute(module: ModuleType, name: str, place: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            layers = [
                key for key, value in vars(module).items()
                if isinstance(value, type) and value.__module__ == module.__name__
            ]  # fmt: skip
            raise ValueError(
                f"gradcheck: {place} has no {name!r}; its classes: {', '.join(layers) or 'none'}"
            )
        found = getattr(found, part)
    return found


def _made(target: Any, arguments: Mapping[str, Any], address: str) -> Any:
    """Return what a class or a function returns for the arguments; anything else as it is."""
    if isinstance(target, type):
        target = getattr(target, "example", target)
    if isinstance(target, Layer) or not callable(target):
        return target
    if inspect.isabstract(target):
        missing = ", ".join(sorted(target.__abstractmethods__))
        raise ValueError(f"gradcheck: {address} does not define {missing}")
    return target(**_arguments(target, arguments, address))


def _arguments(
    target: Callable[..., Any], given: Mapping[str, Any], address: str
) -> dict[str, Any]:
    """Return the given arguments as the types that the signature names, and a Generator as rng."""
    parameters = inspect.signature(target, eval_str=True).parameters
    rng = np.random.default_rng(SEED)
    named = [p for p in parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    names = [p.name for p in named]
    if len(named) == len(parameters) and (unknown := [key for key in given if key not in names]):
        raise ValueError(
            f"gradcheck: {address} takes no {unknown[0]!r}; "
            f"it takes {', '.join(names) or 'nothing'}"
        )
    result = dict(given)
    for p in named:
        if p.name in given:
            result[p.name] = _value(p.name, p.annotation, given[p.name], rng)
        elif p.default is p.empty and (p.name == "rng" or p.annotation is Generator):
            result[p.name] = rng
    missing = [p.name for p in named if p.default is p.empty and p.name not in result]
    if missing:
        example = ", ".join(f'"{name}": …' for name in missing)
        raise ValueError(
            f"gradcheck: {address} needs {', '.join(missing)}: give --args '{{{example}}}', with "
            '"4,3" for an array of that shape, or write a classmethod `example` that returns a '
            "layer, or (layer, x)"
        )
    return result


def _value(name: str, annotation: Any, value: Any, rng: Generator) -> Any:
    """Return a JSON value as an array or a tuple, where the annotation asks for one."""
    kinds = {_class_of(kind) for kind in (annotation, *get_args(annotation))}
    if np.ndarray in kinds and isinstance(value, str):
        return rng.standard_normal(shape_of(value))
    if np.ndarray in kinds and isinstance(value, list):
        array = np.array(value)
        if array.dtype.kind not in "fiub":
            raise ValueError(f"gradcheck: {name} is {value!r} but expected numbers")
        return array.astype(np.float64)
    return tuple(value) if tuple in kinds and isinstance(value, list) else value


def _class_of(kind: Any) -> Any:
    """Return np.ndarray for NDArray[…], which newer NumPys define as an alias (PEP 695)."""
    kind = get_origin(kind) or kind
    return _class_of(kind.__value__) if hasattr(kind, "__value__") else kind


def shape_of(text: str) -> tuple[int, ...]:
    """Return "4,3" as (4, 3); ValueError for what is no shape."""
    parts = text.replace(" ", "").strip(",").split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"{text!r} but expected a shape such as 5,4")
    return tuple(int(part) for part in parts)


def _taken(layer: Layer, address: str) -> Array:
    """Return x of the first shape that forward takes, of those that the parameters suggest."""
    layer = layer.astype(np.float64)
    sizes = list(dict.fromkeys(n for p in layer.params.values() for n in p.shape))
    shapes = [(ROWS, n) for n in [*sizes, FEATURES]] + [(*MAPS, n) for n in [*sizes, FEATURES]]
    first = None
    for shape in dict.fromkeys(shapes):
        try:
            layer.forward(_drawn(shape), False)
        except ValueError as error:
            first = first or error
        else:
            return _drawn(shape)
    raise ValueError(
        f"gradcheck: forward of {address} takes no x of {', '.join(map(str, shapes))}: give its "
        f"shape with --input. At the first: {first}"
    ) from first


def _drawn(shape: tuple[int, ...]) -> Array:
    """Return standard normal numbers."""
    return np.random.default_rng(SEED).standard_normal(shape)
