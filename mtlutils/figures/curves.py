"""Figures of what changes over training, and of the learning rate."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from mtlutils import statistics
from mtlutils.figures.drawing import (
    MARKERS,
    STYLE,
    Groups,
    Point,
    all_methods,
    geometric_band,
    grid,
    label_lines,
    legend,
    line,
    mean_band,
    methods_of,
    quartile_band,
    tasks_of,
)
from mtlutils.records import Record


def loss_curves(groups: Groups, tasks: Sequence[str], split: str = "test", unit: str = " (nats)") -> Figure:
    """Draw loss against epoch: a panel a task and one for their sum, a line a method, bands over seeds.

    The axis is logarithmic, so the lines are geometric means, and the bands 95 % Student-t intervals of the mean
    logarithm. Single-task models count as one method.

    Args:
        groups: Heading -> records.
        tasks: The tasks, in the order of the panels.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        unit: Of all the losses, as it stands on the axes; empty where they have several.
    """
    curves = {heading: _curves(found, tasks, f"{split}/loss") for heading, found in groups.items()}
    for by_method in curves.values():
        for by_task in by_method.values():
            seeds = [seed for seed in by_task[tasks[0]] if all(seed in by_task[task] for task in tasks)]
            by_task["sum"] = {seed: _sum([by_task[task][seed] for task in tasks]) for seed in seeds}
    figure, axes = _panels(curves, [*tasks, "sum"], f"{split} loss{unit}", geometric_band, all_methods(groups))
    for axis in axes.flat:
        _crop(axis)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:g}")
    return figure


def weight_curves(groups: Groups, tasks: Sequence[str]) -> Figure:
    """Draw the task weights, as applied to the tasks' gradients, against epoch: a panel a task, a line a method.

    A run's weight in an epoch is its mean over the epoch's steps; lines are medians over seeds, bands reach from the
    first to the third quartile. Models with one task are left out. Where weights exceed twice the number of tasks, the
    axis is linear up to that number and logarithmic beyond.
    """
    several = {heading: [r for r in found if len(tasks_of(r)) > 1] for heading, found in groups.items()}
    curves = {heading: _curves(found, tasks, "train/weight") for heading, found in several.items()}
    figure, axes = _panels(curves, tasks, "weight", quartile_band, all_methods(groups))
    for axis in axes.flat:
        axis.axhline(0, color="0.5", linewidth=1, zorder=0)
        # Weights that are learned may be tens of times those of a fixed sum, which would then all look the same.
        if np.abs(axis.dataLim.intervaly).max() > 2 * len(tasks):
            least, top = min(axis.dataLim.y0, 0.0) - 0.1 * len(tasks), axis.get_ylim()[1]
            axis.set_yscale("symlog", linthresh=len(tasks))
            axis.set_ylim(least, top)
            beyond = [first * 10.0**power for power in range(1, 10) for first in (1, 3)]
            axis.set_yticks([0, 1, len(tasks), *(tick for tick in beyond if tick < top)])
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_locator(NullLocator())
    return figure


def sweep(groups: Groups, tasks: Sequence[str], metric: str, label: str, chosen: Mapping[str, float | None]) -> Figure:
    """Draw a metric against the learning rate: a panel a task, a line a method, bands over seeds.

    A line has a gap at a rate at which a run diverged. The axis is that of the lines: a wider band, as where one run
    of several hardly learned, is cut off.

    Args:
        groups: Heading -> records.
        tasks: The tasks, in the order of the panels.
        metric: Name of the metric, without the task: ``"test/accuracy"``.
        label: Name and unit of the metric, for the axis.
        chosen: Heading -> learning rate to mark.
    """
    order = all_methods(groups)
    with plt.style.context(STYLE):
        figure, axes = grid(list(groups), tasks)
        for row, (heading, found) in zip(axes, groups.items(), strict=True):
            for axis, task in zip(row, tasks, strict=True):
                key = f"{metric}/{task}"
                drawn: list[float] = []
                for i, method in enumerate(order):
                    values: dict[float, list[float | None]] = {}
                    for record in found:
                        if record.method == method and key in record.metrics:
                            values.setdefault(_learning_rate(record), []).append(record.metrics[key])
                    # Not a number leaves a gap in the line.
                    points = {
                        rate: mean_band(v) if None not in v else (math.nan, math.nan, math.nan)
                        for rate, v in sorted(values.items())
                    }
                    line(axis, i, method, list(points), list(points.values()), marker=MARKERS[i % len(MARKERS)])
                    drawn += [middle for _, middle, _ in points.values() if math.isfinite(middle)]
                if drawn:
                    room = 0.2 * (max(drawn) - min(drawn)) or 0.05
                    axis.set_ylim(min(drawn) - room, max(drawn) + room)
                rate = chosen.get(heading)
                if rate is not None:
                    axis.axvline(rate, color="0.5", linewidth=1, zorder=0)
                    axis.annotate("chosen", (rate, 0.02), xycoords=("data", "axes fraction"), color="0.3", rotation=90)
                axis.set(xscale="log", xlabel="learning rate", title=task)
                rates = sorted({_learning_rate(record) for record in found})
                if len(rates) == 1:
                    axis.set_xlim(rates[0] / 2, rates[0] * 2)
                axis.set_xticks(rates)
                axis.xaxis.set_major_formatter("{x:g}")
                axis.xaxis.set_minor_locator(NullLocator())
            label_lines(row, label)
        legend(figure, axes)
    return figure


def _learning_rate(record: Record) -> float:
    rate = record.parameters["learning_rate"]
    assert isinstance(rate, float)
    return rate


Curve = Sequence[float | None]


def _curves(found: Sequence[Record], tasks: Sequence[str], name: str) -> dict[str, dict[str, dict[int, Curve]]]:
    """Method -> task -> seed -> curve."""
    curves: dict[str, dict[str, dict[int, Curve]]] = {
        method: {task: {} for task in tasks} for method in methods_of(found)
    }
    for record in found:
        for task in tasks:
            if f"{name}/{task}" in record.curves:
                curves[record.method][task][record.seed] = record.curves[f"{name}/{task}"]
    return curves


def _sum(curves: Sequence[Curve]) -> Curve:
    return [None if None in values else sum(statistics.finite(values)) for values in zip(*curves, strict=False)]


def _panels(
    curves: Mapping[str, Mapping[str, Mapping[str, Mapping[int, Curve]]]],
    panels: Sequence[str],
    label: str,
    summary: Callable[[Iterable[float | None]], Point],
    order: Sequence[str],
) -> tuple[Figure, np.ndarray]:
    with plt.style.context(STYLE):
        figure, axes = grid(list(curves), panels)
        for row, by_method in zip(axes, curves.values(), strict=True):
            for axis, panel in zip(row, panels, strict=True):
                for method, by_panel in by_method.items():
                    points = [summary(values) for values in zip(*by_panel[panel].values(), strict=False)]
                    line(axis, order.index(method), method, list(range(1, len(points) + 1)), points)
                axis.set(xlabel="epoch", title=panel)
                axis.xaxis.get_major_locator().set_params(integer=True)
            label_lines(row, label)
        legend(figure, axes)
    return figure, axes


def _crop(axis: Axes) -> None:
    """Leave out what is far above most lines, and name the methods that are then out of sight."""
    lines = {str(line.get_label()): np.asarray(line.get_ydata(), dtype=float) for line in axis.lines}
    lines = {name: y for name, y in lines.items() if np.isfinite(y).any()}  # the others diverged in every epoch shown
    if not lines:
        axis.set_ylim(0.1, 1)  # a logarithmic axis needs some positive range
        return
    top = 1.5 * float(np.median([np.nanmax(y) for y in lines.values()]))
    axis.set_ylim(0.9 * min(np.nanmin(y) for y in lines.values()), top)
    if hidden := [name for name, y in lines.items() if np.nanmin(y) > top]:
        text = f"above: {', '.join(hidden)}"
        axis.annotate(text, (0.98, 0.98), xycoords="axes fraction", ha="right", va="top", fontsize="small")
