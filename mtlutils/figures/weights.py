"""Figures of weights that a method draws at random."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mtlutils.figures.drawing import STYLE

_BINS = 30


def drawn_weights(draws: Mapping[str, np.ndarray]) -> Figure:
    """Draw how often a task's weight falls where: a panel a distribution, with the mean as a line.

    All panels have the same bins, the first and the last around 0 and around the largest weight of all.

    Args:
        draws: Name of the distribution -> the weights (N,), from 0, that it gave one task.
    """
    top = max(float(weights.max()) for weights in draws.values())
    edges = (np.arange(_BINS + 2) - 0.5) * top / _BINS
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(1, len(draws), figsize=(9, 2.4), layout="constrained", squeeze=False)
        for axis, (name, weights) in zip(axes.flat, draws.items(), strict=True):
            axis.hist(weights, edges, weights=np.full(len(weights), 1 / len(weights)), color="#56B4E9")
            axis.axvline(weights.mean(), color="#000000", linestyle="--", linewidth=1)
            axis.set_title(f"{name}\nmean {weights.mean():.2f}, sd {weights.std():.2f}", fontsize="small")
            axis.set(xlabel="weight", xlim=(edges[0], edges[-1]))
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes[0, 0].set_ylabel("share of steps")
    return figure
