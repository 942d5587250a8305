"""Figures of what is had for what: one task's accuracy for another's, and accuracy for time."""

import math
from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtlutils import statistics
from mtlutils.figures.drawing import (
    COLOURS,
    MARKERS,
    STYLE,
    Groups,
    all_methods,
    grid,
    label_lines,
    legend,
    line,
    mean_band,
    values_of,
)
from mtlutils.records import Record


def task_against_task(groups: Groups, tasks: tuple[str, str], metric: str, label: str, panels: str) -> Figure:
    """Draw a metric of one task against the other's: a mark a method, with 95 % intervals of the means over seeds.

    Higher values are better. A dashed line joins the methods that no other method is better than in both tasks.
    Single-task models are the dotted lines, since no one of them has both tasks. The diagonal is where both are equal.
    Marks far below most others are left out, and named.

    Args:
        groups: Heading -> records.
        tasks: The tasks on the horizontal and on the vertical axis.
        metric: Name of the metric, without the task: ``"test/accuracy"``.
        label: Name and unit of the metric, for the axes.
        panels: The parameter that each panel has one value of.
    """
    order = all_methods(groups)
    values = values_of(groups, panels)
    with plt.style.context(STYLE):
        figure, axes = grid(list(groups), values)
        for row, found in zip(axes, groups.values(), strict=True):
            for axis, value in zip(row, values, strict=True):
                here = [record for record in found if str(record.parameters[panels]) == value]
                _scatter(axis, here, tasks, metric, order)
                axis.set(xlabel=f"{label}, {tasks[0]}", title=value)
            label_lines(row, f"{label}, {tasks[1]}")
        legend(figure, axes)
    return figure


def _scatter(axis: Axes, found: Sequence[Record], tasks: tuple[str, str], metric: str, order: Sequence[str]) -> None:
    keys = [f"{metric}/{task}" for task in tasks]
    means: dict[str, tuple[float, float]] = {}
    for i, method in enumerate(order):
        each = [record.metrics for record in found if record.method == method]
        (x, x_half), (y, y_half) = (statistics.interval(m[key] for m in each if key in m) for key in keys)
        colour = COLOURS[i % len(COLOURS)]
        if not any(all(key in metrics for key in keys) for metrics in each):
            for draw, at in ((axis.axvline, x), (axis.axhline, y)):
                if not math.isnan(at):
                    draw(at, color=colour, linestyle=":", linewidth=1, label=method)
        elif not math.isnan(x + y):
            axis.errorbar(
                x, y, xerr=np.nan_to_num(x_half), yerr=np.nan_to_num(y_half), fmt=MARKERS[i % len(MARKERS)],
                color=colour, markersize=6, linewidth=0.8, label=method,
            )  # fmt: skip
            means[method] = (x, y)
    points = means.values()
    front = sorted(one for one in points if not any(o[0] > one[0] and o[1] > one[1] for o in points))
    if front:
        axis.plot(*zip(*front, strict=True), color="0.6", linestyle="--", linewidth=1, zorder=0)
    limits = axis.get_xlim(), axis.get_ylim()
    axis.axline((0.5, 0.5), slope=1, color="0.9", linewidth=1, zorder=0)
    axis.set(xlim=limits[0], ylim=limits[1])  # which the line's point would widen
    if len(means) > 2:
        _crop(axis, means)


