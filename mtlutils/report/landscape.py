"""Tables of many methods on several data sets."""

import math
import re
from collections.abc import Mapping, Sequence

import pandas as pd
from IPython.display import HTML

from mtlutils import deltas, figures
from mtlutils.records import Record
from mtlutils.report.box import box, measured_cell, provenance, settings_of
from mtlutils.report.dense import DELTA_M

_SHOWN = {  # metric -> what stands in the table
    "accuracy": ("accuracy ↑ (%)", 100.0),
    "miou": ("mIoU ↑ (%)", 100.0),
    "absolute_error": ("absolute error ↓ (m)", 1.0),
    "mean_angle": ("mean angle ↓ (°)", 1.0),
}


def landscape(groups: Mapping[str, Sequence[Record]], panels: str) -> HTML:
    """Show each method's metrics, Δm over single-task models, and cost relative to ``equal``: a table a data set.

    The best Δm comes first.

    Args:
        groups: Heading -> records.
        panels: The parameter that each table has one value of.
    """
    parts = []
    for heading, found in groups.items():
        for value in dict.fromkeys(str(record.parameters[panels]) for record in found):
            parts.append(_landscape(heading, value, [r for r in found if str(r.parameters[panels]) == value]))
    return HTML("".join(parts))


def _landscape(heading: str, value: str, found: Sequence[Record]) -> str:
    improved = deltas.over_single_task(found)
    order = list(deltas.means(improved))
    methods = [*order, *(method for method in figures.methods_of(found) if method not in order)]
    columns: dict[tuple[str, str], list[str]] = {
        ("", "acts on"): [_family(method) for method in methods],
        # Before what it is made of: it sorts the table, and must not be out of sight.
        ("", DELTA_M): [
            measured_cell(
                improved.get(method, {}).values(),
                [record for record in found if record.method in (method, "single_task")],
                heading,
                is_difference=True,
                # a mean over fewer seeds would stand in the wrong place of the order
                text="diverged" if None in improved.get(method, {}).values() else "",
            )
            for method in methods
        ],
    }
    # In the order of a network that has them all: of single-task models, each has one.
    tasks = [str(task) for task in max((figures.tasks_of(record) for record in found), key=len)]
    for task in tasks:
        for metric, (label, scale) in _SHOWN.items():
            key = f"test/{metric}/{task}"
            if any(key in record.metrics for record in found):
                columns[task, label] = [_cell(found, method, key, scale, heading) for method in methods]
    for name, costs in (("time", figures.step_costs(found)), ("memory", figures.step_memories(found))):
        columns["of a step, × equal", name] = [
            f"{costs[method]:.2f}" if method in costs and method != "single_task" else "–" for method in methods
        ]
    standins = sorted({record.data.name for record in found if record.data.kind == "stand-in"})
    legend = (
        f"On a stand-in ({', '.join(standins)}), not on published data. "
        * bool(standins)
        + "Mean over seeds ± half the 95 % interval of the mean. Δm: mean relative improvement over single-task "
        "models, paired over seeds; the metrics of a task are averaged first. Time: processor time of a training step, "
        "compared on one CPU; memory: the most that a step allocates at a time; both are medians over runs."
    )
    uuid = re.sub(r"\W+", "-", f"landscape {value} {heading}".lower()).strip("-")
    return box(
        pd.DataFrame(columns, index=methods),
        (f"{value}, {heading[0].lower()}{heading[1:]}.", legend),
        [provenance(heading, found)],
        settings_of({heading: found}),
        uuid=uuid,
    ).data


def _family(method: str) -> str:
    return "–" if method == "single_task" else figures.family(method)


def _cell(found: Sequence[Record], method: str, key: str, scale: float, heading: str) -> str:
    own = [record for record in found if record.method == method and key in record.metrics]
    values = [None if (value := record.metrics[key]) is None else scale * value for record in own]
    return measured_cell(values, own, heading)


def rank_agreement(groups: Mapping[str, Sequence[Record]], panels: str) -> HTML:
    """Show how alike the methods' ranks by Δm are over the seeds of a data set, and between data sets.

    Args:
        groups: Heading -> records; a table each.
        panels: The parameter that tells data sets apart.
    """
    return HTML("".join(_rank_agreement(*group, panels) for group in groups.items()))


def _rank_agreement(heading: str, found: Sequence[Record], panels: str) -> str:
    values = list(dict.fromkeys(str(record.parameters[panels]) for record in found))
    improved = {
        value: deltas.over_single_task([record for record in found if str(record.parameters[panels]) == value])
        for value in values
    }
    cells = {
        value: [
            _correlation(
                deltas.rank_agreement_of_seeds(improved[value])
                if value == other
                else deltas.rank_agreement(improved[value], improved[other])
            )
            for other in values
        ]
        for value in values
    }
    legend = (
        "Spearman's correlation of the methods' Δm. On the diagonal: mean over all pairs of seeds of one data set; "
        "elsewhere: of the means over seeds on two data sets. 1: the same order, 0: unrelated orders."
    )
    uuid = re.sub(r"\W+", "-", f"rank agreement {heading}".lower()).strip("-")
    frame = pd.DataFrame(cells, index=values)
    notes = [provenance(heading, found)]
    return box(frame, (f"Agreement of ranks. {heading}.", legend), notes, uuid=uuid).data


def _correlation(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.2f}"
