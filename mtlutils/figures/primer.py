"""Figures of two tasks in a plane: paths down two losses, and gradients with what methods make of them."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtlutils import statistics
from mtlutils.figures.drawing import COLOURS, LINES, MARKERS, STYLE, grid, label_lines, legend


def descents(panels: Mapping[str, Mapping[str, np.ndarray]], minima: np.ndarray) -> Figure:
    """Draw how methods move two shared parameters, from one start, between the minima of two losses.

    Args:
        panels: Title -> method -> the points (N, 2) of its path.
        minima: (2, 2) Where each loss is least.
    """
    with plt.style.context(STYLE):
        figure, axes = grid([""], list(panels))
        for axis, paths in zip(axes[0], panels.values(), strict=True):
            axis.plot(*minima.T, color="0.8", linewidth=4, zorder=0, solid_capstyle="round")
            for i, (x, y) in enumerate(minima):
                axis.annotate(f"task {i + 1}", (x, y), xytext=(0, -14), textcoords="offset points", ha="center")
            for i, (method, path) in enumerate(paths.items()):
                axis.plot(*path.T, color=COLOURS[i], linestyle=LINES[i], label=method)
                axis.plot(*path[-1], MARKERS[i], color=COLOURS[i], markersize=7)
            axis.margins(0.15)
            axis.set_aspect("equal", adjustable="datalim")
            axis.set_xlabel("first parameter")
        for axis, title in zip(axes[0], panels, strict=True):
            axis.set_title(title)
        label_lines(axes[0], "second parameter")
        legend(figure, axes)
    return figure


def combinations(gradients: np.ndarray, directions: Mapping[str, np.ndarray]) -> Figure:
    """Draw two gradients and, a panel a method, their combination; where neither loss rises is shaded.

    Args:
        gradients: (2, 2) A row a task.
        directions: Method -> the combined gradient (2,), against which a step goes.
    """
    with plt.style.context(STYLE):
        figure, axes = grid([""], list(directions))
        reach = 1.15 * max(np.abs(gradients).max(), *(np.abs(each).max() for each in directions.values()))
        for axis, (method, direction) in zip(axes[0], directions.items(), strict=True):
            _shade(axis, gradients, 2 * reach)
            for i, gradient in enumerate(gradients):
                _arrow(axis, gradient, COLOURS[1 + i], f"gradient of task {i + 1}", LINES[1 + i])
            _arrow(axis, direction, COLOURS[0], "combination", "-")
            axis.set(xlim=(-reach, reach), ylim=(-reach / 2, reach), title=method, xticks=[0], yticks=[0])
            axis.set_aspect("equal")
            axis.axhline(0, color="0.9", linewidth=1, zorder=0)
            axis.axvline(0, color="0.9", linewidth=1, zorder=0)
        legend(figure, axes)
    return figure


def per_seed(values: Mapping[str, Sequence[float]], label: str) -> Figure:
    """Draw a number for each seed, a line a method, with the mean and its 95 % interval; 0 is a dashed line.

    Args:
        values: Method -> a value a seed.
        label: What the numbers are, with their unit.
    """
    with plt.style.context(STYLE):
        figure, axis = plt.subplots(figsize=(7, 0.7 + 0.5 * len(values)), layout="constrained")
        for i, each in enumerate(values.values()):
            mean, half = statistics.interval(each)
            axis.plot(each, np.full(len(each), i + 0.15), "|", color="0.5", markersize=8)
            axis.errorbar(mean, i - 0.1, xerr=np.nan_to_num(half), fmt=MARKERS[i], color=COLOURS[i], capsize=3)
        axis.axvline(0, color="0.5", linestyle="--", linewidth=1, zorder=0)
        axis.set_yticks(range(len(values)), list(values))
        axis.invert_yaxis()
        axis.set_xlabel(label)
    return figure


def _arrow(axis: Axes, vector: np.ndarray, colour: str, label: str, style: object) -> None:
    arrow = {"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0, "linewidth": 1.8, "linestyle": style}
    axis.annotate("", (vector[0], vector[1]), (0, 0), arrowprops=arrow)
    axis.plot([], [], color=colour, linestyle=style, label=label)  # for the legend, which takes no annotation


def _shade(axis: Axes, gradients: np.ndarray, reach: float) -> None:
    """Shade the directions that have no negative inner product with either gradient."""
    ends = [np.array([-gradient[1], gradient[0]]) for gradient in gradients]  # at a right angle to each
    edges = [sign * end for end in ends for sign in (-1, 1)]
    inside = [edge / np.linalg.norm(edge) for edge in edges if (gradients @ edge >= -1e-9).all()]
    if len(inside) == 2:
        axis.fill(*np.array([np.zeros(2), reach * inside[0], reach * inside[1]]).T, color="0.93", zorder=0)
