"""Figures of what methods cost."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mtlutils.figures.drawing import COLOURS, MARKERS, STYLE, Groups, grid, methods_of


def cost(groups: Groups, parameter: str) -> Figure:
    """Draw the time of each method as a ratio to equal weighting: medians of the measurements, and all quartiles.

    Args:
        groups: Heading -> records of ``weighting_cost``.
        parameter: The parameter that each panel has one value of.
    """
    values = sorted({str(record.parameters[parameter]) for found in groups.values() for record in found})
    with plt.style.context(STYLE):
        figure, axes = grid(list(groups), values)
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
                        middle, y, xerr=(middle - low, high - middle), fmt=MARKERS[i % len(MARKERS)],
                        color=COLOURS[i % len(COLOURS)], markersize=4, linewidth=1,
                    )  # fmt: skip
                axis.axvline(1, color="0.5", linewidth=1, zorder=0)
                axis.set(xlabel="time / time of equal weighting", title=f"{parameter} = {value}")
                axis.set_yticks(range(len(methods)), methods)
                axis.invert_yaxis()
                axis.set_xlim(left=0)
    return figure
