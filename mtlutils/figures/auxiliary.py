"""Figures of auxiliary tasks: how they relate to the main one, and what a scheme thinks of each of them."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtlutils.figures.drawing import COLOURS, MARKERS, STYLE, Groups, grid, label_lines, legend, line, mean_band
from mtlutils.records import Record

# Curve or trace that holds an opinion -> its vertical and its horizontal axis. The first that a record has counts.
_KINDS = {
    "evaluation/share": ("share in the best ratio so far", "evaluation"),
    "train/utility": ("expected utility", "epoch"),
    "train/gate": ("learned weight $s$", "epoch"),
    "train/weight": ("mean weight", "epoch"),
}


def opinion(record: Record) -> tuple[str, dict[str, Sequence[float | None]]]:
    """Return what a record's scheme thinks of each task, over training.

    Returns:
        The kind of number: ``evaluation/share``, in the best ratio so far, with a value an evaluation; or, with one an
        epoch, expected utilities ``train/utility``, learned weights of gates ``train/gate``, or ``train/weight``. And
        task -> values; nothing where the scheme thinks of all the same.
    """
    for kind in _KINDS:
        prefix = f"{kind}/"
        found: dict[str, Sequence[float | None]] = {
            name.removeprefix(prefix): values
            for name, values in {**record.curves, **record.traces}.items()
            if name.startswith(prefix)
        }
        if found and any(values != next(iter(found.values())) for values in found.values()):
            return kind, found
    return "", {}


def opinions(groups: Groups, tasks: Sequence[str], label: Callable[[Record], str | None]) -> Figure:
    """Draw what each scheme thinks of each task over training: a panel a scheme, a line a task, bands over seeds.

    Lines are means over seeds, bands 95 % Student-t intervals of the mean, cut off far from the lines. Schemes that
    think of all tasks the same are left out.

    Args:
        groups: Heading -> records.
        tasks: The auxiliary tasks.
        label: Scheme of a record; None leaves it out.
    """
    # heading -> scheme -> kind, and one course of each seed
    courses: dict[str, dict[str, list[tuple[str, dict[str, Sequence[float | None]]]]]] = {}
    for heading, found in groups.items():
        for record in found:
            name, (kind, values) = label(record), opinion(record)
            if name is not None and set(tasks) <= set(values):
                courses.setdefault(heading, {}).setdefault(name, []).append((kind, values))
    names = list(dict.fromkeys(name for by_name in courses.values() for name in by_name))
    with plt.style.context(STYLE):
        figure, axes = grid(list(courses), names)
        for row, by_name in zip(axes, courses.values(), strict=True):
            for axis, name in zip(row, names, strict=True):
                axis.set_title(name, fontsize="medium")
                each = by_name.get(name, [])
                for i, task in enumerate(tasks, start=1):  # 0 is the main task, as in the figure of targets
                    points = [mean_band(values) for values in zip(*(of[task] for _, of in each), strict=False)]
                    line(axis, i, task, list(range(1, len(points) + 1)), points)
                if each:
                    ylabel, xlabel = _KINDS[each[0][0]]
                    _crop(axis)
                    axis.set(xlabel=xlabel, ylabel=ylabel)
                    axis.axhline(0, color="0.5", linewidth=1, zorder=0)
                axis.xaxis.get_major_locator().set_params(integer=True)
        legend(figure, axes)
    return figure


def _crop(axis: Axes) -> None:
    """Leave no more room for the bands than for the lines: those of two seeds are many times as wide."""
    values = np.concatenate([[0.0], *(np.asarray(each.get_ydata(), dtype=float) for each in axis.lines)])
    low, high = np.nanmin(values), np.nanmax(values)
    room = (high - low) / 2 or 0.5
    bottom, top = axis.get_ylim()
    axis.set_ylim(max(bottom, low - room), min(top, high + room))


def targets_against_signal(signal: np.ndarray, targets_of: Mapping[str, np.ndarray]) -> Figure:
    """Draw each task's targets against the signal that nobody is told: a panel a task, a point an example.

    Args:
        signal: (N,).
        targets_of: Task name -> (N,).
    """
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(
            1, len(targets_of), figsize=(9, 2.6), layout="constrained", squeeze=False, sharex=True, sharey=True
        )
        for i, (axis, (task, values)) in enumerate(zip(axes.flat, targets_of.items(), strict=True)):
            axis.scatter(signal, values, s=12, color=COLOURS[i], marker=MARKERS[i], alpha=0.7, linewidths=0)
            correlation = float(np.corrcoef(signal, values)[0, 1])
            axis.set(title=f"{task}\ncorrelation {correlation:+.2f}", xlabel="signal $u \\cdot x$")
        label_lines(axes.flat, "target")
    return figure
