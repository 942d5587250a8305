"""Tables of what a notebook measures beside a published table."""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from IPython.display import HTML

from mtlutils import figures, profiles, reproduction, statistics
from mtlutils.papers import Table
from mtlutils.records import Record
from mtlutils.report.box import box, headings, measured_cell, provenance, settings_of, units


def variants(
    table: Table,
    groups: Mapping[str, Sequence[Record]],
    label: Callable[[Record], tuple[str, str] | None],
    caption: str,
    extra: Mapping[str, str] | None = None,
) -> HTML:
    """Show variants of a method, a column each, and their lead over the first, paired over seeds.

    A lead is a difference in the unit: where lower is better, a negative one is an improvement.

    Args:
        table: Its columns, in their units, are the rows; a record fills those that its parameters select.
        groups: Heading -> records; a table each.
        label: Section of rows, and variant, of a record; None leaves a record out.
        caption: What the variants are.
        extra: Further rows: label -> name of a curve, whose mean over epochs is shown.
    """
    return HTML("".join(_variants(table, *group, label, caption, extra or {}) for group in groups.items()))


def _variants(
    table: Table,
    heading: str,
    found: Sequence[Record],
    label: Callable[[Record], tuple[str, str] | None],
    caption: str,
    extra: Mapping[str, str],
) -> str:
    labelled = [(place, record) for record in found if (place := label(record)) is not None]
    sections, names = (list(dict.fromkeys(place[i] for place, _ in labelled)) for i in (0, 1))
    columns = [column for column in table.columns if any(column.selects(r.parameters) for _, r in labelled)]
    heading_of = headings(table)
    digits = {heading_of[column.id]: column.digits for column in columns} | dict.fromkeys(extra, 2)
    # (section, row) -> variant -> seed -> value
    values: dict[tuple[str, str], dict[str, dict[int, float | None]]] = {
        (section, row): {name: {} for name in names} for section in sections for row in digits
    }
    for (section, name), record in labelled:
        for column in columns:
            metric = table.metric_key(column.id)
            # A single-task run has the metric of its own task only.
            if column.selects(record.parameters) and metric in record.metrics:
                values[section, heading_of[column.id]][name][record.seed] = column.in_unit(record.metrics[metric])
        for row, curve in extra.items():
            values[section, row][name][record.seed] = statistics.interval(record.curves[curve])[0]
    text: dict[tuple[str, str], list[str]] = {}
    for name in names:

        def of(section: str, *shown: str) -> list[Record]:
            return [record for place, record in labelled if place[0] == section and place[1] in shown]

        text[name, "mean"] = [
            measured_cell(each[name].values(), of(section, name), heading, digits=digits[row])
            for (section, row), each in values.items()
        ]
        if name != names[0]:
            text[name, "lead"] = [
                ""
                if row in extra
                else measured_cell(
                    _leads(each[name], each[names[0]]),
                    of(section, name, names[0]),
                    heading,
                    digits=digits[row],
                    is_difference=True,
                )
                for (section, row), each in values.items()
            ]
    index = pd.MultiIndex.from_tuples(values) if any(sections) else pd.Index([row for _, row in values])
    legend = (
        f"{units(table)} Mean over seeds ± half the 95 % interval of the mean. Lead: over {''.join(names[:1])}, "
        "paired over seeds; its interval is for this one comparison."
    )
    uuid = re.sub(r"\W+", "-", f"{caption} {heading}".lower()).strip("-")
    used = [record for _, record in labelled]
    notes = [provenance(heading, used)]
    return box(
        pd.DataFrame(text, index=index),
        (f"{caption} {heading}.", legend),
        notes,
        settings_of({heading: used}),
        uuid=uuid,
    ).data


def _leads(values: Mapping[int, float | None], others: Mapping[int, float | None]) -> list[float | None]:
    """The difference of each seed that both have; None where one diverged."""
    pairs = [(values[seed], others[seed]) for seed in values if seed in others]
    return [None if a is None or b is None else a - b for a, b in pairs]


def loss_shares(
    groups: Mapping[str, Sequence[Record]], tasks: tuple[str, str], label: Callable[[Record], str | None]
) -> HTML:
    """Show how far the first task's share of the summed loss is from one half, before and after temporary steps.

    Args:
        groups: Heading -> records, of which those with traces count; a table each.
        tasks: The first task, and the other.
        label: Row of a record; None leaves it out.
    """
    return HTML("".join(_loss_shares(*group, tasks, label) for group in groups.items()))


