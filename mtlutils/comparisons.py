"""A claim's comparisons, and what the measured cells say about each of them.

On one column, one row is claimed to be better than another. It is paired over the seeds that both rows have; how it is
then tested is told in :mod:`mtlutils.claims`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from scipy import stats

from mtlutils.errors import InputError
from mtlutils.papers import Best, Claim, Column, Order, Part, Rank, Table, Within

# How one comparison went: as claimed; the other way; not shown, and smaller than published; not shown.
Outcome = Literal["for", "against", "smaller", "open"]


@dataclass(frozen=True)
class Cell:
    """What was measured for one cell of a published table."""

    values: Mapping[int, float | None]  # seed -> value in the column's unit; None (or not finite): the run diverged
    profile: str  # name of the runs' profile; "paper": the paper's own settings
    data: Literal["real", "stand-in", "none"]  # none: a measurement that needs no data set


@dataclass(frozen=True)
class Comparison:
    """On ``column``, ``row`` is claimed to be better than ``other``.

    Effects are positive where ``row`` is better: differences in the column's unit or, for a column compared by
    ratio, natural logarithms of ratios. ``natural`` turns one into what a reader expects.
    """

    row: str
    other: str
    column: str
    margin: float  # the effect may fall short of 0 by this much: not 0 for a `within` only
    ratio: bool  # whether the column is compared by ratio
    sign: Literal[1, -1]  # -1 where lower values are better
    published: float | None  # effect in the paper; None where it does not print both cells
    n: int = 0  # seeds compared
    effect: float | None = None  # mean measured effect
    interval: tuple[float, float] | None = None  # simultaneous, of the effect; needs two seeds
    p: float = 1.0  # two-sided, of the effect being -margin
    p_adjusted: float = 1.0  # after Holm's correction over the table
    outcome: Outcome = "open"
    diverged: Mapping[str, int] = field(default_factory=dict)  # row -> seeds left out because its run diverged
    profile: str | None = None  # of both cells
    missing: str = ""  # why nothing was compared

    @property
    def holds_in_paper(self) -> bool | None:
        """Whether the paper's own two cells agree with the claim; None where it does not print both."""
        if self.published is None:
            return None
        return self.published + self.margin > 1e-12  # above rounding, so that a tie is no agreement

    @property
    def hypothesis(self) -> tuple[object, ...]:
        """What is tested; the same for "a is better than b" and "b is better than a"."""
        rows = (self.row, self.other) if self.margin else tuple(sorted((self.row, self.other)))
        return (*rows, self.column, self.margin)

    def natural(self, effect: float) -> float:
        """Return an effect as ``row`` minus ``other``, in the column's unit, or as ``row`` over ``other``."""
        return math.exp(self.sign * effect) if self.ratio else self.sign * effect


def comparisons(table: Table, claim: Claim) -> list[Comparison]:
    """Take a claim apart into its comparisons, nothing measured yet.

    A ``rank`` does not say which rows are better; those that the paper's table has there are taken.
    """
    found = []
    for part in claim.parts:
        for column in [table.column(each) for each in part.columns] or table.columns:
            for row, other in _pairs(table, part, column.id):
                effect = _scale(column, table.value(row, column.id)) - _scale(column, table.value(other, column.id))
                published = None if math.isnan(effect) else effect
                sign: Literal[1, -1] = 1 if column.direction == "higher" else -1
                ratio = column.compare == "ratio"
                found.append(Comparison(row, other, column.id, _margin(part), ratio, sign, published))
    return found


def _pairs(table: Table, part: Part, column: str) -> list[tuple[str, str]]:
    """(better, worse) row ids that the part asserts on one column."""
    match part:
        case Order() | Within():
            return [(part.row, other) for other in part.others]
        case Best():
            return [(part.row, row.id) for row in table.rows if row.id != part.row]
        case Rank():
            others = [row for row in table.ranking(column) if row != part.row]
            above, below = others[: part.rank - 1], others[part.rank - 1 :]
            return [(row, part.row) for row in above] + [(part.row, row) for row in below]


