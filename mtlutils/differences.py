"""What differs between two records, two folders of records, or the committed results of two git commits.

Runs are matched by experiment, method, seed and parameters. A setting that has one value throughout A and another one
throughout B is what is compared, and need not match; nor need the method, where each side has but one.

Unless a side is a single record, both are judged by the claims, profiles and tests of this checkout: a verdict then
differs because of the records alone.
"""

import io
import json
import re
import subprocess
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mtlutils import folders, ledger, records, statistics
from mtlutils.errors import InputError
from mtlutils.ledger import Flip
from mtlutils.records import Record

Runs = dict[int, Record]
"""Seed -> record, of runs that are otherwise alike."""


@dataclass(frozen=True)
class Side:
    """One of the two things that are compared."""

    name: str
    records: list[Record]
    problems: list[str]  # what is wrong with files that should have been records
    single: bool  # a record's file


@dataclass(frozen=True)
class Sample:
    """A metric over seeds, in the records' unit."""

    mean: float | None  # None: no run has a value
    half: float | None  # half the 95 % interval of the mean; None with fewer than two values
    n: int  # seeds with a value


@dataclass(frozen=True)
class Change:
    """A metric that differs."""

    runs: str  # experiment, method, and the parameters that tell a side's runs apart
    metric: str
    a: Sample
    b: Sample
    difference: Sample  # b minus a, paired over the seeds that both have


@dataclass(frozen=True)
class Difference:
    """What differs between the sides A and B; pairs are of A and of B."""

    a: Side
    b: Side
    matched: int  # runs that both sides have
    alike: int  # of them, those with the same curves and metrics
    unmatched: tuple[dict[str, Counter[str]], dict[str, Counter[str]]]  # experiment -> method -> runs of one side only
    parameters: dict[str, dict[str, tuple[list[Any], list[Any]]]]  # experiment -> parameter -> its values
    environment: dict[str, tuple[list[str], list[str]]]  # of the runs with a counterpart, where there are any
    metrics: list[Change]
    verdicts: list[Flip]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        sides = {
            letter: {"name": side.name, "records": len(side.records), "problems": side.problems, "unmatched": rest}
            for letter, side, rest in zip("ab", (self.a, self.b), self.unmatched, strict=True)
        }
        return sides | {
            "matched": self.matched,
            "alike": self.alike,
            "parameters": self.parameters,
            "environment": self.environment,
            "metrics": [asdict(change) for change in self.metrics],
            "verdicts": [asdict(flip) for flip in self.verdicts],
        }

    def as_text(self) -> str:
        """Return it for a terminal."""
        lines = []
        for letter, side, rest in zip("AB", (self.a, self.b), self.unmatched, strict=True):
            lines.append(f"{letter}: {side.name}, {len(side.records)} record{'s' * (len(side.records) != 1)}")
            for experiment, counts in rest.items():
                runs = ", ".join(f"{count} {method}" for method, count in counts.items())
                lines.append(f"   only here, {experiment}: {runs}")
            lines += [f"   left out: {problem}" for problem in side.problems]
        lines.append(
            f"On both sides: {self.matched} run{'s' * (self.matched != 1)}, {self.alike} with the same numbers"
        )
        for experiment, parameters in self.parameters.items():
            lines += ["", f"Parameters of {experiment}"]
            for name, pair in parameters.items():
                a, b = (_listed(map(json.dumps, values)) for values in pair)
                lines.append(f"  {name}: {a} -> {b}")
        if self.environment:
            lines += ["", "Environment"]
            pairs = {name: (map(_shortened, a), map(_shortened, b)) for name, (a, b) in self.environment.items()}
            lines += [f"  {name}: {_listed(a)} -> {_listed(b)}" for name, (a, b) in pairs.items()]
        if self.metrics:
            lines += ["", "Metrics: mean ± half its 95 % interval; B minus A, paired over the seeds of both"]
        runs = ""
        for change in self.metrics:
            if change.runs != runs:
                runs = change.runs
                lines.append(f"  {runs}")
            a, b, difference = _written(change.a), _written(change.b), _written(change.difference, "+")
            lines.append(f"    {change.metric}: {a} -> {b}; B - A {difference}")
        if self.verdicts:
            lines += ["", "Verdicts", *(f"  {flip}" for flip in self.verdicts)]
        return "\n".join(lines)