def _loss_shares(
    heading: str, found: Sequence[Record], tasks: tuple[str, str], label: Callable[[Record], str | None]
) -> str:
    labelled = [(name, record) for record in found if record.traces and (name := label(record)) is not None]
    rows: dict[str, dict[str, str]] = {}
    for name in dict.fromkeys(name for name, _ in labelled):
        distances: dict[str, list[float]] = {"loss": [], "stepped_loss": []}
        nearer = []
        own = [record for each, record in labelled if each == name]
        for record in own:
            before, after = (
                np.abs(figures.loss_share([record.traces[f"step/{what}/{task}"] for task in tasks]) - 0.5)
                for what in distances
            )
            distances["loss"].append(float(before.mean()))
            distances["stepped_loss"].append(float(after.mean()))
            nearer.append(float((after < before).mean()))
        percent = [100 * share for share in nearer]
        rows[name] = {
            "before": measured_cell(distances["loss"], own, heading, digits=4),
            "after": measured_cell(distances["stepped_loss"], own, heading, digits=4),
            "steps that bring it nearer (%)": measured_cell(percent, own, heading),
        }
    caption = f"{heading}: distance of the share of {tasks[0]} in the summed loss from one half."
    legend = "Mean over steps; then mean over seeds ± half the 95 % interval of the mean."
    frame = pd.DataFrame(rows).T
    traced = [record for _, record in labelled]
    uuid = re.sub(r"\W+", "-", f"loss shares {heading} {' '.join(rows)}".lower()).strip("-")
    return box(frame, (caption, legend), [provenance(heading, traced)], settings_of({heading: traced}), uuid=uuid).data


def costs(groups: Mapping[str, Sequence[Record]]) -> HTML:
    """Show the time of the weighting call by method and number of tasks, and relative to equal weights.

    Args:
        groups: Heading -> records of ``weighting_cost``; a table each.
    """
    return HTML("".join(_costs(heading, found) for heading, found in groups.items()))


def _costs(heading: str, found: Sequence[Record]) -> str:
    methods = figures.methods_of(found)
    columns: dict[tuple[str, str], list[str]] = {}
    for n_tasks in sorted({int(str(record.parameters["n_tasks"])) for record in found}):
        each = {m: [r for r in found if r.method == m and r.parameters["n_tasks"] == n_tasks] for m in methods}
        for name, metric, unit in (("time", "seconds/median", "s"), ("ratio to equal", "ratio/median", "")):
            columns[f"{n_tasks} tasks", name] = [
                measured_cell([record.metrics[metric] for record in own], own, heading, unit) for own in each.values()
            ]
    caption = f"{heading}: time of one weighting call, losses in and total out."
    legend = (
        "A measurement is the median of its rounds, and its ratio that of the same rounds. Shown: mean over "
        "measurements ± half the 95 % interval of the mean."
    )
    frame = pd.DataFrame(columns, index=methods)
    uuid = re.sub(r"\W+", "-", f"costs {heading}".lower()).strip("-")
    return box(frame, (caption, legend), [provenance(heading, found)], settings_of({heading: found}), uuid=uuid).data


def cost_shares(groups: Mapping[str, Sequence[Record]], experiment: str) -> HTML:
    """Show the time of a weighting call relative to a training step with equal weights, where both are known.

    Args:
        groups: Heading -> records of ``weighting_cost``; a column each, of those with the tasks of the experiment.
        experiment: Name of the experiment whose committed records give the time of a step.
    """
    parameters = profiles.parameters("cpu", experiment)
    found = reproduction.committed(experiment, parameters) if parameters else []
    steps = [record for record in found if record.method == "equal"]
    if not steps:
        return HTML("<p>There are no committed records of training steps to compare with.</p>")
    seconds, _ = statistics.interval(record.timing.seconds_per_step for record in steps)
    n_tasks = len(figures.tasks_of(steps[0]))
    columns: dict[str, dict[str, str]] = {}
    for heading, calls in groups.items():
        for method in figures.methods_of(calls):
            each = [r.metrics for r in calls if r.method == method and r.parameters["n_tasks"] == n_tasks]
            call, _ = statistics.interval(metrics["seconds/median"] for metrics in each)
            columns.setdefault(heading, {})[method] = f"{call / seconds:.1%}" if each else "–"
    caption = "Time of a weighting call as a share of a training step of the network on AG News."
    legend = f"Both are means over seeds. A step with equal weights takes {seconds * 1e3:.2f} ms."
    notes = [*(provenance(*group) for group in groups.items()), provenance("Steps", steps)]
    return box(pd.DataFrame(columns), (caption, legend), notes, uuid="shares")
