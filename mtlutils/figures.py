"""Records -> figures, in colours and marks that do not need colour vision."""

import base64
import html
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from pydantic import JsonValue

from mtlutils import statistics
from mtlutils.records import Record

Groups = Mapping[str, Sequence[Record]]
"""Heading -> records: one row of panels each."""

# Okabe & Ito's colours, without the yellow that is too light for a line.
_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
_LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (7, 3)))
_MARKERS = "osD^vP*X"

_STYLE = Path(__file__).with_suffix(".mplstyle")


def show(figure: Figure, alt: str, caption: str) -> HTML:
    """Show a figure as a vector graphic with its alternative text and caption, and close it.

    Args:
        figure: The figure.
        alt: What somebody who cannot see it should know.
        caption: What it shows, and where its numbers come from.
    """
    buffer = io.BytesIO()
    with plt.style.context(_STYLE):  # for `svg.hashsalt`
        figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
    source = base64.b64encode(buffer.getvalue()).decode()
    image = f'<img src="data:image/svg+xml;base64,{source}" alt="{html.escape(alt)}" style="background: white">'
    return HTML(
        f'<figure>{image}<figcaption class="provenance">{html.escape(caption, quote=False)}</figcaption></figure>'
    )


def loss_curves(groups: Groups, tasks: Sequence[str], split: str = "test") -> Figure:
    """Draw loss against epoch: a panel a task and one for their sum, a line a method, bands over seeds.

    The axis is logarithmic, so the lines are geometric means, and the bands 95 % Student-t intervals of the mean
    logarithm. Single-task models count as one method.

    Args:
        groups: Heading -> records.
        tasks: The tasks, in the order of the panels.
        split: ``"train"``, ``"validation"`` or ``"test"``.
    """
    curves = {heading: _curves(found, tasks, f"{split}/loss") for heading, found in groups.items()}
    for by_method in curves.values():
        for by_task in by_method.values():
            seeds = [seed for seed in by_task[tasks[0]] if all(seed in by_task[task] for task in tasks)]
            by_task["sum"] = {seed: _sum([by_task[task][seed] for task in tasks]) for seed in seeds}
    figure, axes = _panels(curves, [*tasks, "sum"], f"{split} loss (nats)", _geometric, _order(groups))
    for axis in axes.flat:
        _crop(axis)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:g}")
    return figure


def weight_curves(groups: Groups, tasks: Sequence[str]) -> Figure:
    """Draw the task weights, as applied to the tasks' gradients, against epoch: a panel a task, a line a method.

    A run's weight in an epoch is its mean over the epoch's steps; lines are medians over seeds, bands reach from the
    first to the third quartile. Models with one task are left out.
    """
    several = {heading: [r for r in found if len(tasks_of(r)) > 1] for heading, found in groups.items()}
    curves = {heading: _curves(found, tasks, "train/weight") for heading, found in several.items()}
    figure, axes = _panels(curves, tasks, "weight", _median, _order(groups))
    for axis in axes.flat:
        axis.axhline(0, color="0.5", linewidth=1, zorder=0)
    return figure


def sweep(groups: Groups, tasks: Sequence[str], metric: str, label: str, chosen: Mapping[str, float | None]) -> Figure:
    """Draw a metric against the learning rate: a panel a task, a line a method, bands over seeds.

    A line has a gap at a rate at which a run diverged.

    Args:
        groups: Heading -> records.
        tasks: The tasks, in the order of the panels.
        metric: Name of the metric, without the task: ``"test/accuracy"``.
        label: Name and unit of the metric, for the axis.
        chosen: Heading -> learning rate to mark.
    """
    order = _order(groups)
    with plt.style.context(_STYLE):
        figure, axes = _grid(list(groups), tasks)
        for row, (heading, found) in zip(axes, groups.items(), strict=True):
            for axis, task in zip(row, tasks, strict=True):
                key = f"{metric}/{task}"
                for i, method in enumerate(order):
                    values: dict[float, list[float | None]] = {}
                    for record in found:
                        if record.method == method and key in record.metrics:
                            values.setdefault(_learning_rate(record), []).append(record.metrics[key])
                    # Not a number leaves a gap in the line.
                    points = {
                        rate: _mean(v) if None not in v else (math.nan, math.nan, math.nan)
                        for rate, v in sorted(values.items())
                    }
                    _line(axis, i, method, list(points), list(points.values()), marker=_MARKERS[i % len(_MARKERS)])
                rate = chosen.get(heading)
                if rate is not None:
                    axis.axvline(rate, color="0.5", linewidth=1, zorder=0)
                    axis.annotate("chosen", (rate, 0.02), xycoords=("data", "axes fraction"), color="0.3", rotation=90)
                axis.set(xscale="log", xlabel="learning rate", title=task)
                axis.set_xticks(sorted({_learning_rate(record) for record in found}))
                axis.xaxis.set_major_formatter("{x:g}")
                axis.xaxis.set_minor_locator(NullLocator())
            _label_lines(row, label)
        _legend(figure, axes)
    return figure


def images(pixels: np.ndarray, titles: Sequence[str]) -> Figure:
    """Draw images (N, H, W, 3) of bytes in rows of five, each below its title."""
    with plt.style.context(_STYLE):
        height = math.ceil(len(pixels) / 5)
        figure, axes = plt.subplots(height, 5, figsize=(9, 2.2 * height), layout="constrained", squeeze=False)
        for axis in axes.flat:
            axis.axis("off")
        for axis, image, title in zip(axes.flat, pixels, titles, strict=False):
            axis.imshow(image, interpolation="nearest")
            axis.set_title(title, fontsize="small")
    return figure


