"""`Preparation`: what is done to every image before a network sees it, in training and after."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, Self, TypeAlias, get_args

import numpy as np

from l2ae_core.data.errors import DataError
from l2ae_kernels.arrays import Array

Fit: TypeAlias = Literal["pad", "crop", "stretch"]
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601: brightness of red, green, blue
MOST_SIDE = 1 << 15  # pixels
MOST_BITS = 32


@dataclass(frozen=True)
class Preparation:
    """How an image becomes one of the shape and range that a network is trained on.

    What becomes of an image depends on this and on the image alone, never on other images.

    size         (H, W) of the prepared image, or one number for both sides, which becomes (n, n);
                 None: as it is
    fit          how an image of other proportions gets there: "pad" shows all of it, scaled and
                 centered on `background` (black where that is None); "crop" cuts off what is too
                 much, half on either side; "stretch" changes its proportions
    grey         one channel, the brightness 0.299 R + 0.587 G + 0.114 B
    background   colour behind transparent pixels, "white", "black" or "#rrggbb"; None: these are
                 refused
    depth        "8": files of more than 8 bits a channel are refused; "auto": 16 bits are divided
                 by 65535, floating point must lie in [0, 1]; a number of bits such as 12 or "12":
                 values 0 … 4095 become 0 … 1; "LOW:HIGH" such as "-1000:3000": these become 0 … 1.
                 It becomes text
    image_shape  (H, W) or (H, W, C) of the images in the rows of an array (N, F)

    Raises ValueError, naming the field, for values that mean nothing.
    """

    size: int | tuple[int, int] | None = None
    fit: Fit = "pad"
    grey: bool = False
    background: str | None = None
    depth: int | str = "8"
    image_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.size is not None:
            size: Any = self.size
            if isinstance(size, int | np.integer) and not isinstance(size, bool):
                size = (size, size)
            object.__setattr__(self, "size", _sides("size", size, (2,), "one number or (H, W)"))
        if self.image_shape is not None:
            shape = _sides("image_shape", self.image_shape, (2, 3), "(H, W) or (H, W, C)")
            object.__setattr__(self, "image_shape", shape)
        if isinstance(self.depth, int | np.integer) and not isinstance(self.depth, bool):
            object.__setattr__(self, "depth", str(self.depth))
        if self.fit not in get_args(Fit):
            raise ValueError(f"fit: {self.fit!r} but expected one of {get_args(Fit)}")
        if not isinstance(self.grey, bool):
            raise ValueError(f"grey: {self.grey!r} but expected True or False")
        _ = self.levels, self.colour

    @cached_property
    def levels(self) -> tuple[float, float] | None:
        """The values that become 0 and 1 where a channel has more than 8 bits; None: its own."""
        if isinstance(self.depth, str):
            if self.depth in ("8", "auto"):
                return None
            if re.fullmatch(r"[0-9]{1,2}", self.depth) and 8 < int(self.depth) <= MOST_BITS:
                return 0.0, float((1 << int(self.depth)) - 1)
            number = r"[-+]?[0-9]{1,12}(?:\.[0-9]{1,12})?"
            if found := re.fullmatch(f"({number}):({number})", self.depth):
                low, high = float(found[1]), float(found[2])
                if low < high:
                    return low, high
        raise ValueError(
            f"depth: {self.depth!r} but expected '8', 'auto', a number of bits up to {MOST_BITS} "
            "such as '12', or two values 'LOW:HIGH' such as '0:4095', the lower first"
        )

    @cached_property
    def colour(self) -> tuple[int, ...] | None:
        """The background (R, G, B), or (v,) where it is grey; None where there is none."""
        if self.background is None:
            return None
        text = str(self.background)
        text = {"white": "#ffffff", "black": "#000000"}.get(text, text)
        found = re.fullmatch(r"#([0-9a-fA-F]{6})", text)
        if found is None:
            raise ValueError(
                f"background: {self.background!r} but expected 'white', 'black' or a colour such "
                "as '#ff8000'"
            )
        r, g, b = bytes.fromhex(found[1])
        return (r,) if r == g == b else (r, g, b)

    @property
    def sides(self) -> tuple[int, int] | None:
        """The size (H, W); None: as the image is."""
        assert not isinstance(self.size, int), "it is made a pair at the start"
        return self.size

    @property
    def changes_pixels(self) -> bool:
        """Whether images in [0, 1] may be changed."""
        return self.size is not None or self.grey or self.background is not None

    def keeps(self, shape: tuple[int, ...]) -> bool:
        """Whether `apply` leaves images of a shape (H, W, C) as they are."""
        H, W, C = shape
        return (
            self.sides in (None, (H, W))
            and (not self.grey or C == 1)
            and (self.background is None or C not in (2, 4))
        )

    @property
    def of_values(self) -> "Preparation":
        """The part that says which values become 0 and 1, and changes no pixels."""
        return replace(self, size=None, grey=False, background=None)

    def apply(self, image: Array, where: str) -> Array:
        """Return one image (H, W, C) float32 in [0, 1] prepared; `where` names it in errors.

        With a background, 2 and 4 channels are grey and colour with an alpha channel. DataError
        when `grey` is asked of channels that are neither grey nor colour.
        """
        if self.colour is not None and image.shape[2] in (2, 4):
            image = _composed(image, self.colour)
        if self.grey:
            image = _grey(image, where)
        if self.size is not None:
            image = self._resized(image)
        return image

    def _resized(self, image: Array) -> Array:
        """Return (H, W, C) of the wanted size, by Pillow's antialiased triangle filter.

        Its weights are none negative and their sum is 1: values stay in [0, 1].
        """
        assert self.sides is not None
        (H, W), (h, w) = self.sides, image.shape[:2]
        if (h, w) == (H, W):
            return image
        box, inner = (0.0, 0.0, float(w), float(h)), (H, W)
        if self.fit == "crop":
            scale = min(w / W, h / H)
            left, top = (w - scale * W) / 2, (h - scale * H) / 2
            box = (max(left, 0.0), max(top, 0.0), min(w - left, w), min(h - top, h))
        elif self.fit == "pad":
            scale = min(W / w, H / h)
            inner = (min(H, max(1, round(h * scale))), min(W, max(1, round(w * scale))))
        channels = np.stack([_resize(c, inner, box) for c in np.moveaxis(image, 2, 0)], axis=-1)
        return channels if inner == (H, W) else self._padded(channels)

    def _padded(self, image: Array) -> Array:
        """Return an image in the middle of one of the wanted size, the background around it."""
        assert self.sides is not None
        colour = np.array(self.colour or (0,), np.float32) / np.float32(255)
        if self.grey and len(colour) == 3:
            colour = _grey(colour.reshape(1, 1, 3), "background").reshape(1)
        channels = image.shape[2] if len(colour) == 1 else max(image.shape[2], 3)
        padded = np.empty((*self.sides, channels), np.float32)
        padded[...] = colour
        (h, w), (H, W) = image.shape[:2], self.sides
        top, left = (H - h) // 2, (W - w) // 2
        padded[top : top + h, left : left + w] = image
        return padded

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values, tuples as lists."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`; what is missing has its default. ValueError for another name."""
        if unknown := values.keys() - {field.name for field in fields(cls)}:
            raise ValueError(f"Preparation.from_dict: unknown fields {sorted(unknown)}")
        return cls(**values)


