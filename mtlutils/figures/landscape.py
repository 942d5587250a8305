"""Figures of many methods at once: how much better than single-task learning, and at what cost."""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator, NullLocator
from matplotlib.transforms import Bbox

from mtlutils import balancing, deltas, statistics
from mtlutils.figures.drawing import COLOURS, MARKERS, STYLE, Groups, all_methods, grid, values_of
from mtlutils.figures.trade_offs import step_costs
from mtlutils.records import Record

_LINEAR = 5.0  # percent, up to which an axis of Δm is linear; beyond, it is logarithmic
_TICKS = [-100, -20, -5, 0, 5, 20, 100]  # of that axis; matplotlib's own would lie on top of each other around 0


def improvements(groups: Groups, panels: str) -> Figure:
    """Draw Δm over single-task models of every method: means over seeds with 95 % intervals, a dot a seed.

    Colours and marks are those of a method's family. Methods are in the order of the first panel, in every panel; a
    cross at the left end is one with a diverged run. The axis is linear up to 5 %, and logarithmic beyond.

    Args:
        groups: Heading -> records.
        panels: The parameter that each panel has one value of.
    """
    values = values_of(groups, panels)
    found = {
        (heading, value): deltas.over_single_task([r for r in each if str(r.parameters[panels]) == value])
        for heading, each in groups.items()
        for value in values
    }
    names = list(dict.fromkeys(method for of_panel in found.values() for method in _best_first(of_panel)))
    with plt.style.context(STYLE):
        figure = plt.figure(figsize=(9, (0.19 * len(names) + 1.1) * len(groups)), layout="constrained")
        parts = figure.subfigures(len(groups), 1, squeeze=False).flat
        for part, heading in zip(parts, groups, strict=True):
            part.suptitle(heading, x=0.01, ha="left", fontsize="medium", fontweight="bold")
            axes = part.subplots(1, len(values), squeeze=False, sharey=True)[0]
            for axis, value in zip(axes, values, strict=True):
                for y, method in enumerate(names):
                    each = found[heading, value].get(method, {})
                    _improvement(axis, y, list(each.values()), *_look(method))
                axis.axvline(0, color="0.5", linewidth=1, zorder=0)
                # Where all is within the linear part, that scale has no ticks but its ends.
                if np.abs(axis.dataLim.intervalx).max() > _LINEAR:
                    axis.set_xscale("symlog", linthresh=_LINEAR)
                    axis.xaxis.set_major_locator(FixedLocator(_TICKS))
                axis.xaxis.set_major_formatter("{x:g}")
                axis.set(xlabel="Δm over single-task models (%)", title=value)
                axis.set_yticks(range(len(names)), names, fontsize="small")
                axis.set_ylim(len(names) - 0.5, -0.5)
        _family_legend(figure, names)
    return figure


def _improvement(axis: Axes, y: int, values: Sequence[float | None], colour: str, marker: str) -> None:
    good = statistics.finite(values)
    if len(good) < len(values):
        axis.plot(0.01, y, marker="x", color=colour, transform=axis.get_yaxis_transform(), clip_on=False)
        return
    mean, half = statistics.interval(good)
    if not math.isnan(mean):
        axis.plot(good, [y] * len(good), ".", color=colour, markersize=3, alpha=0.5)
        axis.errorbar(
            mean, y, xerr=np.nan_to_num(half), fmt=marker, color=colour, markersize=5, linewidth=0.8, capsize=1.5
        )


def improvement_against_cost(groups: Groups, panels: str) -> Figure:
    """Draw Δm against the time and against the memory of a step, both relative to ``equal``.

    The methods that none is better and cheaper than at once are joined by a line and named, and so are the dearest.
    Means over seeds; a method with a diverged run is left out. Δm has the axis of :func:`improvements`.

    Args:
        groups: Heading -> records; some must be of ``equal``.
        panels: The parameter that each panel has one value of.
    """
    values = values_of(groups, panels)
    with plt.style.context(STYLE):
        figure, axes = grid(list(groups), [f"{value}: {of}" for of in ("time", "memory") for value in values])
        for row, each in zip(axes, groups.values(), strict=True):
            for axis, value in zip(row, [*values, *values], strict=True):
                here = [record for record in each if str(record.parameters[panels]) == value]
                is_time = list(row).index(axis) < len(values)
                costs = step_costs(here) if is_time else step_memories(here)
                _against_cost(axis, deltas.means(deltas.over_single_task(here)), costs)
                axis.set(
                    xlabel=f"{'time' if is_time else 'memory'} of a step / that of equal", ylabel="Δm (%)", title=value
                )
        _family_legend(figure, all_methods(groups))
        _part_names(figure)
    return figure


