"""Published claims and measured values -> verdicts.

A claim is taken apart into comparisons: on one column, one row is better than another. Each comparison is paired over
the seeds that both rows have, and decided as follows.

- **Test**: the exact sign-flip permutation test of the mean paired difference. It assumes only that, were the methods
  alike, a seed's difference could as well have had the other sign. With n seeds no two-sided p is below 2/2^n, so few
  seeds cannot decide anything: a verdict then says how many would.
- **Correction**: Holm's, over all distinct comparisons that the paper's claims about the table need. Those not measured
  count too (with p = 1), so that a verdict does not depend on what else has been run.
- **Interval**: Student's t, simultaneous over the same comparisons (Bonferroni), so that together they miss any true
  difference no more often than the level says. Not a bootstrap, whose intervals are too short with five to ten seeds.

Two means alone decide nothing, stand-in data decide nothing, and neither do rows from different profiles.

A diverged run has no value, and leaving it out flatters its method. So the other seeds are compared, but no comparison
is ever decided in favour of a row with a diverged run.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

from mtlutils.errors import InputError
from mtlutils.papers import Best, Claim, Order, Paper, Part, Rank, Table, Within

Decision = Literal["reproduced", "not reproduced", "contradicted", "undecided", "not attempted"]
# How one comparison went: as claimed; the other way; not shown, and smaller than published; not shown.
Outcome = Literal["for", "against", "smaller", "open"]


@dataclass(frozen=True)
class Cell:
    """What was measured for one cell of a published table."""

    values: Mapping[int, float | None]  # seed -> value in the table's unit; None (or not finite): the run diverged
    profile: str  # name of the runs' profile; "paper": the paper's own settings
    data: Literal["real", "stand-in", "none"]  # none: a measurement that needs no data set


@dataclass(frozen=True)
class Comparison:
    """On ``column``, ``row`` is claimed to be better than ``other``.

    Effects are positive where ``row`` is better: differences in the table's unit or, for a table compared by ratio,
    natural logarithms of ratios. ``natural`` turns one into what a reader expects.
    """

    row: str
    other: str
    column: str
    margin: float  # the effect may fall short of 0 by this much: not 0 for a `within` only
    ratio: bool  # whether the table is compared by ratio
    sign: Literal[1, -1]  # -1 where lower values are better
    published: float  # effect in the paper
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
    def holds_in_paper(self) -> bool:
        """Whether the paper's own two cells agree with the claim."""
        return self.published + self.margin > 1e-12  # above rounding, so that a tie is no agreement

    @property
    def hypothesis(self) -> tuple[object, ...]:
        """What is tested; the same for "a is better than b" and "b is better than a"."""
        rows = (self.row, self.other) if self.margin else tuple(sorted((self.row, self.other)))
        return (*rows, self.column, self.margin)

    def natural(self, effect: float) -> float:
        """Return an effect as ``row`` minus ``other``, in the table's unit, or as ``row`` over ``other``."""
        return math.exp(self.sign * effect) if self.ratio else self.sign * effect


@dataclass(frozen=True)
class Verdict:
    """What the measured values say about one claim.

    The verdict is ``reproduced`` where every comparison is significant as claimed; ``contradicted`` where some
    comparison is significant the other way; ``not reproduced`` where neither is so, and for some comparison that is not
    significant, with enough seeds, the interval excludes an effect as large as the published one; ``not attempted``
    where nothing could be compared, or stand-in data only; and ``undecided`` in all other cases.
    """

    claim: str
    statement: str
    verdict: Decision
    reason: str  # one sentence; names the profile where it is not the paper's
    comparisons: tuple[Comparison, ...]
    holds_in_paper: bool  # whether the claim is true of the paper's own numbers
    profiles: tuple[str, ...]
    n: int  # fewest seeds in any comparison made
    n_needed: int  # seeds with which the exact test can reach the level for this table