def _sides(name: str, values: Any, lengths: tuple[int, ...], form: str) -> tuple[int, ...]:
    """Return the sides of an image as a tuple of int; ValueError, naming the field, for others."""
    right = isinstance(values, tuple | list) and len(values) in lengths
    if not right or not all(
        isinstance(v, int | np.integer) and not isinstance(v, bool) and 1 <= v <= MOST_SIDE
        for v in values
    ):
        raise ValueError(
            f"{name}: {values!r} but expected {form}, integers from 1 to {MOST_SIDE:,}"
        )
    return tuple(int(v) for v in values)


def _composed(image: Array, colour: tuple[int, ...]) -> Array:
    """Return the image (H, W, 2 or 4), whose last channel is alpha, on a background."""
    pixels, alpha = image[..., :-1], image[..., -1:]
    behind = np.array(colour, np.float32) / np.float32(255)
    over: Array = pixels * alpha + behind * (1 - alpha)
    return np.minimum(over, np.float32(1))  # may be 1 and a rounding


def _grey(image: Array, where: str) -> Array:
    """Return the brightness (H, W, 1), computed in float64: equal channels give themselves."""
    C = image.shape[2]
    if C == 1:
        return image
    if C != 3:
        raise DataError(f"{where}: has {C} channels but grey is the brightness of 1 or 3")
    r, g, b = (image[..., c].astype(np.float64) for c in range(3))
    luma = LUMA[0] * r + LUMA[1] * g + LUMA[2] * b
    return luma.astype(np.float32)[..., None]


def _resize(channel: Array, size: tuple[int, int], box: tuple[float, ...]) -> Array:
    """Return the part `box` (left, top, right, bottom) of a channel (h, w) in another size."""
    from PIL import Image  # what resizes nothing needs no Pillow

    image = Image.fromarray(np.ascontiguousarray(channel, np.float32))
    resized = image.resize(size[::-1], Image.Resampling.BILINEAR, box=box)  # type: ignore[arg-type]
    return np.asarray(resized)
