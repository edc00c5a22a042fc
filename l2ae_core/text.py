"""Integers in words."""

from collections.abc import Iterable


def ranges(numbers: Iterable[int]) -> str:
    """Return integers in words: "0–4, 7"."""
    parts: list[list[int]] = []
    for n in sorted(set(numbers)):
        if parts and n == parts[-1][-1] + 1:
            parts[-1].append(n)
        else:
            parts.append([n])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}–{p[-1]}" for p in parts)