def _against_cost(axis: Axes, means: Mapping[str, float], costs: Mapping[str, float]) -> None:
    points = {method: (costs[method], mean) for method, mean in means.items() if method in costs}
    for method, (cost, mean) in points.items():
        colour, marker = _look(method)
        axis.plot(cost, mean, marker, color=colour, markersize=5, alpha=0.8)
    if not points:
        return
    front = [
        m for m, (c, d) in points.items() if not any(o[0] <= c and o[1] >= d and o != (c, d) for o in points.values())
    ]
    front.sort(key=lambda method: points[method])
    axis.plot(*zip(*(points[method] for method in front), strict=True), color="0.6", linestyle="--", zorder=0)
    dearest = max(points, key=lambda method: points[method][0])
    worst = min(points, key=lambda method: points[method][1])
    middle = math.sqrt(math.prod(f(cost for cost, _ in points.values()) for f in (min, max)))
    for method in dict.fromkeys([*front, dearest, worst]):
        right = points[method][0] > middle
        axis.annotate(
            method, points[method], (-4 if right else 4, 4), textcoords="offset points", fontsize="x-small",
            ha="right" if right else "left",
        )  # fmt: skip
    axis.axhline(0, color="0.5", linewidth=1, zorder=0)
    axis.set_xscale("log", base=2)
    if np.abs(axis.dataLim.intervaly).max() > _LINEAR:
        axis.set_yscale("symlog", linthresh=_LINEAR)
        axis.yaxis.set_major_locator(FixedLocator(_TICKS))
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter("{x:g}")
        side.set_minor_locator(NullLocator())
    axis.margins(0.1, 0.3)


def _part_names(figure: Figure) -> None:
    """Move names up until none covers another one of its panel."""
    figure.draw_without_rendering()
    for axis in figure.axes:
        taken: list[Bbox] = []
        for name in axis.texts:
            assert isinstance(name, Annotation)
            while any(name.get_window_extent().overlaps(other) for other in taken):
                x, y = name.xyann
                name.xyann = (x, y + 2)
            taken.append(name.get_window_extent())


def step_memories(found: Sequence[Record]) -> Mapping[str, float]:
    """Return method -> median memory of a step, relative to that of ``equal``; empty where no record has it."""
    sizes: dict[str, list[int]] = {}
    for record in found:
        if record.timing.step_memory_bytes is not None:
            sizes.setdefault(record.method, []).append(record.timing.step_memory_bytes)
    if "equal" not in sizes:
        return {}
    ordinary = float(np.median(sizes["equal"]))
    return {method: float(np.median(each)) / ordinary for method, each in sizes.items()}


def _best_first(found: deltas.Deltas) -> list[str]:
    means = deltas.means(found)
    return [*means, *(method for method in found if method not in means)]


FAMILIES = ("losses", "gradients", "updates", "other")


def family(method: str) -> str:
    """Return what a method acts on, as the registry has it; ``"other"`` where it does not say."""
    name, _ = balancing.parse(method)
    known = {each.name: each.family for each in balancing.methods()}
    return known.get(name) or "other"


def _look(method: str) -> tuple[str, str]:
    place = FAMILIES.index(family(method)) + 1  # without black, which is for text
    return COLOURS[place], MARKERS[place]


def _family_legend(figure: Figure, methods: Sequence[str]) -> None:
    handles = []
    for each in FAMILIES:
        member = next((method for method in methods if family(method) == each and method != "single_task"), None)
        if member is not None:
            colour, marker = _look(member)
            handles.append(Line2D([], [], color=colour, marker=marker, linestyle="", label=each))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), title="What a method acts on")
