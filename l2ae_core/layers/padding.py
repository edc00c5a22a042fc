"""Padding rules of TensorFlow, one image axis at a time.

A correlation with kernel k and stride s over a side of H pixels, `before` zeros in front of it and
`after` zeros behind it, has ⌊(H + before + after − k)/s⌋ + 1 outputs. The rules choose the zeros:

    "same"           total = max((⌈H/s⌉ − 1) s + k − H, 0), before = ⌊total/2⌋, after = the rest:
                     ⌈H/s⌉ outputs; (1, 2) for k = 5, s = 2 and an even side
    "valid"          (0, 0)
    (before, after)  what it says

A transposed correlation is the adjoint of the correlation over the larger image, whose side is

    "same"           H s
    "valid"          H s + max(k − s, 0)
    (before, after)  (H − 1) s + k − before − after
"""

from typing import Literal, NamedTuple, TypeAlias, cast

from l2ae_kernels.geometry import Pair, output_length, same_padding

AxisPadding: TypeAlias = Literal["same", "valid"] | Pair
Padding: TypeAlias = AxisPadding | tuple[AxisPadding, AxisPadding]  # one for both axes, or (H, W)


class Axis(NamedTuple):
    """One image axis of a convolution: kernel k, stride s and padding rule."""

    kernel: int
    stride: int
    rule: AxisPadding

    def zeros(self, length: int) -> Pair:
        """Zeros (before, after) around a side of `length` pixels that is correlated."""
        if self.rule == "valid":
            return 0, 0
        if self.rule == "same":
            return same_padding(length, self.kernel, self.stride)
        return self.rule

    def correlated(self, length: int) -> int:
        """Outputs of the correlation over `length` pixels; below 1 where it does not fit."""
        return output_length(length, self.kernel, self.stride, self.zeros(length))

    def transposed(self, length: int) -> int:
        """Pixels that the transposed correlation makes of `length` inputs."""
        if self.rule == "same":
            return length * self.stride
        if self.rule == "valid":
            return length * self.stride + max(self.kernel - self.stride, 0)
        return (length - 1) * self.stride + self.kernel - sum(self.rule)


def image_axes(
    name: str, kernel_size: tuple[int, ...], stride: int | Pair, padding: Padding
) -> tuple[Axis, Axis]:
    """Return the axes (H, W); ValueError in the name of `name` for a bad stride or padding."""
    strides = (stride, stride) if isinstance(stride, int) else stride
    valid = isinstance(strides, tuple) and len(strides) == 2
    if not (valid and all(isinstance(s, int) and s >= 1 for s in strides)):
        raise ValueError(f"{name}: stride is {stride!r} but expected an integer ≥ 1 or two of them")
    # One rule for both axes is a word or a pair of numbers; anything else is a rule for each.
    both = isinstance(padding, str) or _is_pair(padding)
    rules = (padding, padding) if both else padding
    if not (isinstance(rules, tuple) and len(rules) == 2 and all(map(_is_rule, rules))):
        raise ValueError(
            f"{name}: padding is {padding!r} but expected 'same', 'valid', (before, after) with "
            "numbers ≥ 0, or a pair of these, one for each axis"
        )
    kh, kw = kernel_size
    rule_h, rule_w = cast(tuple[AxisPadding, AxisPadding], rules)
    return Axis(kh, strides[0], rule_h), Axis(kw, strides[1], rule_w)


def _is_rule(rule: object) -> bool:
    return rule in ("same", "valid") or _is_pair(rule)


def _is_pair(rule: object) -> bool:
    return (
        isinstance(rule, tuple)
        and len(rule) == 2
        and all(isinstance(zeros, int) and zeros >= 0 for zeros in rule)
    )