def between(a: str, b: str) -> Difference:
    """Compare two sides, each a record's file, a folder of records or a git commit.

    Raises:
        InputError: a side is none of the three, holds no valid record, or holds a run twice.
    """
    sides = _side(a), _side(b)
    matched = alike = 0
    unmatched: tuple[dict[str, Counter[str]], dict[str, Counter[str]]] = {}, {}
    counterparts: tuple[list[Record], list[Record]] = [], []
    parameters, metrics, changed = {}, [], set()
    for experiment in sorted({record.experiment for side in sides for record in side.records}):
        here, there = ([each for each in side.records if each.experiment == experiment] for side in sides)
        if {each.key: each.outcome() for each in here} != {each.key: each.outcome() for each in there}:
            changed.add(experiment)
        values = {name: (_values(here, name), _values(there, name)) for name in _names([*here, *there])}
        differing = {name: pair for name, pair in values.items() if here and there and pair[0] != pair[1]}
        if differing:
            parameters[experiment] = differing
        compared = {name for name, pair in differing.items() if len(pair[0]) == len(pair[1]) == 1}
        telling = {name for name, pair in values.items() if max(map(len, pair)) > 1 and name != "method"}
        groups = _grouped(here, compared), _grouped(there, compared)
        for group in dict.fromkeys([*groups[0], *groups[1]]):
            one, other = groups[0].get(group, {}), groups[1].get(group, {})
            both = one.keys() & other.keys()
            matched += len(both)
            alike += sum(_numbers(one[seed]) == _numbers(other[seed]) for seed in both)
            if one and other:
                metrics += _changes(_name(one, other, telling), one, other)
            for runs, kept, rest in zip((one, other), counterparts, unmatched, strict=True):
                kept += [runs[seed] for seed in both]
                alone = [record.method for seed, record in runs.items() if seed not in both]
                if alone:
                    rest.setdefault(experiment, Counter()).update(alone)
    compared_records = counterparts if matched else (sides[0].records, sides[1].records)
    environment = _environment(*compared_records)
    verdicts = [] if sides[0].single or sides[1].single else _verdicts(*sides, changed)
    return Difference(*sides, matched, alike, unmatched, parameters, environment, metrics, verdicts)


def _side(what: str) -> Side:
    path = Path(what)
    if path.is_file():
        return Side(what, [records.read(path)], [], single=True)
    if path.is_dir():
        return _folder(path, what)
    try:
        commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{what}^{{commit}}").decode().strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(f"{what}: no such file, folder or git commit") from error
    name = f"{what} (commit {commit[:7]})"
    try:
        archive = _git("archive", "--format=zip", "-0", commit, records.committed().name)
    except subprocess.CalledProcessError as error:
        raise InputError(f"{name}: has no folder {records.committed().name}; choose a later commit") from error
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(io.BytesIO(archive)) as files:
        files.extractall(folder)
        return _folder(Path(folder), name)


def _git(*arguments: str) -> bytes:
    command = ["git", "-C", str(folders.project()), *arguments]
    return subprocess.run(command, capture_output=True, check=True).stdout


def _folder(folder: Path, name: str) -> Side:
    good, bad = records.read_all(folder)
    problems = [str(error).replace(f"{folder}/", "") for error in bad]
    if not good:
        raise InputError(f"{name}: holds no valid run record; give a folder such as {records.committed()}")
    (key, count), *_ = Counter(record.key for record in good).most_common(1)
    if count > 1:
        raise InputError(f"{name}: holds the run {key} {count} times; give one folder of results")
    return Side(name, good, problems, single=False)


def _setting(record: Record, name: str) -> Any:
    return record.method if name == "method" else record.parameters.get(name, "absent")


