"""Tables of auxiliary tasks: what each does to the main one, what a scheme makes of them, and whether it is right."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from IPython.display import HTML
from scipy import stats

from mtlutils import figures, statistics
from mtlutils.records import Record
from mtlutils.report.box import box, measured_cell, provenance, settings_of

_SCHEMES = {
    "task_selection": "AutoSeM, first stage",
    "mixing_ratios": "AutoSeM, second stage",
    "autosem": "AutoSeM, both stages",
}
_GATING = {"gradient_cosine": "gradient cosine", "gradient_cosine(weighted=true)": "gradient cosine, weighted"}
_ARCHITECTURES = {
    "hard_sharing": "hard sharing",
    "gated_sharing": "gated sharing",
    "auxiliary_modules": "auxiliary modules",
}


@dataclass(frozen=True)
class MainMetric:
    """What is measured of the main task.

    Attributes:
        key: Its name in records.
        name: Its name and unit in tables.
        factor: What brings it to that unit.
        digits: Digits after the point.
        is_higher_better: Whether higher is better.
    """

    key: str
    name: str
    factor: float = 1.0
    digits: int = 2
    is_higher_better: bool = True

    @property
    def heading(self) -> str:
        """Its name with an arrow to where it is better."""
        return f"{self.name} {'↑' if self.is_higher_better else '↓'}"


def auxiliary_scheme(record: Record) -> str | None:
    """Name what a record does with all auxiliary tasks at once; None where it has one of them or none."""
    parameters = record.parameters
    if parameters["auxiliary"] != "all":
        return None
    if parameters["scheme"] != "none":
        return _SCHEMES[str(parameters["scheme"])]
    if parameters["architecture"] != "hard_sharing":
        return _ARCHITECTURES[str(parameters["architecture"])]
    return "equal weights" if record.method == "equal" else _GATING.get(record.method, record.method)


def ground_truth(groups: Mapping[str, Sequence[Record]], tasks: Sequence[str], metric: MainMetric) -> HTML:
    """Show what the main task gains from one auxiliary task at equal weights: a row a task, a column an architecture.

    A gain is over the main task alone in the same architecture, on the same seed, and positive where the metric gets
    better.

    Args:
        groups: Heading -> records; a table each.
        tasks: The auxiliary tasks.
        metric: What is measured of the main task.
    """
    return HTML("".join(_ground_truth(*group, tasks, metric) for group in groups.items()))


def _ground_truth(heading: str, found: Sequence[Record], tasks: Sequence[str], metric: MainMetric) -> str:
    plain = [r for r in found if r.parameters["scheme"] == "none" and r.method == "equal"]
    columns: dict[str, dict[str, str]] = {}
    used = []
    for place in dict.fromkeys(map(_place, plain)):
        here = [record for record in plain if _place(record) == place]
        values = {task: _values(here, metric, task) for task in tasks}
        alone = _values(here, metric, "none")
        if any(values.values()):
            columns[place] = {
                task: measured_cell(
                    _gains(each, alone, metric),
                    [record for record in here if record.parameters["auxiliary"] in ("none", task)],
                    heading,
                    digits=metric.digits,
                    is_difference=True,
                )
                for task, each in values.items()
            }
            used += [record for record in here if record.parameters["auxiliary"] in ("none", *tasks)]
    caption = f"What one auxiliary task at equal weights does to the main task. {heading}."
    legend = (
        f"Gain in {metric.name} over the main task alone in the same architecture, paired over seeds; above zero, the "
        "task helps. Mean ± half the 95 % interval of the mean."
    )
    frame = pd.DataFrame(columns, index=list(tasks))
    uuid = _uuid(f"ground truth {heading}")
    return box(frame, (caption, legend), [provenance(heading, used)], settings_of({heading: used}), uuid=uuid).data


def main_task(groups: Mapping[str, Sequence[Record]], metric: MainMetric) -> HTML:
    """Show how well each scheme does in the main task, given all auxiliary ones, and what it gains and costs.

    Args:
        groups: Heading -> records; a table each.
        metric: What is measured of the main task.
    """
    return HTML("".join(_main_task(*group, metric) for group in groups.items()))


def _main_task(heading: str, found: Sequence[Record], metric: MainMetric) -> str:
    setting = {"auxiliary": "none", "architecture": "hard_sharing", "output": _output(found)}
    alone = [record for record in found if setting.items() <= record.parameters.items()]
    rows = {"main task alone": alone} | _by_scheme(found)
    baselines = _values(alone, metric)
    seconds = {record.seed: record.timing.total_seconds for record in alone}
    frame = pd.DataFrame(
        {
            label: {
                metric.heading: measured_cell(_values(own, metric).values(), own, heading, digits=metric.digits),
                "gain over the main task alone ↑": ""
                if own is alone
                else measured_cell(
                    _gains(_values(own, metric), baselines, metric),
                    [*own, *alone],
                    heading,
                    digits=metric.digits,
                    is_difference=True,
                ),
                "time": measured_cell(
                    [r.timing.total_seconds / seconds[r.seed] for r in own if r.seed in seconds],
                    [*own, *alone],
                    heading,
                    digits=1,
                ),
            }
            for label, own in rows.items()
        }
    ).T
    caption = f"The main task, tested after training with all auxiliary tasks. {heading}."
    legend = (
        "Mean over seeds ± half the 95 % interval of the mean. Gain: paired over seeds, above zero where the scheme is "
        "better than no auxiliary task; its interval is for this one comparison. Time: of a whole run, with all that a "
        "scheme tries out, relative to the main task alone with the same seed."
    )
    used = [record for own in rows.values() for record in own]
    uuid = _uuid(f"main task {heading}")
    return box(frame, (caption, legend), [provenance(heading, used)], settings_of({heading: used}), uuid=uuid).data


def found_out(groups: Mapping[str, Sequence[Record]], tasks: Sequence[str]) -> HTML:
    """Show whether each scheme knows which auxiliary task is better, and in how many of the seeds.

    A scheme's judgement of a task in a run is :func:`judgements`.

    Args:
        groups: Heading -> records; a table each.
        tasks: The auxiliary tasks, the better first.
    """
    return HTML("".join(_found_out(*group, tasks) for group in groups.items()))


def judgements(record: Record, tasks: Sequence[str]) -> dict[str, float] | None:
    """Return one number a task that says what a record's scheme thinks of it.

    It is the mean over training of what changes with it: weights, utilities, gates; or the share in the ratio that is
    best in the end. None: the scheme thinks the same of all of them, or training diverged.
    """
    kind, courses = figures.opinion(record)
    if not courses or record.status == "diverged":
        return None
    each = {task: statistics.finite(courses[task]) for task in tasks}
    if kind == "evaluation/share":
        return {task: values[-1] for task, values in each.items()}
    return {task: math.fsum(values) / len(values) for task, values in each.items()}


def _found_out(heading: str, found: Sequence[Record], tasks: Sequence[str]) -> str:
    rows: dict[str, dict[tuple[str, str], str]] = {}
    used = []
    for label, own in _by_scheme(found).items():
        each = [numbers for record in own if (numbers := judgements(record, tasks)) is not None]
        row = {("judgement of", t): measured_cell([numbers[t] for numbers in each], own, heading) for t in tasks}
        for better, worse in itertools.combinations(tasks, 2):
            tied = sum(numbers[better] == numbers[worse] for numbers in each)
            right = sum(numbers[better] > numbers[worse] for numbers in each)
            row["order found in", f"{better} above {worse}"] = _share(right, len(each), tied)
        if len(tasks) > 2:
            whole = sum(all(n[a] > n[b] for a, b in itertools.pairwise(tasks)) for n in each)
            row["order found in", "the whole order"] = _share(whole, len(each))
        rows[label] = row
        used += own
    chance = f", and that of the whole order 1/{math.factorial(len(tasks))}" if len(tasks) > 2 else ""
    caption = f"Which auxiliary task is which: what each scheme found. {heading}."
    legend = (
        "Judgement: mean over training of the weight, utility or gate, or the share in the best ratio; mean over seeds "
        "± half the 95 % interval of the mean. Order found in: seeds whose judgements are in this order, and the exact "
        "95 % binomial interval of their share; a tie is none. By chance, a pair is in order in half of the seeds"
        f"{chance}. A dash: no judgement."
    )
    frame = pd.DataFrame(rows).T
    uuid = _uuid(f"found out {heading}")
    return box(frame, (caption, legend), [provenance(heading, used)], settings_of({heading: used}), uuid=uuid).data


def _share(right: int, n: int, tied: int = 0) -> str:
    if not n:
        return "–"
    interval = stats.binomtest(right, n).proportion_ci(confidence_level=0.95, method="exact")
    ties = f", {tied} tied" if tied else ""
    return f"{right} of {n}{ties} [{100 * interval.low:.0f}, {100 * interval.high:.0f}] %"


def _by_scheme(found: Sequence[Record]) -> dict[str, list[Record]]:
    by_scheme: dict[str, list[Record]] = {"equal weights": []}  # what the others are compared with comes first
    for record in found:
        if (label := auxiliary_scheme(record)) is not None and record.parameters["output"] == _output(found):
            by_scheme.setdefault(label, []).append(record)
    return {label: own for label, own in by_scheme.items() if own}


def _output(found: Sequence[Record]) -> object:
    """The kind of output that schemes have; another one is there for comparison, with one auxiliary task at a time."""
    return next(record.parameters["output"] for record in found if auxiliary_scheme(record) is not None)


def _place(record: Record) -> str:
    name = _ARCHITECTURES[str(record.parameters["architecture"])]
    return f"{name}, {'common output' if record.parameters['output'] == 'common' else 'output of its own'}"


def _values(found: Sequence[Record], metric: MainMetric, auxiliary: str = "") -> dict[int, float | None]:
    """Seed -> value in the metric's unit, of one choice of auxiliary tasks if given; None where the run diverged."""
    chosen = [record for record in found if auxiliary in ("", record.parameters["auxiliary"])]
    values = {record.seed: record.metrics[metric.key] for record in chosen}
    return {seed: None if value is None else metric.factor * value for seed, value in values.items()}


def _gains(
    values: Mapping[int, float | None], others: Mapping[int, float | None], metric: MainMetric
) -> list[float | None]:
    """Of each seed that both have; None where one diverged."""
    pairs = [(values[seed], others[seed]) for seed in values if seed in others]
    sign = 1 if metric.is_higher_better else -1
    return [None if a is None or b is None else sign * (a - b) for a, b in pairs]


def _uuid(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")
