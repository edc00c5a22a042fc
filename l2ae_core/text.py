"""Pieces of text: ranges of numbers, and regions between markers."""

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


def rewrite(text: str, region: str, content: str) -> str:
    """Return `text` with `content` between its markers; ValueError when they are not there once."""
    start, end = f"<!-- {region} -->", f"<!-- /{region} -->"
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise ValueError(f"tables: expected {start} and {end} once each, in this order")
    before, _, rest = text.partition(start)
    after = rest.partition(end)[2]
    middle = f"\n\n{content}\n\n" if content else "\n"
    return f"{before}{start}{middle}{end}{after}"
