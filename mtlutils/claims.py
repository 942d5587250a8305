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

Where the paper prints no numbers, as in a figure, there is no published effect to fall short of, and the sign alone
counts: such a claim is reproduced, contradicted or undecided.

Two means alone decide nothing, stand-in data decide nothing, and neither do rows from different profiles.

A diverged run has no value, and leaving it out flatters its method. So the other seeds are compared, but no comparison
is ever decided in favour of a row with a diverged run.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from mtlutils.comparisons import Cell, Comparison, Outcome, comparisons, describe, measure
from mtlutils.errors import InputError
from mtlutils.papers import Claim, Paper, Table

Decision = Literal["reproduced", "not reproduced", "contradicted", "undecided", "not attempted"]


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
    holds_in_paper: bool | None  # whether the claim is true of the paper's own numbers; None: it prints too few
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
    measured = {claim: [measure(table, each, cells, level / n_tests) for each in asked[claim]] for claim in asked}
    p_values = {each.hypothesis: each.p for found in measured.values() for each in found}
    adjusted = multipletests(list(p_values.values()), method="holm")[1] if p_values else []
    corrected = dict(zip(p_values, map(float, adjusted), strict=True))
    verdicts = []
    for claim in paper.claims_on(table_id):
        found = [replace(each, p_adjusted=corrected[each.hypothesis]) for each in measured[claim.id]]
        found = [replace(each, outcome=_outcome(each, level, needed)) for each in found]
        verdicts.append(_verdict(table, claim, found, level, n_tests, needed))
    return verdicts


def seeds_needed(n_comparisons: int, confidence: float = 0.95) -> int:
    """Return the fewest seeds n for which Holm's correction leaves the least p, 2/2^n, at or below the level.

    All comparisons may reach that least p together, and Holm's correction then multiplies it by their number.
    """
    return math.ceil(1 + math.log2(max(n_comparisons, 1) / (1 - confidence)))


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
    falls_short = (
        found.n >= needed
        and found.published is not None
        and found.holds_in_paper
        and found.interval[1] < found.published
    )
    return "smaller" if falls_short and not other_flattered else "open"


def _verdict(table: Table, claim: Claim, found: list[Comparison], level: float, n_tests: int, needed: int) -> Verdict:
    made = [each for each in found if each.n]
    missing = list(dict.fromkeys(each.missing for each in found if each.missing))
    against = [each for each in found if each.outcome == "against"]
    smaller = [each for each in found if each.outcome == "smaller"]
    left_open = [each for each in made if each.outcome == "open"]
    n = min((each.n for each in made), default=0)
    profiles = tuple(sorted({each.profile for each in found if each.profile is not None}))
    verdict: Decision
    if not profiles:
        verdict, why = "not attempted", [f"nothing to compare: {', '.join(missing)}"]
    elif against:
        clearest = min(against, key=lambda each: each.p_adjusted)
        verdict = "contradicted"
        why = [f"{_count(against, found, 'goes', 'go')} the other way: {describe(table, clearest)}"]
    elif all(each.outcome == "for" for each in found):
        weakest = max(found, key=lambda each: each.p_adjusted)
        clear = "the least clear: " * (len(found) > 1) + describe(table, weakest)
        verdict, why = "reproduced", [f"{_count(found, found, 'goes', 'go')} as claimed, {clear}"]
    elif smaller:
        verdict = "not reproduced"
        falls_short = f"{_count(smaller, found, 'falls', 'fall')} short of the published difference"
        why = [f"{falls_short}: {describe(table, smaller[0])}"]
    else:
        verdict, why = "undecided", []
        if missing:
            lost = [each for each in found if each.missing]
            why.append(f"{_count(lost, found, 'is', 'are')} missing: {', '.join(missing)}")
        if made and n < needed:
            target = f"p ≤ {level:.2g} after Holm's correction over the table's {n_tests} comparisons"
            why.append(f"too few seeds: {target} takes {needed}, there are {n}")
        elif left_open:
            are_open = f"{_count(left_open, found, 'is', 'are')} open with {n} seeds"
            why += [f"{are_open}: {describe(table, left_open[0])}", *_found_at_all(table, left_open[0], level, n_tests)]
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
        holds_in_paper=_all(each.holds_in_paper for each in found),
        profiles=profiles,
        n=n,
        n_needed=needed,
    )


def _found_at_all(table: Table, found: Comparison, level: float, n_tests: int) -> list[str]:
    """How large a difference would have been found: by Student's paired test, at the level of the interval."""
    if found.effect is None or found.interval is None or found.p_adjusted <= level:
        return []  # there is no spread to go by, or a diverged run and not the spread leaves it open
    half = found.interval[1] - found.effect
    deviation = half * math.sqrt(found.n) / stats.t.ppf(1 - level / n_tests / 2, found.n - 1)
    if not deviation:
        return []
    least = deviation * TTestPower().solve_power(nobs=found.n, alpha=level / n_tests, power=0.8)
    unit = table.column(found.column).unit.replace("%", "points")
    size = f"factor of {math.exp(least):.3g}" if found.ratio else f"difference of {least:.3g} {unit}".rstrip()
    beyond = " beyond the bound" * (found.margin > 0)
    return [f"by an estimate, so many seeds find a {size}{beyond} in four of five cases"]


def _count(some: list[Comparison], found: list[Comparison], singular: str, plural: str) -> str:
    if len(found) == 1:
        return f"the only comparison {singular}"
    return f"{len(some)} of {len(found)} comparisons {singular if len(some) == 1 else plural}"


def _all(values: Iterable[bool | None]) -> bool | None:
    found = set(values)
    return False if False in found else None if None in found else True
