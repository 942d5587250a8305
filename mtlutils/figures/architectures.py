"""Figures of sharing architectures: how much better than single-task models, and at what cost."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtlutils import deltas, statistics
from mtlutils.figures.drawing import COLOURS, MARKERS, STYLE, Groups, all_methods, grid, legend
from mtlutils.records import Record

REFERENCE = "hard_sharing"
"""The scheme that costs are relative to."""


def by_scheme(found: Iterable[Record]) -> list[Record]:
    """Return records of ``architectures`` with what tells their networks apart in the place of the method.

    That is ``single_task``, or the architecture; with its blocks and its balancing method, where it has those. Records
    without an architecture keep their method.
    """
    return [record.model_copy(update={"method": _scheme(record)}) for record in found]


def _scheme(record: Record) -> str:
    if "architecture" not in record.parameters:
        return record.method
    single = record.method == "single_task"
    parts = ["single_task" if single else str(record.parameters["architecture"])]
    if n := record.parameters["blocks"]:
        parts.append(f"{n} + {n} blocks")
    if not single and record.method != "equal":
        parts.append(record.method)
    return ", ".join(parts)


Costs = Mapping[str, Mapping[int, float]]
"""Scheme -> seed -> cost; what a record does not have is left out."""


def costs(found: Sequence[Record], of: Callable[[Record], float | None], all_at_once: bool = True) -> Costs:
    """Return the cost of each scheme: of its network, or of its networks together where each task has its own.

    Args:
        found: From :func:`by_scheme`.
        of: The cost of one record's network; None: it is not known.
        all_at_once: Whether the networks' costs add up, or only one of them has to be paid for at a time.
    """
    each: dict[str, dict[int, list[float]]] = {}
    for record in found:
        cost = of(record)
        if cost is not None:
            each.setdefault(record.method, {}).setdefault(record.seed, []).append(cost)
    total = sum if all_at_once else max
    return {scheme: {seed: total(values) for seed, values in seeds.items()} for scheme, seeds in each.items()}


def relative(found: Costs) -> Costs:
    """Return costs as ratios to that of hard sharing with the same seed, of the seeds that have both."""
    reference = found.get(REFERENCE, {})
    return {
        scheme: {seed: cost / reference[seed] for seed, cost in each.items() if seed in reference}
        for scheme, each in found.items()
    }


def seconds(record: Record) -> float | None:
    """Return the time of a step, in processor time where the record has it."""
    return record.timing.processor_seconds_per_step or record.timing.seconds_per_step


def parameters(record: Record) -> float | None:
    """Return the number of parameters that training has, shared and of the tasks."""
    each = statistics.finite(record.metrics.get(f"model/parameters/{what}") for what in ("shared", "task"))
    return sum(each) if len(each) == 2 else None


def improvement_against_size(groups: Groups) -> Figure:
    """Draw Δm over single-task models against parameters in training, and against the time of a step.

    Means over seeds, with 95 % intervals of Δm. The networks of single-task models, which have a Δm of 0, count
    together. A scheme with a diverged run is left out.

    Args:
        groups: Heading -> records of ``architectures``.
    """
    shown = {heading: by_scheme(found) for heading, found in groups.items()}
    order = all_methods(shown)
    axes_of = {
        "parameters in training (thousands)": lambda found: costs(found, parameters),
        f"time of a step / that of {REFERENCE}": lambda found: relative(costs(found, seconds)),
    }
    with plt.style.context(STYLE):
        figure, axes = grid(list(groups), list(axes_of))
        for row, found in zip(axes, shown.values(), strict=True):
            improved: Mapping[str, Mapping[int, float | None]] = {
                "single_task": {0: 0.0}, **deltas.over_single_task(found)
            }  # fmt: skip
            for axis, (label, cost) in zip(row, axes_of.items(), strict=True):
                _points(axis, improved, cost(found), order, 1e-3 if "thousands" in label else 1)
                axis.axhline(0, color="0.5", linewidth=1, zorder=0)
                axis.set(xlabel=label, ylabel="Δm (%)")
        legend(figure, axes)
    return figure


def _points(axis: Axes, improved: deltas.Deltas, cost: Costs, order: Sequence[str], scale: float) -> None:
    for i, scheme in enumerate(order):
        values, x = improved.get(scheme, {}), statistics.interval(cost.get(scheme, {}).values())[0]
        if None not in values.values():
            mean, half = statistics.interval(values.values())
            axis.errorbar(
                scale * x, mean, yerr=np.nan_to_num(half), fmt=MARKERS[i % len(MARKERS)],
                color=COLOURS[i % len(COLOURS)], markersize=6, linewidth=0.8, label=scheme,
            )  # fmt: skip
