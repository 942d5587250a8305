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
