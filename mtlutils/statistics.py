"""How values over seeds are summarised, everywhere the same."""

import math
from collections.abc import Iterable

import numpy as np
from scipy import stats


def finite(values: Iterable[float | None]) -> list[float]:
    """Return the values that are there and finite; the others are diverged runs."""
    return [value for value in values if value is not None and math.isfinite(value)]


def interval(values: Iterable[float | None], confidence: float = 0.95) -> tuple[float, float]:
    """Return the mean of the finite values and half its Student-t interval; nan where they cannot be had."""
    good = np.array(finite(values))
    mean = float(good.mean()) if len(good) else math.nan
    if len(good) < 2:
        return mean, math.nan
    return mean, float(stats.t.ppf((1 + confidence) / 2, len(good) - 1) * stats.sem(good))


def predicts(values: Iterable[float | None], other: float, confidence: float = 0.95) -> bool | None:
    """Return whether one more run could well have given ``other``: whether it lies in the t prediction interval.

    The paper's cells are taken as single runs, as nothing in it says otherwise. None: fewer than two values.
    """
    good = finite(values)
    mean, half = interval(good, confidence)
    if math.isnan(half):
        return None
    return abs(other - mean) <= half * math.sqrt(len(good) + 1)


def delta_m(values: Iterable[float], baselines: Iterable[float], higher_is_better: Iterable[bool]) -> float:
    r"""Return the mean relative improvement over the baselines, in percent: Δm of Maninis et al. 2019, eq. 4.

    .. math:: \Delta_m = \frac{100}{T} \sum_{i=1}^T (-1)^{l_i} \frac{M_{m,i} - M_{b,i}}{M_{b,i}}

    where :math:`l_i` is 1 if a lower value is better, and 0 otherwise. It does not depend on the values' units. nan
    where a value is nan, a baseline 0, or where there is none.

    Args:
        values: Of the method, one a task (or one a metric: each then counts the same).
        baselines: Of single-task learning, in the same order; positive.
        higher_is_better: Of each metric.

    Raises:
        ValueError: the three are not of one length.
    """
    terms = []
    for value, baseline, higher in zip(values, baselines, higher_is_better, strict=True):
        change = (value - baseline) / baseline if baseline else math.nan
        terms.append(change if higher else -change)
    return 100 * math.fsum(terms) / len(terms) if terms else math.nan
