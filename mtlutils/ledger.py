"""The ledger: the verdict on every claim of every paper, with the numbers behind it, and whether a verdict flipped.

A verdict goes by Student's intervals and the exact permutation test (see :mod:`mtlutils.claims`): of the bootstrap's
intervals, with five to ten seeds, too few hold the true effect, since resampling never leaves the range of the few
values that there are. The ledger's JSON form gives BCa intervals (Efron 1987) beside Student's, at the same
simultaneous level: where they differ much, the seeds' differences are skewed or too few.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from scipy import stats

from mtlutils import claims, folders, papers, reproduction
from mtlutils.claims import Decision, Verdict
from mtlutils.comparisons import Comparison, describe
from mtlutils.errors import InputError
from mtlutils.papers import Paper, Table
from mtlutils.records import Record
from mtlutils.reproduction import Measured

CONFIDENCE = 0.95
"""1 minus the level at which any comparison of a table is wrongly called significant."""


@dataclass(frozen=True)
class Entry:
    """One claim's verdict, with what it was judged on."""

    paper: Paper
    table: Table
    verdict: Verdict
    measured: Measured  # the table's cells, and the records behind them
    level: float  # how often the interval of one comparison may miss the true effect

    @property
    def id(self) -> str:
        """The claim's name among all papers': ``PAPER/CLAIM``."""
        return f"{self.paper.key}/{self.verdict.claim}"

    @property
    def deciding(self) -> Comparison | None:
        """The comparison by which the verdict goes, which is the one that its reason names.

        The least clear of those that reproduce a claim, the clearest of those that contradict it, and otherwise the
        first that keeps it from being reproduced. None where nothing was compared.
        """
        made = [each for each in self.verdict.comparisons if each.n]
        against = [each for each in made if each.outcome == "against"]
        if against:
            return min(against, key=lambda each: each.p_adjusted)
        for outcome in ("smaller", "open"):
            for each in made:
                if each.outcome == outcome:
                    return each
        return max(made, key=lambda each: each.p_adjusted, default=None)

    @property
    def records(self) -> list[Record]:
        """The records of what was compared, each once."""
        cells = {(row, each.column) for each in self.verdict.comparisons if each.n for row in (each.row, each.other)}
        return list({record.key: record for cell in cells for record in self.measured.records[cell]}.values())

    @property
    def data(self) -> tuple[str, ...]:
        """Names of the data sets of what was compared; "needs no data" for a measurement."""
        found = {record.data.name if record.data.kind != "none" else "needs no data" for record in self.records}
        return tuple(sorted(found))

    @property
    def numbers(self) -> str:
        """The deciding comparison in a few words, with its seeds; the verdict's reason where there is none."""
        found = self.deciding
        return f"{describe(self.table, found)}, n = {found.n}" if found else self.verdict.reason


@dataclass(frozen=True)
class Flip:
    """A claim on which two ledgers differ; None where one of them lacks it."""

    claim: str
    old: dict[str, str] | None  # "verdict", and the "numbers" by which it goes
    new: dict[str, str] | None

    def __str__(self) -> str:
        was, now = (f"{each['verdict']} ({each['numbers']})" if each else "none" for each in (self.old, self.new))
        return f"{self.claim}: {was} -> {now}"


def entries(records: Sequence[Record] | None = None, experiments: Container[str] | None = None) -> list[Entry]:
    """Judge every claim, by paper and table in the papers' order.

    Args:
        records: What is judged; None: the committed records.
        experiments: Those whose tables are asked for; None: all of them.
    """
    found = []
    for paper in papers.every():
        for table in paper.tables:
            if paper.claims_on(table.id) and (experiments is None or table.experiment in experiments):
                measured = reproduction.reproduced(table, records)
                verdicts = claims.evaluate(paper, table.id, measured.published(table), CONFIDENCE)
                n_tests = len({each.hypothesis for verdict in verdicts for each in verdict.comparisons})
                level = (1 - CONFIDENCE) / n_tests
                found += [Entry(paper, table, verdict, measured, level) for verdict in verdicts]
    return found


def as_text(found: list[Entry]) -> str:
    """Return the ledger for a terminal: table by table a line a claim, then how often there is which verdict."""
    lines = []
    width = max((len(entry.verdict.claim) for entry in found), default=0)
    heading = ""
    for entry in found:
        verdict = entry.verdict
        title = f"{entry.paper.key}, {entry.table.label}"
        if title != heading:
            lines += ["", title] if heading else [title]
            heading = title
        words = entry.numbers  # which end in the number of seeds
        if verdict.n and verdict.n < verdict.n_needed:
            words += f" of the {verdict.n_needed} needed"
        about = [words, *(f"profile {name}" for name in verdict.profiles), *entry.data]
        lines.append(f"  {verdict.claim:{width}}  {verdict.verdict:14}  {', '.join(about)}")
    return "\n".join([*lines, "", ", ".join(f"{count} {name}" for name, count in sorted(counts(found).items()))])


