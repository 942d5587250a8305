"""How much better methods are than single-task learning, from their records."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import stats

from mtlutils import statistics
from mtlutils.records import Record

HIGHER_IS_BETTER = {
    "accuracy": True,
    "miou": True,
    "pixel_accuracy": True,
    "absolute_error": False,
    "relative_error": False,
    "mean_angle": False,
    "median_angle": False,
    "within_11.25": True,
    "within_22.5": True,
    "within_30": True,
}
"""Metrics, and whether a higher value is better."""

Deltas = Mapping[str, Mapping[int, float | None]]
"""Method -> seed -> Δm in percent; None where a run diverged."""


def over_single_task(found: Sequence[Record]) -> Deltas:
    """Return Δm (Maninis et al. 2019, eq. 4) of every method over ``single_task``, on the test data.

    It is paired over seeds: a seed that has no single-task model of every task, or one that diverged, has none. The
    metrics of a task are averaged first, so that each task counts the same.

    Args:
        found: Records of one experiment at one setting.
    """
    baselines: dict[int, dict[str, float | None]] = {}
    for record in found:
        if record.method == "single_task":
            baselines.setdefault(record.seed, {}).update(_of_test(record))
    deltas: dict[str, dict[int, float | None]] = {}
    for record in found:
        values, baseline = _of_test(record), baselines.get(record.seed, {})
        if record.method != "single_task" and all(baseline.get(name) is not None for name in values):
            delta = _delta_m(values, baseline)
            deltas.setdefault(record.method, {})[record.seed] = delta if math.isfinite(delta) else None
    return deltas


def _of_test(record: Record) -> dict[str, float | None]:
    """``task/metric`` -> value, of those whose direction is known."""
    found = {}
    for name, value in record.metrics.items():
        split, metric, task = name.split("/", 2)
        if split == "test" and metric in HIGHER_IS_BETTER:
            found[f"{task}/{metric}"] = value
    return found


def _delta_m(values: Mapping[str, float | None], baseline: Mapping[str, float | None]) -> float:
    of_task = []
    for task in dict.fromkeys(name.rpartition("/")[0] for name in values):
        names = [name for name in values if name.rpartition("/")[0] == task]
        own, other = ([math.nan if (v := each[n]) is None else v for n in names] for each in (values, baseline))
        higher = [HIGHER_IS_BETTER[name.rpartition("/")[2]] for name in names]
        of_task.append(statistics.delta_m(own, other, higher))
    return math.fsum(of_task) / len(of_task) if of_task else math.nan


def means(deltas: Deltas) -> dict[str, float]:
    """Return the mean Δm of each method over its seeds, best first; a method with a diverged run is left out."""
    good = {method: list(each.values()) for method, each in deltas.items() if None not in each.values()}
    found = {method: statistics.interval(values)[0] for method, values in good.items()}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def rank_agreement(one: Deltas, other: Deltas) -> float:
    """Return Spearman's correlation of how two data sets rank the methods by their mean Δm.

    Methods that diverged on either are left out; nan with fewer than three.
    """
    first, second = means(one), means(other)
    return _spearman([(first[method], second[method]) for method in first if method in second])


def rank_agreement_of_seeds(deltas: Deltas) -> float:
    """Return the mean of Spearman's correlations between the pairs of seeds that have one; nan where none has."""
    seeds = sorted({seed for each in deltas.values() for seed in each})
    found = []
    for i, one in enumerate(seeds):
        for other in seeds[i + 1 :]:
            pairs = [(each.get(one), each.get(other)) for each in deltas.values()]
            found.append(_spearman([(a, b) for a, b in pairs if a is not None and b is not None]))
    return statistics.interval(found)[0]


def _spearman(pairs: Iterable[tuple[float, float]]) -> float:
    values = np.array(list(pairs)).T
    if values.size < 6 or any(np.ptp(each) == 0 for each in values):
        return math.nan
    return float(stats.spearmanr(*values).statistic)