def evaluate(
    paper: Paper, table_id: str, cells: Mapping[tuple[str, str], Cell], confidence: float = 0.95
) -> list[Verdict]:
    """Judge every claim of ``paper`` about one of its tables.

    Args:
        paper: The paper.
        table_id: Id of the table.
        cells: (row id, column id) -> what was measured; cells without measurements are left out.
        confidence: 1 minus the level at which any comparison of the table is wrongly called significant.

    Returns:
        A verdict a claim, in the paper's order. It does not depend on the order of cells or seeds.

    Raises:
        InputError: there is no such table or cell, the confidence is not between 0 and 1, or a ratio is asked of a
            value that is not positive.
    """
    table = paper.table(table_id)
    if not 0 < confidence < 1:
        raise InputError(f"confidence must lie between 0 and 1, got {confidence}")
    for row, column in cells:
        if row not in {each.id for each in table.rows} or column not in {each.id for each in table.columns}:
            raise InputError(f"{table.id} of {paper.key} has no cell ({row}, {column})")
    asked = {claim.id: comparisons(table, claim) for claim in paper.claims_on(table_id)}
    # Each hypothesis is counted once, however many claims share it.
    n_tests = len({each.hypothesis for found in asked.values() for each in found})
    level = 1 - confidence
    needed = seeds_needed(n_tests, confidence)
    measured = {claim: [_measure(table, each, cells, level / n_tests) for each in asked[claim]] for claim in asked}
    p_values = {each.hypothesis: each.p for found in measured.values() for each in found}
    adjusted = multipletests(list(p_values.values()), method="holm")[1] if p_values else []
    corrected = dict(zip(p_values, map(float, adjusted), strict=True))
    verdicts = []
    for claim in paper.claims_on(table_id):
        found = [replace(each, p_adjusted=corrected[each.hypothesis]) for each in measured[claim.id]]
        found = [replace(each, outcome=_outcome(each, level, needed)) for each in found]
        verdicts.append(_verdict(table, claim, found, level, n_tests, needed))
    return verdicts


def comparisons(table: Table, claim: Claim) -> list[Comparison]:
    """Take a claim apart into its comparisons, nothing measured yet.

    A ``rank`` does not say which rows are better; those that the paper's table has there are taken.
    """
    found = []
    for part in claim.parts:
        for column in part.columns or tuple(each.id for each in table.columns):
            for row, other in _pairs(table, part, column):
                published = _scale(table, table.value(row, column)) - _scale(table, table.value(other, column))
                sign: Literal[1, -1] = 1 if table.direction == "higher" else -1
                ratio = table.compare == "ratio"
                found.append(Comparison(row, other, column, _margin(part), ratio, sign, published))
    return found


def seeds_needed(n_comparisons: int, confidence: float = 0.95) -> int:
    """Return the fewest seeds n for which Holm's correction leaves the least p, 2/2^n, at or below the level.

    All comparisons may reach that least p together, and Holm's correction then multiplies it by their number.
    """
    return math.ceil(1 + math.log2(max(n_comparisons, 1) / (1 - confidence)))


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


def _scale(table: Table, value: float) -> float:
    """A value on the scale on which effects are differences, and higher is better."""
    if table.compare == "ratio":
        if value <= 0:
            raise InputError(f"{table.id} is compared by ratio, which needs positive values; got {value}")
        value = math.log(value)
    return value if table.direction == "higher" else -value


def _measure(table: Table, asked: Comparison, cells: Mapping[tuple[str, str], Cell], level: float) -> Comparison:
    """Fill in what the cells say about a comparison, before the correction."""
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
    effects = np.array([_scale(table, good[seed]) - _scale(table, good_other[seed]) for seed in seeds])
    mean = float(effects.mean())
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


