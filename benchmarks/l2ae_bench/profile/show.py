"""A profile as a table and as a figure."""

from collections.abc import Callable, Sequence

from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from l2ae_bench.profile.measure import Entry, Profile, rate
from l2ae_core.figures.style import (
    CLASS_COLOURS,
    FAINT,
    INK,
    TICK,
    default_style,
    dress,
    new_figure,
)
from l2ae_core.tables import aligned

HEAD = ("stage", "part", "ms", "share", "rate", "of the ceiling", "kernels")
SHOWN = 3  # kernels of a part
WHATS = ("forward", "adjoint in W", "adjoint in x", "adjoint in W, Adam", "normalize",
         "normalize, adjoint", "loss", "reduce, Adam")  # fmt: skip
OTHER = "packing, copies"  # what a bar shows of all other parts


def table(profile: Profile) -> str:
    """Return the parts of a step as aligned text, in the order of a step."""
    lines = [
        (
            e.stage, e.what, f"{e.ms:.3f}", f"{100 * e.share:.1f} %", rate(e),
            "" if e.reached is None else f"{100 * e.reached:.0f} % {e.ceiling}", _kernels(e),
        )
        for e in profile.entries
    ]  # fmt: skip
    total = sum(e.ms for e in profile.entries)
    said = (
        f"{profile.network}, {profile.threads} thread{'s' * (profile.threads > 1)}: "
        f"{profile.step_ms:.2f} ms a step; with the clock {profile.timed_ms:.2f} ms, of which the "
        f"calls take {total:.2f} ms"
    )
    return f"{said}\n{aligned(HEAD, lines, right=(2, 3, 4))}"


def _kernels(e: Entry) -> str:
    if len(e.kernels) == 1:
        return next(iter(e.kernels))
    shown = [f"{name} {100 * ms / e.ms:.0f} %" for name, ms in [*e.kernels.items()][:SHOWN]]
    return ", ".join(shown) + (" …" if len(e.kernels) > SHOWN else "")


@default_style()
def figure(profiles: Sequence[Profile]) -> Figure:
    """Draw a panel a profile: a bar for each stage, in the order of a step, cut into its parts."""
    heights = [len({e.stage for e in p.entries}) for p in profiles]
    drawn = new_figure(9.5, 1.2 + 0.34 * sum(heights) + 0.6 * len(profiles),
                       "Where the time of a training step goes", "")  # fmt: skip
    panels = drawn.subplots(
        len(profiles), 1, squeeze=False, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    colours = dict(zip((*WHATS, OTHER), (*CLASS_COLOURS[: len(WHATS)], FAINT), strict=True))
    handles: dict[str, BarContainer] = {}
    for ax, profile in zip(panels, profiles, strict=True):
        stages = sorted({e.stage for e in profile.entries}, key=_order(profile))
        left = dict.fromkeys(stages, 0.0)
        for what in colours:
            for e in profile.entries:
                if (e.what if e.what in WHATS else OTHER) == what:
                    bar = ax.barh(
                        stages.index(e.stage), e.ms, left=left[e.stage], height=0.75,
                        color=colours[what], edgecolor="white", linewidth=0.5,
                    )  # fmt: skip
                    handles.setdefault(what, bar)
                    left[e.stage] += e.ms
        ax.set_yticks(range(len(stages)), [s or "all stages" for s in stages])
        ax.invert_yaxis()
        threads = f"{profile.threads} thread{'s' * (profile.threads > 1)}"
        dress(ax, x="ms" if ax is panels[-1] else "", y="",
              panel=f"{profile.network}, {threads}: {profile.step_ms:.1f} ms a step")  # fmt: skip
    drawn.legend(
        handles=[bar[0] for bar in handles.values()], labels=[*handles],
        loc="outside lower center", ncols=5, fontsize=TICK, frameon=False, labelcolor=INK,
    )  # fmt: skip
    return drawn


def _order(profile: Profile) -> Callable[[str], int]:
    """Return where a stage stands in a forward pass; what is of no stage comes last."""
    forward = [e.stage for e in profile.entries if e.what in ("forward", "normalize")]
    return lambda stage: forward.index(stage) if stage in forward else len(forward)