def _names(found: Iterable[Record]) -> list[str]:
    return ["method", *sorted({name for record in found for name in record.parameters})]


def _values(found: Iterable[Record], name: str) -> list[Any]:
    """The different values of a setting, in a fixed order."""
    texts = {json.dumps(_setting(record, name), sort_keys=True) for record in found}
    return sorted(map(json.loads, texts), key=lambda value: (isinstance(value, str), str(value)))


def _grouped(found: Iterable[Record], compared: set[str]) -> dict[str, Runs]:
    """Runs that differ in nothing but the seed and the settings that are compared."""
    groups: dict[str, Runs] = {}
    for record in found:
        kept = {name: _setting(record, name) for name in _names([record]) if name not in compared}
        groups.setdefault(json.dumps(kept, sort_keys=True), {})[record.seed] = record
    return groups


def _name(one: Runs, other: Runs, telling: set[str]) -> str:
    a, b = next(iter(one.values())), next(iter(other.values()))
    method = a.method if a.method == b.method else f"{a.method} -> {b.method}"
    settings = [f"{name} {json.dumps(a.parameters[name])}" for name in sorted(telling & a.parameters.keys())]
    return ", ".join([a.experiment, method, *settings])


def _numbers(record: Record) -> tuple[object, ...]:
    return record.status, record.curves, record.metrics, record.traces


def _changes(runs: str, one: Runs, other: Runs) -> list[Change]:
    found = []
    for metric in sorted({name for record in (*one.values(), *other.values()) for name in record.metrics}):
        a, b = ({seed: record.metrics.get(metric) for seed, record in each.items()} for each in (one, other))
        if a != b:
            pairs = [(a[seed], b[seed]) for seed in sorted(a.keys() & b.keys())]
            differences = [None if x is None or y is None else y - x for x, y in pairs]
            found.append(Change(runs, metric, _sample(a.values()), _sample(b.values()), _sample(differences)))
    return found


def _sample(values: Iterable[float | None]) -> Sample:
    good = statistics.finite(values)
    mean, half = statistics.interval(good)
    return Sample(mean if good else None, half if len(good) > 1 else None, len(good))


def _environment(here: Iterable[Record], there: Iterable[Record]) -> dict[str, tuple[list[str], list[str]]]:
    a, b = _surroundings(here), _surroundings(there)
    pairs = {name: (sorted(a.get(name, ())), sorted(b.get(name, ()))) for name in dict.fromkeys([*a, *b])}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _surroundings(found: Iterable[Record]) -> dict[str, set[str]]:
    values: dict[str, set[str]] = {}
    for record in found:
        on, source, data = record.environment, record.source, record.data
        commit = (source.commit or "none")[:7] + "+changes" * bool(source.dirty)
        about = {"device": on.device, "threads": str(on.threads), "platform": on.platform}
        about |= on.versions | {"commit": commit, "data": data.description}
        about |= {f"{data.name}, {file}": digest for file, digest in data.checksums.items()}
        for name, value in about.items():
            values.setdefault(name, set()).add(value)
    return values


def _verdicts(a: Side, b: Side, experiments: set[str]) -> list[Flip]:
    """The verdicts that differ, of which only those on the ``experiments`` whose records differ can."""
    judged = []
    for side in (a, b):
        found = ledger.entries(side.records, experiments)
        judged.append({entry.id: {"verdict": entry.verdict.verdict, "numbers": entry.numbers} for entry in found})
    return ledger.flips(*judged)


def _shortened(text: str) -> str:
    """Digests cut to 12 characters; the JSON form has them whole."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b", r"\1", text)


def _listed(values: Iterable[str]) -> str:
    shown = list(values)
    more = f" and {len(shown) - 4} more" if len(shown) > 4 else ""
    return (" / ".join(shown[:4]) or "none") + more


def _written(sample: Sample, sign: str = "") -> str:
    if sample.mean is None:
        return "none"
    spread = "" if sample.half is None else f" ± {sample.half:.2g}"
    return f"{sample.mean:{sign}.5g}{spread} (n = {sample.n})"