def counts(found: Iterable[Entry]) -> dict[Decision, int]:
    """Return verdict -> how many of the entries have it, in the order of the verdicts; none that no entry has."""
    each = Counter(entry.verdict.verdict for entry in found)
    return {name: each[name] for name in get_args(Decision) if each[name]}


def as_json(found: list[Entry]) -> dict[str, Any]:
    """Return the ledger as JSON has it: ``PAPER/CLAIM`` -> verdict, reason, seeds, profiles, data, every comparison.

    A comparison's effect, intervals and published effect are row minus other, in ``unit``, or row over other where the
    unit is "times". Numbers have six significant digits, so that they do not depend on the machine.
    """
    return {
        entry.id: {
            "table": entry.table.id,
            "statement": entry.verdict.statement,
            "verdict": entry.verdict.verdict,
            "reason": entry.verdict.reason,
            "numbers": entry.numbers,
            "holds_in_paper": entry.verdict.holds_in_paper,
            "n": entry.verdict.n,
            "n_needed": entry.verdict.n_needed,
            "profiles": list(entry.verdict.profiles),
            "data": list(entry.data),
            "comparisons": [_comparison(entry, each) for each in entry.verdict.comparisons],
        }
        for entry in found
    }


def dumps(ledger: Mapping[str, Any]) -> str:
    """Write the JSON form as text: sorted, a line a comparison, so that a change is easy to see."""
    text = json.dumps(ledger, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    # First the lists without further ones, then the innermost objects; no string holds a line break as such.
    for innermost in (r"(\[)\n\s+([^\[\]{}]*?)\n\s+(\])", r"(\{)\n\s+([^{}]*?)\n\s+(\})"):
        text = re.sub(innermost, lambda found: found[1] + re.sub(r"\n\s+", " ", found[2]) + found[3], text)
    return text + "\n"


def committed() -> Path:
    """File of the committed verdicts."""
    return folders.project() / "verdicts.json"


def read(path: Path) -> dict[str, Any]:
    """Read a ledger that :func:`dumps` wrote.

    Raises:
        InputError: the file is missing or broken.
    """
    accept = "write it with `python -m mtlutils claims update`"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); {accept}") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not valid JSON ({error}); restore it, or {accept}") from error
    is_ledger = isinstance(found, dict) and all(
        isinstance(claim, dict) and {"verdict", "numbers"} <= claim.keys() for claim in found.values()
    )
    if not is_ledger:
        raise InputError(f"{path}: not a ledger of verdicts; restore it, or {accept}")
    return found


def flips(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Flip]:
    """Return the claims whose verdict differs between two ledgers' JSON forms, or that one of them lacks."""
    found = []
    for name in sorted(old.keys() | new.keys()):
        was, now = (
            {key: each[name][key] for key in ("verdict", "numbers")} if name in each else None for each in (old, new)
        )
        if was is None or now is None or was["verdict"] != now["verdict"]:
            found.append(Flip(name, was, now))
    return found


def bootstrap(entry: Entry, asked: Comparison) -> tuple[float, float] | None:
    """Return the BCa interval of a comparison's mean effect over 9,999 resamples, on the scale of its effect.

    None where it cannot be had: with fewer than two seeds, or where all of them have one difference.
    """
    if asked.n < 2:
        return None
    values, others = (entry.measured.cells[row, asked.column].values for row in (asked.row, asked.other))
    pairs = [(values[seed], others[seed]) for seed in sorted(values.keys() & others.keys())]
    good = np.array([pair for pair in pairs if None not in pair], dtype=float)
    good = good[np.isfinite(good).all(axis=1)]
    scaled = np.log(good) if asked.ratio else good
    effects = asked.sign * (scaled[:, 0] - scaled[:, 1])
    if np.ptp(effects) < 1e-12:  # rounding apart, all are one
        return None
    found = stats.bootstrap((effects,), np.mean, confidence_level=1 - entry.level, method="BCa", rng=0)
    low, high = map(float, found.confidence_interval)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _comparison(entry: Entry, asked: Comparison) -> dict[str, Any]:
    unit = "times" if asked.ratio else entry.table.column(asked.column).unit

    def natural(effect: float | None) -> float | None:
        return None if effect is None else _rounded(asked.natural(effect))

    def ends(interval: tuple[float, float] | None) -> list[float] | None:
        return None if interval is None else sorted(_rounded(asked.natural(end)) for end in interval)

    return {
        "row": asked.row,
        "other": asked.other,
        "column": asked.column,
        "unit": unit,
        "published": natural(asked.published),
        "bound": natural(-asked.margin) if asked.margin else None,
        "n": asked.n,
        "diverged": [asked.diverged.get(row, 0) for row in (asked.row, asked.other)],
        "effect": natural(asked.effect),
        "interval": ends(asked.interval),
        "bootstrap": ends(bootstrap(entry, asked)),
        "p": _rounded(asked.p) if asked.n else None,
        "p_adjusted": _rounded(asked.p_adjusted) if asked.n else None,
        "outcome": asked.outcome,
        "missing": asked.missing,
    }


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