def cost(groups: Groups, parameter: str) -> Figure:
    """Draw the time of each method as a ratio to equal weighting: medians of the measurements, and all quartiles.

    Args:
        groups: Heading -> records of ``weighting_cost``.
        parameter: The parameter that each panel has one value of.
    """
    values = sorted({str(record.parameters[parameter]) for found in groups.values() for record in found})
    with plt.style.context(_STYLE):
        figure, axes = _grid(list(groups), values)
        for row, found in zip(axes, groups.values(), strict=True):
            methods = methods_of(found)
            for axis, value in zip(row, values, strict=True):
                for i, method in enumerate(methods):
                    each = [r.metrics for r in found if r.method == method and str(r.parameters[parameter]) == value]
                    low, middle, high = (
                        np.array([metrics[f"ratio/{what}"] for metrics in each], dtype=float)
                        for what in ("lower_quartile", "median", "upper_quartile")
                    )
                    y = np.full(len(each), i) + np.linspace(-0.25, 0.25, len(each))
                    axis.errorbar(
                        middle, y, xerr=(middle - low, high - middle), fmt=_MARKERS[i % len(_MARKERS)],
                        color=_COLOURS[i % len(_COLOURS)], markersize=4, linewidth=1,
                    )  # fmt: skip
                axis.axvline(1, color="0.5", linewidth=1, zorder=0)
                axis.set(xlabel="time / time of equal weighting", title=f"{parameter} = {value}")
                axis.set_yticks(range(len(methods)), methods)
                axis.invert_yaxis()
                axis.set_xlim(left=0)
    return figure


def methods_of(found: Iterable[Record]) -> list[str]:
    """Return the methods of records, in their order, which colours and marks follow."""
    return list(dict.fromkeys(record.method for record in found))


def tasks_of(record: Record) -> list[JsonValue]:
    """Return the tasks of a record."""
    tasks = record.parameters["tasks"]
    assert isinstance(tasks, list)
    return tasks


def _order(groups: Groups) -> list[str]:
    """The methods of all groups: a method's place in it gives its colour and marks in every panel."""
    return methods_of(record for found in groups.values() for record in found)


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


Point = tuple[float, float, float]
"""Lower end of the band, line, upper end of the band."""


def _mean(values: Iterable[float | None]) -> Point:
    mean, half = statistics.interval(values)
    return mean - half, mean, mean + half


def _geometric(values: Iterable[float | None]) -> Point:
    low, middle, high = np.exp(_mean(math.log(value) for value in statistics.finite(values)))
    return low, middle, high


def _median(values: Iterable[float | None]) -> Point:
    good = statistics.finite(values)
    low, middle, high = np.quantile(good, (0.25, 0.5, 0.75)) if good else (math.nan, math.nan, math.nan)
    return low, middle, high


def _panels(
    curves: Mapping[str, Mapping[str, Mapping[str, Mapping[int, Curve]]]],
    panels: Sequence[str],
    label: str,
    summary: Callable[[Iterable[float | None]], Point],
    order: Sequence[str],
) -> tuple[Figure, np.ndarray]:
    with plt.style.context(_STYLE):
        figure, axes = _grid(list(curves), panels)
        for row, by_method in zip(axes, curves.values(), strict=True):
            for axis, panel in zip(row, panels, strict=True):
                for method, by_panel in by_method.items():
                    points = [summary(values) for values in zip(*by_panel[panel].values(), strict=False)]
                    _line(axis, order.index(method), method, list(range(1, len(points) + 1)), points)
                axis.set(xlabel="epoch", title=panel)
                axis.xaxis.get_major_locator().set_params(integer=True)
            _label_lines(row, label)
        _legend(figure, axes)
    return figure, axes


def _grid(rows: Sequence[str], columns: Sequence[str]) -> tuple[Figure, np.ndarray]:
    """A figure with a panel for each column under each heading, at most three side by side."""
    width = min(len(columns), 3)
    height = math.ceil(len(columns) / width)
    figure = plt.figure(figsize=(9, 3 * height * len(rows)), layout="constrained")
    axes = []
    for part, heading in zip(figure.subfigures(len(rows), 1, squeeze=False).flat, rows, strict=True):
        part.suptitle(heading, x=0.01, ha="left", fontsize="medium", fontweight="bold")
        panels = part.subplots(height, width, squeeze=False).flatten()
        for spare in panels[len(columns) :]:
            spare.remove()
        axes.append(panels[: len(columns)])
    return figure, np.array(axes)


def _label_lines(panels: Iterable[Axes], label: str) -> None:
    """Label the vertical axis of the first panel of each line."""
    for axis in panels:
        place = axis.get_subplotspec()
        if place is not None and place.is_first_col():
            axis.set_ylabel(label)


def _line(axis: Axes, i: int, label: str, x: Sequence[float], points: Sequence[Point], marker: str = "") -> None:
    if not points:
        return
    low, middle, high = np.array(points).T
    colour = _COLOURS[i % len(_COLOURS)]
    axis.plot(x, middle, color=colour, linestyle=_LINES[i % len(_LINES)], marker=marker, markersize=4, label=label)
    axis.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)


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


def _legend(figure: Figure, axes: np.ndarray) -> None:
    handles = {
        label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, handlelength=3.5)
