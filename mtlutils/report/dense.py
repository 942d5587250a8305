"""Tables of our own numbers for several tasks, each with several metrics."""

import math
import re
from collections.abc import Callable, Mapping, Sequence

import pandas as pd
from IPython.display import HTML

from mtlutils import statistics
from mtlutils.papers import Column, Table
from mtlutils.records import Record
from mtlutils.report.box import box, headings, measured_cell, provenance, settings_of, units

DELTA_M = "Δm ↑ (%)"

Values = Mapping[str, Mapping[int, float | None]]
"""Column -> seed -> value, in the column's unit; None where a run diverged."""


def measured(
    table: Table, groups: Mapping[str, Sequence[Record]], caption: str, label: Callable[[Record], str | None]
) -> HTML:
    """Show our numbers in the columns of a published table, without the published ones.

    The last column is Δm (Maninis et al. 2019, eq. 4) over ``single_task``, paired over seeds; metrics of one task are
    averaged first, so that each task counts the same. It is left out where there are no such models.

    Args:
        table: A record fills those of its columns that its parameters select, in their units.
        groups: Heading -> records; a table each.
        caption: What is shown.
        label: Row of a record; None leaves it out.
    """
    return HTML("".join(_measured(table, *group, caption, label) for group in groups.items()))


def _measured(
    table: Table, heading: str, found: Sequence[Record], caption: str, label: Callable[[Record], str | None]
) -> str:
    labelled = [(row, record) for record in found if (row := label(record)) is not None]
    columns = [column for column in table.columns if any(column.selects(r.parameters) for _, r in labelled)]
    used = [record for _, record in labelled if any(column.selects(record.parameters) for column in columns)]
    values: dict[str, dict[str, dict[int, float | None]]] = {}
    behind: dict[str, dict[str, list[Record]]] = {}
    for row, record in labelled:
        for column in columns:
            metric = table.metric_key(column.id)
            # A single-task run has the metrics of its own task only.
            if column.selects(record.parameters) and metric in record.metrics:
                of_column = values.setdefault(row, {}).setdefault(column.id, {})
                of_column[record.seed] = column.in_unit(record.metrics[metric])
                behind.setdefault(row, {}).setdefault(column.id, []).append(record)
    baseline = next((row for row, record in labelled if record.method == "single_task" and row in values), None)

    text: dict[tuple[str, str], list[str]] = {}
    marks: dict[tuple[str, str], list[str]] = {}
    heading_of = headings(table)
    for column in columns:
        cells = {row: of_column.get(column.id, {}) for row, of_column in values.items()}
        task, _, metric = heading_of[column.id].rpartition(": ")
        text[task, metric] = [
            measured_cell(each.values(), behind[row].get(column.id, []), heading, column.unit, column.digits)
            for row, each in cells.items()
        ]
        marks[task, metric] = _marks(cells, column.direction == "higher")
    if baseline is not None:
        deltas = {
            row: {} if row == baseline else _deltas(columns, each, values[baseline]) for row, each in values.items()
        }
        text["", DELTA_M] = [
            measured_cell(each.values(), [r for name, r in labelled if name in (row, baseline)], heading, "%", digits=1)
            for row, each in deltas.items()
        ]
        marks["", DELTA_M] = _marks(deltas, is_higher_better=True)
    standins = sorted({record.data.name for record in used if record.data.kind == "stand-in"})
    legend = (
        f"On a stand-in ({', '.join(standins)}), not on the paper's data: these numbers cannot be compared with the "
        "published ones. "
        * bool(standins)
        + f"{units(table)} Mean over seeds ± half the 95 % interval of the mean. Bold: best; italic and underlined: "
        "second best."
        + f" Δm: mean relative improvement over {baseline}, paired over seeds; the metrics of a task are averaged "
        "first, so that each task counts the same." * (baseline is not None)
    )
    uuid = re.sub(r"\W+", "-", f"{table.id} {caption} {heading}".lower()).strip("-")
    return box(
        pd.DataFrame(text, index=list(values)),
        (f"{caption} {heading}.", legend),
        [provenance(heading, used)],
        settings_of({heading: used}),
        pd.DataFrame(marks, index=list(values)),
        uuid,
    ).data


def _deltas(columns: Sequence[Column], values: Values, baselines: Values) -> dict[int, float | None]:
    """Seed -> Δm, of the seeds that both have all metrics of; None where a run diverged."""
    of_columns = [each.get(column.id, {}) for each in (values, baselines) for column in columns]
    deltas: dict[int, float | None] = {}
    for seed in sorted(set(of_columns[0]).intersection(*of_columns[1:])):
        of_task = []
        for task in dict.fromkeys(column.task for column in columns):
            here = [column for column in columns if column.task == task]
            own, other = (
                [math.nan if (value := each[column.id][seed]) is None else value for column in here]
                for each in (values, baselines)
            )
            of_task.append(statistics.delta_m(own, other, [column.direction == "higher" for column in here]))
        mean = math.fsum(of_task) / len(of_task)
        deltas[seed] = mean if math.isfinite(mean) else None
    return deltas


def _marks(cells: Mapping[str, Mapping[int, float | None]], is_higher_better: bool) -> list[str]:
    means = {row: statistics.interval(values.values())[0] for row, values in cells.items()}
    good = [row for row, mean in means.items() if not math.isnan(mean)]
    order = sorted(good, key=lambda row: means[row], reverse=is_higher_better) if len(good) > 2 else []
    return ["best" if order[:1] == [row] else "second-best" if order[1:2] == [row] else "" for row in cells]