def _crop(axis: Axes, means: Mapping[str, tuple[float, float]]) -> None:
    """Leave out what is far below most marks, and name what is then out of sight."""
    values = np.array(list(means.values()))
    best, middle = values.max(axis=0), np.median(values, axis=0)
    low = middle - 4 * (best - middle)
    if (values < low).any():
        kept = values[(values >= low).all(axis=1)]
        margin = 0.5 * np.ptp(kept, axis=0)
        axis.set_xlim(left=kept[:, 0].min() - margin[0], right=kept[:, 0].max() + margin[0])
        axis.set_ylim(bottom=kept[:, 1].min() - margin[1], top=kept[:, 1].max() + margin[1])
        (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
        unseen = [name for name, (x, y) in means.items() if not (left <= x <= right and bottom <= y <= top)]
        text = "\n".join(["outside the panel:", *unseen])
        axis.annotate(text, (0.03, 0.03), xycoords="axes fraction", va="bottom", fontsize="x-small", color="0.3")


def metric_against_time(groups: Groups, tasks: Sequence[str], metric: str, label: str, panels: str) -> Figure:
    """Draw a metric's mean over tasks, after every epoch, against the training time until then.

    Time is counted in epochs of ordinary training (``equal``): a method's time a step is the median over its runs,
    in processor time on a CPU, divided by that of ``equal``. Lines are means over the seeds that have got so far, with
    95 % intervals. Where a method has runs of several lengths whose learning rate falls, a point is the end of a run.
    Single-task models are left out.

    Args:
        groups: Heading -> records; some must be of ``equal``.
        tasks: The tasks that the mean is over.
        metric: Name of the metric, without the task: ``"test/accuracy"``.
        label: Name and unit of the metric, for the axis.
        panels: The parameter that each panel has one value of.
    """
    order = all_methods(groups)
    values = values_of(groups, panels)
    with plt.style.context(STYLE):
        figure, axes = grid(list(groups), values)
        for row, found in zip(axes, groups.values(), strict=True):
            costs = step_costs(found)
            for axis, value in zip(row, values, strict=True):
                for i, method in enumerate(order):
                    here = [r for r in found if r.method == method and str(r.parameters[panels]) == value]
                    of_epoch = _means_by_epoch(here, [f"{metric}/{task}" for task in tasks])
                    times = [costs.get(method, math.nan) * epoch for epoch in of_epoch]
                    points = [mean_band(values) for values in of_epoch.values()]
                    line(axis, i, method, times, points, marker=MARKERS[i % len(MARKERS)])
                axis.set(xlabel="time (epochs of ordinary training)", title=value)
            label_lines(row, label)
        legend(figure, axes)
    return figure


def _means_by_epoch(found: Iterable[Record], keys: Sequence[str]) -> dict[int, list[float | None]]:
    """Return epoch -> the mean of some curves there, of each seed that has one, by epoch."""
    found = sorted((r for r in found if all(key in r.curves for key in keys)), key=lambda r: len(r.curves[keys[0]]))
    lengths = {len(record.curves[keys[0]]) for record in found}
    means: dict[int, dict[int, float | None]] = {}
    for record in found:
        values = list(zip(*(record.curves[key] for key in keys), strict=True))
        # At a constant rate the longer of a seed's runs repeats the shorter and goes on. Otherwise a run is only at its
        # end what its length gives: before, its rate has still to fall.
        is_apart = len(lengths) > 1 and record.parameters.get("schedule", "constant") != "constant"
        for epoch in [len(values)] if is_apart else range(1, len(values) + 1):
            each = values[epoch - 1]
            mean = None if None in each else sum(statistics.finite(each)) / len(each)
            means.setdefault(epoch, {})[record.seed] = mean
    return {epoch: list(means[epoch].values()) for epoch in sorted(means)}


def step_costs(found: Sequence[Record]) -> Mapping[str, float]:
    """Return method -> median time of a step, relative to that of ``equal``; processor time where the records have it.

    A run is compared with the median of ``equal`` on the same device. One without ``equal`` on its device is left out.
    """
    times: dict[str, dict[str, list[float]]] = {}  # device -> method -> seconds
    for record in found:
        timing = record.timing
        seconds = timing.processor_seconds_per_step or timing.seconds_per_step
        if seconds is not None:
            times.setdefault(record.environment.device, {}).setdefault(record.method, []).append(seconds)
    ratios: dict[str, list[float]] = {}
    for of_methods in times.values():
        if "equal" in of_methods:
            ordinary = float(np.median(of_methods["equal"]))
            for method, each in of_methods.items():
                ratios.setdefault(method, []).extend(seconds / ordinary for seconds in each)
    return {method: float(np.median(each)) for method, each in ratios.items()}