def _margin(part: Part) -> float:
    if not isinstance(part, Within):
        return 0.0
    return math.log(part.factor) if part.factor is not None else part.amount or 0.0


def _scale(column: Column, value: float) -> float:
    """A value on the scale on which effects are differences, and higher is better."""
    if column.compare == "ratio":
        if value <= 0:
            raise InputError(f"{column.id} is compared by ratio, which needs positive values; got {value}")
        value = math.log(value)
    return value if column.direction == "higher" else -value


def measure(table: Table, asked: Comparison, cells: Mapping[tuple[str, str], Cell], level: float) -> Comparison:
    """Fill in what the cells say about a comparison, before the correction.

    Args:
        table: The table that the comparison is about.
        asked: The comparison, nothing measured yet.
        cells: (row id, column id) -> what was measured.
        level: How often the interval may miss the true effect.

    Raises:
        InputError: a ratio is asked of a value that is not positive.
    """
    for name in (asked.row, asked.other):
        cell = cells.get((name, asked.column))
        if cell is None or not cell.values:
            return replace(asked, missing=f"{table.row(name).label} has no runs")
        if cell.data == "stand-in":
            return replace(asked, missing=f"{table.row(name).label} has runs on stand-in data only")
    row, other = cells[asked.row, asked.column], cells[asked.other, asked.column]
    if (row.profile, row.data) != (other.profile, other.data):
        return replace(asked, missing=f"the rows come from different profiles ({row.profile}, {other.profile})")
    common = row.values.keys() & other.values.keys()
    if not common:
        return replace(asked, missing="the rows have no seed in common")
    good, good_other = _finite(row), _finite(other)
    seeds = sorted(common & good.keys() & good_other.keys())  # sorted: sums do not depend on the order given
    diverged = {asked.row: len(common - good.keys()), asked.other: len(common - good_other.keys())}
    asked = replace(asked, n=len(seeds), diverged=diverged, profile=row.profile)
    if not seeds:
        return replace(asked, missing="of every pair of runs, one diverged")
    column = table.column(asked.column)
    effects = np.array([_scale(column, good[seed]) - _scale(column, good_other[seed]) for seed in seeds])
    mean = round(float(effects.mean()), 12)  # of values with a few digits; no effect is then 0, not 1e-15
    interval = None
    if len(seeds) > 1:
        half = float(stats.t.ppf(1 - level / 2, len(seeds) - 1) * stats.sem(effects))
        interval = (mean - half, mean + half)
    return replace(asked, effect=mean, interval=interval, p=_p_value(effects + asked.margin))


def _finite(cell: Cell) -> dict[int, float]:
    return {seed: value for seed, value in cell.values.items() if value is not None and math.isfinite(value)}


def _p_value(effects: np.ndarray) -> float:
    """Two-sided p: twice the smaller one-sided p, at most 1. Exact up to 16 seeds, then from 99,999 random flips."""
    if len(effects) < 2:
        return 1.0  # which is 2/2^1; scipy takes no fewer than two
    test = stats.permutation_test(
        (effects,), np.mean, permutation_type="samples", vectorized=True, n_resamples=99_999, rng=0
    )
    return float(test.pvalue)


def describe(table: Table, found: Comparison) -> str:
    """Return one comparison in a few words: the effect, its interval, the published effect, the adjusted p."""
    assert found.effect is not None
    column = table.column(found.column)
    style, unit = ("{:.3g}", "times") if found.ratio else ("{:+.3g}", "points" if column.unit == "%" else column.unit)
    rows = f"{table.row(found.row).label} against {table.row(found.other).label}"
    words = f"{rows}, {column.label}, {style.format(found.natural(found.effect))} {unit}".rstrip()
    if found.interval:
        words += " [{}]".format(", ".join(style.format(end) for end in sorted(map(found.natural, found.interval))))
    if found.published is not None:
        words += f", published {style.format(found.natural(found.published))}"
    if found.margin:
        words += f", bound {style.format(found.natural(-found.margin))}"
    return words + f", adjusted p = {found.p_adjusted:.2g}"
