"""Records -> figures, in colours and marks that do not need colour vision."""

import base64
import html
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
    figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
    source = base64.b64encode(buffer.getvalue()).decode()
    image = f'<img src="data:image/svg+xml;base64,{source}" alt="{html.escape(alt)}" style="background: white">'
    return HTML(
        f'<figure>{image}<figcaption class="provenance">{html.escape(caption, quote=False)}</figcaption></figure>'
    )


def loss_curves(groups: Groups, tasks: Sequence[str], split: str = "test") -> Figure:
    """Draw loss against epoch: a panel a task and one for their sum, a line a method, bands over seeds.

    The lines are means, the bands 95 % Student-t intervals. Single-task models count as one method.

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
    return _panels(curves, [*tasks, "sum"], f"{split} loss (nats)")


def weight_curves(groups: Groups, tasks: Sequence[str]) -> Figure:
    """Draw the mean task weight of each epoch, as applied to the task's gradient; as :func:`loss_curves`."""
    return _panels(
        {heading: _curves(found, tasks, "train/weight") for heading, found in groups.items()}, tasks, "weight"
    )


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
    order = methods_of(record for found in groups.values() for record in found)
    with plt.style.context(_STYLE):
        figure, axes = _grid(groups, tasks)
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
                        rate: statistics.interval(v) if None not in v else (math.nan, math.nan)
                        for rate, v in sorted(values.items())
                    }
                    _line(axis, i, method, list(points), list(points.values()), marker=_MARKERS[i % len(_MARKERS)])
                rate = chosen.get(heading)
                if rate is not None:
                    axis.axvline(rate, color="0.5", linewidth=1, zorder=0)
                    axis.annotate("chosen", (rate, 0.02), xycoords=("data", "axes fraction"), color="0.3", rotation=90)
                axis.set(xscale="log", xlabel="learning rate", title=f"{heading}\n{task}")
            row[0].set_ylabel(label)
        _legend(figure, axes)
    return figure


def cost(groups: Groups, parameter: str) -> Figure:
    """Draw the time of each method as a ratio to equal weighting: medians of the measurements, and all quartiles.

    Args:
        groups: Heading -> records of ``weighting_cost``.
        parameter: The parameter that each panel has one value of.
    """
    values = sorted({str(record.parameters[parameter]) for found in groups.values() for record in found})
    with plt.style.context(_STYLE):
        figure, axes = _grid(groups, values)
        for row, (heading, found) in zip(axes, groups.items(), strict=True):
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
                axis.set(xlabel="time / time of equal weighting", title=f"{heading}\n{parameter} = {value}")
                axis.set_yticks(range(len(methods)), methods)
                axis.invert_yaxis()
                axis.set_xlim(left=0)
    return figure


def methods_of(found: Iterable[Record]) -> list[str]:
    """Return the methods of records, in their order, which colours and marks follow."""
    return list(dict.fromkeys(record.method for record in found))


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
    curves: Mapping[str, Mapping[str, Mapping[str, Mapping[int, Curve]]]], panels: Sequence[str], label: str
) -> Figure:
    order = list(dict.fromkeys(method for by_method in curves.values() for method in by_method))
    with plt.style.context(_STYLE):
        figure, axes = _grid(curves, panels)
        for row, (heading, by_method) in zip(axes, curves.items(), strict=True):
            for axis, panel in zip(row, panels, strict=True):
                for method, by_panel in by_method.items():
                    each = list(by_panel[panel].values())
                    points = [statistics.interval(values) for values in zip(*each, strict=False)]
                    _line(axis, order.index(method), method, list(range(1, len(points) + 1)), points)
                axis.set(xlabel="epoch", title=f"{heading}\n{panel}")
                axis.xaxis.get_major_locator().set_params(integer=True)
            row[0].set_ylabel(label)
        _legend(figure, axes)
    return figure


def _grid(rows: Iterable[str], columns: Sequence[str]) -> tuple[Figure, np.ndarray]:
    rows = list(rows)
    size = (3.1 * len(columns), 2.7 * len(rows))
    figure, axes = plt.subplots(len(rows), len(columns), figsize=size, squeeze=False, layout="constrained")
    return figure, axes


def _line(
    axis: Axes, i: int, label: str, x: Sequence[float], points: Sequence[tuple[float, float]], marker: str = ""
) -> None:
    if not points:
        return
    mean, half = np.array(points).T
    colour = _COLOURS[i % len(_COLOURS)]
    axis.plot(x, mean, color=colour, linestyle=_LINES[i % len(_LINES)], marker=marker, markersize=4, label=label)
    if not all(map(math.isnan, half)):
        axis.fill_between(x, mean - half, mean + half, color=colour, alpha=0.12, linewidth=0)


def _legend(figure: Figure, axes: np.ndarray) -> None:
    handles = {
        label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, handlelength=3.5)
