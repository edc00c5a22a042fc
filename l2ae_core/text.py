"""Tables as text: aligned for a screen, and Markdown between the markers of a README."""

from collections.abc import Iterable, Sequence


def aligned(header: Sequence[str], lines: Sequence[Sequence[str]], right: set[int]) -> str:
    """Return a table in columns; the columns `right` are aligned to the right."""
    rows = [header, *lines]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]], right: set[int]) -> str:
    """Return a Markdown table; the columns `right` are aligned to the right."""
    rule = ["--:" if i in right else "---" for i in range(len(header))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *lines))


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
