"""Figures of what a temporary gradient step changes (Lee & Son 2020)."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mtlutils.figures.drawing import COLOURS, STYLE, Groups, grid, label_lines, legend, values_of

Surface = Mapping[str, np.ndarray | float]


def gradients_on_surfaces(surfaces: Mapping[str, Surface]) -> Figure:
    """Draw losses of one shared number, with the gradient at a point and that after a temporary step.

    Args:
        surfaces: Title -> ``x`` (N,) and ``loss`` (N,) of the curve; ``start`` and ``stepped``, two places on the
            horizontal axis; the ``loss`` there as ``start_loss`` and ``stepped_loss``; and the gradients there,
            ``start_gradient`` and ``stepped_gradient``.
    """
    with plt.style.context(STYLE):
        figure, axes = grid([""], list(surfaces))
        for axis, (title, surface) in zip(axes[0], surfaces.items(), strict=True):
            axis.plot(surface["x"], surface["loss"], color="0.7", zorder=0)
            reach = 0.25 * np.ptp(surface["x"])
            for name, colour, style in (("start", COLOURS[0], "-"), ("stepped", COLOURS[2], "--")):
                x, y, slope = (float(surface[key]) for key in (name, f"{name}_loss", f"{name}_gradient"))
                what = "before" if name == "start" else "after"
                tangent = np.array([x - reach / 2, x + reach / 2])
                label = f"{what} the temporary step"
                axis.plot(tangent, y + slope * (tangent - x), color=colour, linestyle=style, label=label)
                axis.plot(x, y, "o" if name == "start" else "D", color=colour, markersize=6)
                place = (0.03, 0.97 if name == "start" else 0.87)
                axis.annotate(
                    f"|gradient| {what}: {abs(slope):.2f}", place, xycoords="axes fraction", va="top", color=colour,
                    fontsize="small",
                )  # fmt: skip
            axis.set(xlabel="shared parameter", title=title)
            low, high = np.min(surface["loss"]), np.max(surface["loss"])
            axis.set_ylim(low - 0.1 * (high - low), high + 0.35 * (high - low))
        label_lines(axes[0], "task loss")
        legend(figure, axes)
    return figure


def loss_ratios(groups: Groups, tasks: tuple[str, str], panels: str, seed: int = 0) -> Figure:
    """Draw the first task's share of the summed loss at every step, before and after the temporary step.

    Thin lines are single steps of the run with the given seed, thick ones medians over 51 of them.

    Args:
        groups: Heading -> records with traces.
        tasks: The first task, and the other.
        panels: The parameter that each panel has one value of.
        seed: Which run to draw.
    """
    drawn = {heading: [r for r in found if r.seed == seed and r.traces] for heading, found in groups.items()}
    values = values_of(drawn, panels) or ["no traces"]
    with plt.style.context(STYLE):
        figure, axes = grid(list(drawn), values)
        for row, found in zip(axes, drawn.values(), strict=True):
            for axis, value in zip(row, values, strict=True):
                for record in found:
                    if str(record.parameters[panels]) != value:
                        continue
                    for name, colour, style in (("loss", COLOURS[0], "-"), ("stepped_loss", COLOURS[2], "--")):
                        share = loss_share([record.traces[f"step/{name}/{task}"] for task in tasks])
                        steps = np.arange(1, len(share) + 1)
                        label = f"{'before' if name == 'loss' else 'after'} the temporary step"
                        axis.plot(steps, share, color=colour, linewidth=0.4, alpha=0.35)
                        axis.plot(steps, _running_median(share), color=colour, linestyle=style, label=label)
                axis.axhline(0.5, color="0.5", linewidth=1, zorder=0)
                axis.set(xlabel="step", title=value)
            label_lines(row, f"share of {tasks[0]} in the loss")
        legend(figure, axes)
    return figure


def loss_share(losses: Sequence[Sequence[float | None]]) -> np.ndarray:
    """Return the first task's share (N,) of the summed loss, from each task's losses (N,)."""
    values = np.array(losses, dtype=float)
    return values[0] / values.sum(axis=0)


def _running_median(values: np.ndarray, width: int = 51) -> np.ndarray:
    padded = np.pad(values, width // 2, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    return np.asarray(np.nanmedian(windows, axis=1))
