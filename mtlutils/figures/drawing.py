"""What figures share: colours and marks that do not need colour vision, panels, lines with bands, legends."""

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
from pydantic import JsonValue

from mtlutils import statistics
from mtlutils.records import Record

Groups = Mapping[str, Sequence[Record]]
"""Heading -> records: one row of panels each."""

# Okabe & Ito's colours, without the yellow that is too light for a line. Their number has no factor in common with
# that of the lines and of the markers, so that no two of many methods look alike.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (7, 3)), (0, (7, 1, 1, 1, 1, 1)))
MARKERS = "osD^vP*Xp"

STYLE = Path(__file__).with_name("figures.mplstyle")


def show(figure: Figure, alt: str, caption: str) -> HTML:
    """Show a figure as a vector graphic with its alternative text and caption, and close it.

    Args:
        figure: The figure.
        alt: What somebody who cannot see it should know.
        caption: What it shows, and where its numbers come from.
    """
    # The book's dark theme turns drawings dark, and leaves what has pixels of its own as it is.
    kind = "" if any(axis.images for axis in figure.axes) else ' class="drawn"'
    buffer = io.BytesIO()
    with plt.style.context(STYLE):  # for `svg.hashsalt`
        figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
    source = base64.b64encode(buffer.getvalue()).decode()
    image = f'<img src="data:image/svg+xml;base64,{source}" alt="{html.escape(alt)}" style="background: white">'
    return HTML(
        f'<figure{kind}>{image}<figcaption class="provenance">{html.escape(caption, quote=False)}</figcaption></figure>'
    )


def methods_of(found: Iterable[Record]) -> list[str]:
    """Return the methods of records, in their order, which colours and marks follow."""
    return list(dict.fromkeys(record.method for record in found))


def tasks_of(record: Record) -> list[JsonValue]:
    """Return the tasks of a record."""
    tasks = record.parameters["tasks"]
    assert isinstance(tasks, list)
    return tasks


def values_of(groups: Groups, parameter: str) -> list[str]:
    """Return the values that records have for a parameter, in their order."""
    return list(dict.fromkeys(str(record.parameters[parameter]) for found in groups.values() for record in found))


def all_methods(groups: Groups) -> list[str]:
    """Return the methods of all groups: a method's place in it gives its colour and marks in every panel."""
    return methods_of(record for found in groups.values() for record in found)


Point = tuple[float, float, float]
"""Lower end of the band, line, upper end of the band."""


def mean_band(values: Iterable[float | None]) -> Point:
    """Return the mean, and the 95 % interval of it."""
    mean, half = statistics.interval(values)
    return mean - half, mean, mean + half


def geometric_band(values: Iterable[float | None]) -> Point:
    """Return the geometric mean, and its interval: the mean's of the logarithms."""
    low, middle, high = np.exp(mean_band(math.log(value) for value in statistics.finite(values)))
    return low, middle, high


def quartile_band(values: Iterable[float | None]) -> Point:
    """Return the median between the quartiles."""
    good = statistics.finite(values)
    low, middle, high = np.quantile(good, (0.25, 0.5, 0.75)) if good else (math.nan, math.nan, math.nan)
    return low, middle, high


def grid(rows: Sequence[str], columns: Sequence[str]) -> tuple[Figure, np.ndarray]:
    """Return a figure with a panel for each column under each heading, at most three side by side."""
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


def label_lines(panels: Iterable[Axes], label: str) -> None:
    """Label the vertical axis of the first panel of each line."""
    for axis in panels:
        place = axis.get_subplotspec()
        if place is not None and place.is_first_col():
            axis.set_ylabel(label)


def line(axis: Axes, i: int, label: str, x: Sequence[float], points: Sequence[Point], marker: str = "") -> None:
    """Draw the line and the band of the ``i``-th method; of a single point, its interval."""
    if not points:
        return
    low, middle, high = np.array(points).T
    colour = COLOURS[i % len(COLOURS)]
    axis.plot(x, middle, color=colour, linestyle=LINES[i % len(LINES)], marker=marker, markersize=4, label=label)
    if len(points) == 1:
        axis.vlines(x, low, high, color=colour, linewidth=1, alpha=0.5)
    else:
        axis.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)


def legend(figure: Figure, axes: np.ndarray) -> None:
    """Put one legend of all panels below them."""
    handles = {
        label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, handlelength=3.5)
