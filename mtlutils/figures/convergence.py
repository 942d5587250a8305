"""Figures of how fast networks for the same tasks learn, however the tasks are shared out among them (Liu 2022)."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from mtlutils import statistics
from mtlutils.figures.drawing import STYLE, Groups, geometric_band, grid, legend, line, mean_band, tasks_of
from mtlutils.records import Record

Networks = Mapping[str, Sequence[tuple[str, Sequence[str]]]]
"""Label -> method and tasks of each network: ``{"separate": [("single_task", ["a"]), ("single_task", ["b"])]}``."""


def convergence(groups: Groups, networks: Networks, name: str, threshold: float) -> Figure:
    """Draw the test loss and the test accuracy of all tasks together against epoch, a line for each way to learn them.

    The loss is the sum over all tasks, and over all networks where a task has its own. The accuracy is the share of
    images for which every task is right; the accuracies of several networks do not tell it, so these have no line.
    The axis of losses is logarithmic, and its lines geometric means over seeds; those of accuracies are means. Bands
    are 95 % Student-t intervals of these means. A diverged run counts until it diverged.

    Args:
        groups: Heading -> records.
        networks: What the lines are; a record belongs to the network that has its method and its tasks.
        name: What the records call all tasks together: ``"pair"``.
        threshold: Accuracy to mark.
    """
    with plt.style.context(STYLE):
        figure, axes = grid(list(groups), ["loss", "accuracy"])
        for (losses, accuracies), found in zip(axes, groups.values(), strict=True):
            for i, (label, each) in enumerate(networks.items()):
                curves = _curves(found, each, [[f"test/loss/{task}" for task in tasks] for _, tasks in each])
                points = [geometric_band(values) for values in zip_longest(*curves)]
                line(losses, i, label, range(1, len(points) + 1), points)
                if len(each) == 1:
                    curves = _curves(found, each, [[f"test/accuracy/{name}"]])
                    points = [mean_band(values) for values in zip_longest(*curves)]
                    line(accuracies, i, label, range(1, len(points) + 1), points)
            losses.set(xlabel="epoch", ylabel="test loss (nats)", title=f"loss of the {name}")
            accuracies.set(xlabel="epoch", ylabel="test accuracy", title=f"accuracy of the {name}")
            # Bands can reach far beyond what a loss or an accuracy can be, so the lines give the limits.
            drawn = _drawn(losses)
            if len(drawn):
                low, high = 0.8 * drawn.min(), 1.25 * drawn.max()
                losses.set(yscale="log", ylim=(low, high))
                losses.yaxis.set_major_formatter("{x:g}")
                losses.yaxis.set_minor_formatter("{x:g}" if high < 10 * low else NullFormatter())
            low = min([threshold, *_drawn(accuracies)])
            accuracies.set_ylim(low - 0.1 * (1 - low), 1 + 0.05 * (1 - low))
            accuracies.axhline(threshold, color="0.5", linewidth=1, zorder=0)
            place = (1.01, threshold)
            accuracies.annotate(
                f"{100 * threshold:g} %", place, xycoords=("axes fraction", "data"), va="center", color="0.3"
            )
            for axis in (losses, accuracies):
                axis.xaxis.get_major_locator().set_params(integer=True)
        legend(figure, axes)
    return figure


def _drawn(axis: Axes) -> np.ndarray:
    """Return every finite value of the lines."""
    values = np.concatenate([np.empty(0), *(np.asarray(line.get_ydata(), dtype=float) for line in axis.lines)])
    return values[np.isfinite(values)]


def _curves(
    found: Sequence[Record], networks: Sequence[tuple[str, Sequence[str]]], names: Sequence[Sequence[str]]
) -> list[list[float | None]]:
    """Return, for each seed that all networks have, the sum of the curves called ``names``."""
    by_network: list[dict[int, Record]] = [
        {record.seed: record for record in found if (record.method, tasks_of(record)) == (method, list(tasks))}
        for method, tasks in networks
    ]
    seeds = [seed for seed in by_network[0] if all(seed in by_seed for by_seed in by_network)]
    summed = []
    for seed in seeds:
        each = [by_seed[seed].curves[n] for by_seed, own in zip(by_network, names, strict=True) for n in own]
        values = zip(*each, strict=False)
        summed.append([None if None in of_epoch else sum(statistics.finite(of_epoch)) for of_epoch in values])
    return summed
