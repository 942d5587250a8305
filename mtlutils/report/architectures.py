"""Tables of sharing architectures."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from IPython.display import HTML

from mtlutils import deltas, statistics
from mtlutils.figures import architectures
from mtlutils.figures.drawing import methods_of, tasks_of
from mtlutils.records import Record
from mtlutils.report.box import box, measured_cell, number, provenance, settings_of
from mtlutils.report.dense import DELTA_M


def sharing(groups: Mapping[str, Sequence[Record]], costs: bool = True) -> HTML:
    """Show each architecture's parameters, cost relative to hard sharing, accuracies and Δm over single-task models.

    Args:
        groups: Heading -> records of ``architectures``; a table each.
        costs: Whether to show parameters and costs too.
    """
    return HTML("".join(_sharing(*group, costs) for group in groups.items()))


def _sharing(heading: str, records: Sequence[Record], costs: bool) -> str:
    found = architectures.by_scheme(records)
    schemes = methods_of(found)
    improved = deltas.over_single_task(found)
    # Δm first: what comes last is out of sight on a narrow page.
    columns = {
        ("", DELTA_M): [_delta(improved.get(scheme), _of(found, scheme, "single_task"), heading) for scheme in schemes]
    }
    if costs:
        columns |= _costs(found, schemes, heading)
    # In the order of a network that has them all: of single-task models, each has one.
    for task in [str(task) for task in max((tasks_of(record) for record in found), key=len)]:
        key = f"test/accuracy/{task}"
        columns["test accuracy ↑ (%)", task] = [
            _percent(key, [record for record in _of(found, scheme) if key in record.metrics], heading)
            for scheme in schemes
        ]
    of_costs = (
        "Time: processor time on a CPU; memory: the most that a step allocates at a time; both as ratios to hard "
        "sharing with the same seed. The single-task models count together, but for memory, which is that of the "
        "larger: they train one after the other. "
    )
    legend = (
        f"{_standin(found)}Mean over seeds ± half the 95 % interval of the mean. {of_costs if costs else ''}"
        "Δm: mean relative improvement in accuracy over single-task models, paired over seeds."
    )
    return box(
        pd.DataFrame(columns, index=schemes),
        (f"Ways to share a network. {heading}.", legend),
        [provenance(heading, records)],
        settings_of({heading: records}),
        uuid=_uuid(f"sharing {heading}"),
    ).data


def _costs(found: Sequence[Record], schemes: Sequence[str], heading: str) -> dict[tuple[str, str], list[str]]:
    sizes = {
        "in training": architectures.costs(found, architectures.parameters),
        "at inference": architectures.costs(found, lambda record: record.metrics.get("model/parameters/inference")),
    }
    ratios = {
        "time": architectures.relative(architectures.costs(found, architectures.seconds)),
        "memory": architectures.relative(
            architectures.costs(found, lambda record: record.timing.step_memory_bytes, all_at_once=False)
        ),
    }
    columns = {}
    for name, size in sizes.items():
        # Their number is the same at every seed, but for layers that are chosen.
        columns["parameters (thousands)", name] = [
            number(statistics.interval(size.get(scheme, {}).values())[0] / 1000, math.nan, "", 1) for scheme in schemes
        ]
    for name, ratio in ratios.items():
        columns[f"of a step, × {architectures.REFERENCE}", name] = [
            measured_cell(ratio.get(scheme, {}).values(), _of(found, scheme, architectures.REFERENCE), heading)
            for scheme in schemes
        ]
    return columns


def rates(groups: Mapping[str, Sequence[Record]]) -> HTML:
    """Show each network's validation accuracy at each learning rate, and Δm at the rate that this would choose.

    Args:
        groups: Heading -> records; a table each, with a row an architecture or, where they have none, a method.
    """
    return HTML("".join(_rates(*group) for group in groups.items()))


def _rates(heading: str, records: Sequence[Record]) -> str:
    found = architectures.by_scheme(records)
    behind: dict[str, dict[float, list[Record]]] = {scheme: {} for scheme in methods_of(found)}
    for record in found:
        rate = record.parameters["learning_rate"]
        assert isinstance(rate, float)
        behind[record.method].setdefault(rate, []).append(record)
    scores = {
        scheme: {rate: _validation_accuracy(own) for rate, own in each.items()} for scheme, each in behind.items()
    }  # None where any run diverged
    columns = sorted({rate for each in scores.values() for rate in each})
    chosen = {
        scheme: max((rate for rate in each if each[rate] is not None), key=lambda rate: each[rate] or 0.0, default=None)
        for scheme, each in scores.items()
    }
    # Each network at its own rate, the single-task models too.
    tuned = deltas.over_single_task([r for r in found if r.parameters["learning_rate"] == chosen[r.method]])
    text: dict[tuple[str, str], list[str]] = {
        ("validation accuracy ↑ (%) at learning rate", f"{rate:g}"): [
            _at_rate(each[rate], heading) if rate in each else "–" for each in behind.values()
        ]
        for rate in columns
    }
    marks = {
        key: ["best" if chosen[scheme] == rate else "" for scheme in scores]
        for key, rate in zip(text, columns, strict=True)
    }
    text["at the best rate", "rate"] = ["–" if rate is None else f"{rate:g}" for rate in chosen.values()]
    text["at the best rate", DELTA_M] = [
        _delta(
            tuned.get(scheme),
            [
                record
                for name in (scheme, "single_task")
                for rate, own in behind.get(name, {}).items()
                for record in own
                if rate == chosen[name]
            ],
            heading,
        )
        for scheme in scores
    ]
    legend = (
        f"{_standin(found)}Mean over tasks and seeds. Bold: best of its row. Δm: on test data, over single-task "
        "models at their own best rate."
    )
    index = list(scores)
    return box(
        pd.DataFrame(text, index=index),
        (f"Learning rates. {heading}.", legend),
        [provenance(heading, records)],
        settings_of({heading: records}),
        pd.DataFrame({**marks, **dict.fromkeys(list(text)[len(columns) :], "")}, index=index),
        _uuid(f"rates {heading}"),
    ).data


def _standin(found: Sequence[Record]) -> str:
    names = sorted({record.data.name for record in found if record.data.kind == "stand-in"})
    return f"On a stand-in ({', '.join(names)}), not on MNIST. " * bool(names)


def _of(found: Sequence[Record], *schemes: str) -> list[Record]:
    return [record for record in found if record.method in schemes]


def _percent(key: str, own: Sequence[Record], heading: str) -> str:
    each = [None if (value := record.metrics[key]) is None else 100 * value for record in own]
    return measured_cell(each, own, heading)


def _accuracies(record: Record) -> list[float | None]:
    return [value for name, value in record.metrics.items() if name.startswith("validation/accuracy/")]


def _validation_accuracy(own: Iterable[Record]) -> float | None:
    """Mean over tasks and runs; None where one diverged."""
    values = [value for record in own for value in _accuracies(record)]
    return None if None in values else statistics.interval(values)[0]


def _at_rate(own: Sequence[Record], heading: str) -> str:
    mean, *each = (
        None if (accuracy := _validation_accuracy(found)) is None else 100 * accuracy
        for found in (own, *([record] for record in own))
    )
    text = "diverged" if mean is None else number(mean, math.nan, "")
    return measured_cell(each, own, heading, text=text)


def _delta(values: Mapping[int, float | None] | None, found: Sequence[Record], heading: str) -> str:
    return measured_cell((values or {}).values(), found, heading, is_difference=True)


def _uuid(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")