def _outcome(found: Comparison, level: float, needed: int) -> Outcome:
    if found.effect is None or found.interval is None:
        return "open"
    # Leaving diverged runs out flatters a row: whatever speaks for that row is then left open.
    row_flattered, other_flattered = found.diverged[found.row] > 0, found.diverged[found.other] > 0
    if found.p_adjusted <= level:
        if found.effect + found.margin > 0:
            return "open" if row_flattered else "for"
        return "open" if other_flattered else "against"
    # With too few seeds no effect is significant, so that not being significant says nothing.
    falls_short = found.n >= needed and found.holds_in_paper and found.interval[1] < found.published
    return "smaller" if falls_short and not other_flattered else "open"


def _verdict(table: Table, claim: Claim, found: list[Comparison], level: float, n_tests: int, needed: int) -> Verdict:
    made = [each for each in found if each.n]
    missing = list(dict.fromkeys(each.missing for each in found if each.missing))
    against = [each for each in found if each.outcome == "against"]
    smaller = [each for each in found if each.outcome == "smaller"]
    left_open = [each for each in made if each.outcome == "open"]
    n = min((each.n for each in made), default=0)
    profiles = tuple(sorted({each.profile for each in found if each.profile is not None}))
    of = f"of {len(found)} comparisons"
    verdict: Decision
    if not profiles:
        verdict, why = "not attempted", [f"nothing to compare: {', '.join(missing)}"]
    elif against:
        clearest = min(against, key=lambda each: each.p_adjusted)
        verdict, why = "contradicted", [f"{len(against)} {of} go the other way: {_describe(table, clearest)}"]
    elif all(each.outcome == "for" for each in found):
        weakest = max(found, key=lambda each: each.p_adjusted)
        verdict, why = "reproduced", [f"{len(found)} {of} go as claimed, the least clear: {_describe(table, weakest)}"]
    elif smaller:
        verdict = "not reproduced"
        why = [f"{len(smaller)} {of} are smaller than published: {_describe(table, smaller[0])}"]
    else:
        verdict, why = "undecided", []
        if missing:
            why.append(f"{sum(bool(each.missing) for each in found)} {of} are missing: {', '.join(missing)}")
        if made and n < needed:
            target = f"p ≤ {level:.2g} after Holm's correction over the table's {n_tests} comparisons"
            why.append(f"too few seeds: {target} takes {needed}, there are {n}")
        elif left_open:
            why.append(f"{len(left_open)} {of} are open with {n} seeds: {_describe(table, left_open[0])}")
    if any(profile != "paper" for profile in profiles):
        why.append(f"profile {', '.join(profiles)} and not the paper's settings")
    diverged = {table.row(row).label for each in found for row, count in each.diverged.items() if count}
    if diverged:
        why.append(f"diverged runs of {', '.join(sorted(diverged))} left out")
    sentence = "; ".join(why) + "."
    return Verdict(
        claim=claim.id,
        statement=claim.statement,
        verdict=verdict,
        reason=sentence[0].upper() + sentence[1:],
        comparisons=tuple(found),
        holds_in_paper=all(each.holds_in_paper for each in found),
        profiles=profiles,
        n=n,
        n_needed=needed,
    )


def _describe(table: Table, found: Comparison) -> str:
    """One comparison in a few words: the effect, its interval, the published effect, the adjusted p."""
    assert found.effect is not None
    style, unit = ("{:.3g}", "times") if found.ratio else ("{:+.3g}", "points" if table.unit == "%" else table.unit)
    rows = f"{table.row(found.row).label} against {table.row(found.other).label}"
    words = f"{rows}, {table.column(found.column).label}, {style.format(found.natural(found.effect))} {unit}"
    if found.interval:
        words += " [{}]".format(", ".join(style.format(end) for end in sorted(map(found.natural, found.interval))))
    words += f", published {style.format(found.natural(found.published))}"
    if found.margin:
        words += f", bound {style.format(found.natural(-found.margin))}"
    return words + f", adjusted p = {found.p_adjusted:.2g}"
