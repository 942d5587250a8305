"""Tables on Fingers (Liu 2022): one network for two tasks, one for a joint class, and one for each task."""

import re
from collections.abc import Mapping, Sequence

import pandas as pd
from IPython.display import HTML

from mtlutils import figures, statistics
from mtlutils.records import Record
from mtlutils.report.box import box, measured_cell, provenance, settings_of

Networks = Mapping[str, tuple[str, Sequence[str]]]
"""What to call a network -> its method and its tasks."""


def tuning(groups: Mapping[str, Sequence[Record]], networks: Networks, name: str, threshold: float) -> HTML:
    """Show the final test accuracy of all tasks together at each optimiser and learning rate.

    Args:
        groups: Heading -> records; a table each.
        networks: The rows; other records are left out.
        name: What the records call all tasks together: ``"pair"``.
        threshold: Accuracy that is asked for; settings whose mean over seeds ends there or above are counted.
    """
    return HTML("".join(_tuning(*group, networks, name, threshold) for group in groups.items()))


def _tuning(heading: str, found: Sequence[Record], networks: Networks, name: str, threshold: float) -> str:
    by_network = {label: _of(found, *network) for label, network in networks.items()}
    shown = [record for each in by_network.values() for record in each]
    settings = sorted({_setting(record) for record in shown})
    reaches, chosen = f"end at {100 * threshold:g} % or more", "chosen on validation images"
    rows: dict[str, dict[tuple[str, str], str]] = {}
    for label, own in by_network.items():
        each = {setting: [record for record in own if _setting(record) == setting] for setting in settings}
        means = {setting: _mean(f"test/accuracy/{name}", each[setting]) for setting in settings if each[setting]}
        cells = {setting: _percent(name, each[setting], heading) for setting in settings}
        rows[label] = {(optimizer, f"{rate:g}"): cell for (optimizer, rate), cell in cells.items()}
        enough = sum(mean is not None and mean >= threshold for mean in means.values())
        rows[label]["settings that", reaches] = f"{enough} of {len(means)}"
        scores = {setting: _mean(f"validation/accuracy/{name}", each[setting]) for setting in means}
        good = {setting: score for setting, score in scores.items() if score is not None}
        best = max(good, key=good.__getitem__, default=None)
        rows[label]["", chosen] = (
            "–" if best is None else _percent(name, each[best], heading, f" ({best[0]}, {best[1]:g})")
        )
    legend = (
        "Unit: %. Columns: optimiser and learning rate. Mean over seeds, ± half the 95 % interval of the mean where "
        "there are several. Last column: test accuracy at the setting that is best on the validation images."
    )
    caption = f"Test accuracy of the {name} after the last epoch. {heading}."
    frame = pd.DataFrame(rows).T
    uuid = _uuid(f"tuning {heading}")
    notes = [provenance(heading, shown)]
    return box(frame, (caption, legend), notes, settings_of({heading: shown}), uuid=uuid).data


def task_by_task(groups: Mapping[str, Sequence[Record]], tasks: Sequence[str], methods: Mapping[str, str]) -> HTML:
    """Show each task's test loss and accuracy in a network of its own and in a shared one, and Δm of the accuracies.

    Both are averages over all epochs, which say how fast a task was learnt, too. Δm (Maninis et al. 2019, eq. 4) is
    paired over seeds. There is none of losses, or of errors: close to an accuracy of 1 they are so small that a ratio
    of two of them can be anything.

    Args:
        groups: Heading -> records; a table each, of the seeds that all networks have.
        tasks: The tasks, all of them in a shared network.
        methods: What to call a network -> its method; the first is that of the networks with one task each.
    """
    return HTML("".join(_task_by_task(*group, tasks, methods) for group in groups.items()))


_METRICS = {"loss": ("test loss ↓ (nats)", 1, 4), "accuracy": ("test accuracy ↑ (%)", 100, 2)}
"""Name -> heading, factor to the unit, digits."""


def _task_by_task(heading: str, found: Sequence[Record], tasks: Sequence[str], methods: Mapping[str, str]) -> str:
    first, *others = methods
    networks = {first: [_of(found, methods[first], [task]) for task in tasks]}
    networks |= {label: [_of(found, methods[label], tasks)] * len(tasks) for label in others}
    # label -> one of each task: seed -> record
    by_seed = {label: [{r.seed: r for r in own} for own in each] for label, each in networks.items()}
    seeds = sorted(set.intersection(*(set(own) for each in by_seed.values() for own in each)))
    behind = {label: [[own[seed] for seed in seeds] for own in each] for label, each in by_seed.items()}
    columns: dict[tuple[str, str], list[str]] = {}
    for metric, (title, scale, digits) in _METRICS.items():
        values = {  # label -> one of each task: one of each seed
            label: [
                [_average(own[seed].curves[f"test/{metric}/{task}"]) for seed in seeds]
                for task, own in zip(tasks, each, strict=True)
            ]
            for label, each in by_seed.items()
        }
        for label, each in values.items():
            scaled = [[None if value is None else scale * value for value in of_task] for of_task in each]
            changes = _changes(values[first], each) if label != first and metric == "accuracy" else None
            columns[title, label] = [
                *(
                    measured_cell(of_task, own, heading, digits=digits)
                    for of_task, own in zip(scaled, behind[label], strict=True)
                ),
                measured_cell(changes, [r for own in behind[first] + behind[label] for r in own], heading)
                if changes is not None
                else "",
            ]
    legend = (
        "Average of all epochs; mean over seeds ± half the 95 % interval of the mean. Δm: mean relative improvement in "
        "accuracy over a network for each task, paired over seeds, in percent; above zero, sharing helps."
    )
    caption = f"A network for each task, and one for both. {heading}."
    frame = pd.DataFrame(columns, index=[*tasks, "Δm ↑ (%)"])
    used = list({r.key: r for each in behind.values() for own in each for r in own}.values())
    uuid = _uuid(f"task by task {heading}")
    return box(frame, (caption, legend), [provenance(heading, used)], settings_of({heading: used}), uuid=uuid).data


def _average(curve: Sequence[float | None]) -> float | None:
    """Mean over epochs; None where the run diverged."""
    return None if None in curve else statistics.interval(curve)[0]


def _changes(own: Sequence[Sequence[float | None]], shared: Sequence[Sequence[float | None]]) -> list[float]:
    """Δm of the accuracies (T, seeds) of each seed whose runs all ended well."""
    pairs = zip(zip(*shared, strict=True), zip(*own, strict=True), strict=True)
    return [
        statistics.delta_m(statistics.finite(values), statistics.finite(baselines), [True] * len(own))
        for values, baselines in pairs
        if None not in (*values, *baselines)
    ]


def _of(found: Sequence[Record], method: str, tasks: Sequence[str]) -> list[Record]:
    return [record for record in found if (record.method, figures.tasks_of(record)) == (method, list(tasks))]


def _setting(record: Record) -> tuple[str, float]:
    optimizer, rate = record.parameters["optimizer"], record.parameters["learning_rate"]
    assert isinstance(optimizer, str) and isinstance(rate, float)
    return optimizer, rate


def _mean(metric: str, found: Sequence[Record]) -> float | None:
    """Mean over seeds; None where a run diverged."""
    values = [record.metrics[metric] for record in found]
    return None if None in values else statistics.interval(values)[0]


def _percent(name: str, found: Sequence[Record], heading: str, setting: str = "") -> str:
    values = [record.metrics[f"test/accuracy/{name}"] for record in found]
    percent = [None if value is None else 100 * value for value in values]
    return measured_cell(percent, found, heading) + setting


def _uuid(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")
