"""Which records reproduce which cells of a published table."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from mtlutils import balancing, profiles, records
from mtlutils.comparisons import Cell
from mtlutils.papers import Table
from mtlutils.records import TIMING, Record

PROFILES = ("paper", "cpu")
"""Profiles whose records may stand beside published numbers, the best first."""

Key = tuple[str, str]
"""Row and column of a table: row id, or a name for a row that is not in the paper (see ``Table.row_of``); column id."""


@dataclass
class Measured:
    """What was measured for a table.

    Attributes:
        cells: Values of each cell.
        records: The records behind each cell.
        problems: What is wrong with files that should have been records.
    """

    cells: dict[Key, Cell] = field(default_factory=dict)
    records: dict[Key, list[Record]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def published(self, table: Table) -> dict[Key, Cell]:
        """Return the cells that the published table has too."""
        rows = {row.id for row in table.rows}
        return {key: cell for key, cell in self.cells.items() if key[0] in rows}

    def all_records(self) -> list[Record]:
        """Return every record once."""
        return list({record.key: record for each in self.records.values() for record in each}.values())


def belongs(record: Record, parameters: Mapping[str, Any]) -> bool:
    """Return whether a notebook with these ``parameters`` asks for this record.

    A list stands for each of its values, as it does for an experiment, or for itself where the setting is one. Of the
    tasks, a single-task model has one.
    """
    methods = set(map(_as_in_records, parameters["methods"]))
    if record.method not in methods or record.seed not in parameters["seeds"]:
        return False
    alone = {"tasks"} if record.method == "single_task" else set()
    asked = {name: parameters[name] for name in record.parameters.keys() & parameters.keys() - alone}
    return all(
        record.parameters[name] == value or (isinstance(value, list) and record.parameters[name] in value)
        for name, value in asked.items()
    )


def committed(
    experiment: str,
    parameters: Mapping[str, Any],
    stand_in: bool = False,
    among: Iterable[Record] | None = None,
) -> list[Record]:
    """Return the committed records that a notebook with these parameters asks for.

    They come in the order of its methods, then of the values that it lists for a setting, then by seed.

    Args:
        experiment: Name of the experiment.
        parameters: The notebook's.
        stand_in: Whether those on stand-in data count, which may fill no cell beside a published number.
        among: Records to take them from; None: the committed ones.
    """
    methods = list(map(_as_in_records, parameters["methods"]))
    if among is None:
        good, _ = _committed(experiment)
    else:
        good = [record for record in among if record.experiment == experiment]
    kinds = {"real", "none"} | ({"stand-in"} if stand_in else set())
    found = _of_all_tasks([record for record in good if record.data.kind in kinds and belongs(record, parameters)])

    def place(record: Record) -> tuple[int, list[int], int]:
        asked = record.parameters.keys() & parameters.keys() - {"tasks"}
        listed = [n for n in asked if isinstance(parameters[n], list) and record.parameters[n] != parameters[n]]
        places = [parameters[name].index(record.parameters[name]) for name in sorted(listed)]
        return methods.index(record.method), places, record.seed

    return sorted(found, key=place)


def _of_all_tasks(found: list[Record]) -> list[Record]:
    """Leave out models of several tasks that were trained on fewer of them than others at the same setting."""
    most: dict[str, int] = {}  # setting -> number of tasks
    placed = []
    for record in found:
        rest = dict(record.parameters)
        tasks = rest.pop("tasks", None)
        n_tasks = len(tasks) if isinstance(tasks, list) and record.method != "single_task" else None
        setting = json.dumps(rest, sort_keys=True)
        placed.append((record, setting, n_tasks))
        most[setting] = max(most.get(setting, 0), n_tasks or 0)
    return [record for record, setting, n_tasks in placed if n_tasks in (None, most[setting])]


def measured(table: Table, found: Iterable[Record], profile: str) -> Measured:
    """Sort records into the cells of a table, in the units of its columns.

    Times are compared on one device alone, that of most of the runs in the table's own rows.

    Args:
        table: The published table.
        found: Records of the table's experiment, all at one setting but for what tells its rows and columns apart.
        profile: Name of that setting.
    """
    result = Measured()
    rows = {row.id for row in table.rows}
    placed = [(table.row_of(record.method, record.parameters), record) for record in found]
    devices = Counter(record.environment.device for row, record in placed if row in rows)
    timed_on = {device for device, _ in devices.most_common(1)}
    elsewhere = set()
    for row, record in placed:
        for column in table.columns:
            key = (row, column.id)
            metric = table.metric_key(column.id)
            # A single-task run has the metric of its own task only.
            if metric not in record.numbers or not column.selects(record.parameters):
                continue
            if metric.startswith(TIMING) and record.environment.device not in timed_on:
                elsewhere.add(record.key)
            else:
                result.records.setdefault(key, []).append(record)
    if elsewhere:
        result.problems.append(f"the times of {len(elsewhere)} runs, on another device than most")
    for key, each in result.records.items():
        metric, column = table.metric_key(key[1]), table.column(key[1])
        values = {record.seed: column.in_unit(record.numbers[metric]) for record in each}
        result.cells[key] = Cell(values=values, profile=profile, data=each[0].data.kind)
    return result


def reproduced(table: Table, among: Sequence[Record] | None = None) -> Measured:
    """Return, for each cell, what the records of the best profile that has any say.

    They are those of the notebook's main runs and, for a row that names a study, of that study. A table whose rows all
    name one has nothing of the main runs, nor rows of methods that it does not have.

    Args:
        table: The published table.
        among: Records to take them from; None: the committed ones.
    """
    study_of = {row.id: row.study for row in table.rows}
    result = Measured()
    if among is None:
        result.problems += [str(error) for error in _committed(table.experiment)[1]]
    for profile in reversed(PROFILES):
        parameters = profiles.parameters(profile, table.experiment)
        if parameters is not None:
            found = {
                record.key: record
                for study in dict.fromkeys(study_of.values())
                for record in committed(table.experiment, profiles.of_study(parameters, study), among=among)
                if study_of.get(table.row_of(record.method, record.parameters), "") == study
            }
            better = measured(table, found.values(), profile)
            result.cells |= better.cells
            result.records |= better.records
            result.problems += better.problems
    return result


def side_by_side(
    experiment: str,
    this_run: Sequence[Record],
    profile: str,
    studies: Sequence[str] = ("",),
    stand_in: bool = False,
) -> dict[str, Sequence[Record]]:
    """Return what a figure should show, by heading: the best profile's committed records, and those of this run.

    Where this run has loaded the committed records, they are shown once.

    Args:
        experiment: Name of the experiment.
        this_run: Its records, just made or loaded.
        profile: What their settings are called.
        studies: Which of the notebook's studies they are of (see :func:`mtlutils.profiles.of_study`).
        stand_in: Whether to show committed records on stand-in data, under a heading that says so.
    """
    groups: dict[str, Sequence[Record]] = {}
    for name in PROFILES:
        parameters = profiles.parameters(name, experiment)
        if parameters is not None and not groups:
            each = [committed(experiment, profiles.of_study(parameters, study), stand_in) for study in studies]
            found = list({record.key: record for study in each for record in study}.values())
            if found:
                is_reproduced = all(record.data.kind != "stand-in" for record in found)
                groups[_heading("Reproduced" if is_reproduced else "Committed", found, name)] = found
    shown = {record.key for found in groups.values() for record in found}
    if not {record.key for record in this_run} <= shown:
        groups[_heading("This run", this_run, profile)] = this_run
    return groups


def _heading(what: str, found: Sequence[Record], profile: str) -> str:
    names = ", ".join(dict.fromkeys(record.data.name for record in found))
    name = {"real": f"{names}, ", "stand-in": f"stand-in: {names}, ", "none": ""}[found[0].data.kind]
    return f"{what} ({name}profile {profile})"


def chosen_learning_rate(found: Iterable[Record], method: str = "equal") -> float | None:
    """Return the learning rate at which a method, equal weighting unless told, has the best validation accuracy.

    The accuracy is the mean over tasks and seeds. Where there are none, it is the rate with the lowest validation
    losses, by their geometric mean, which depends on no task's unit. A rate at which any seed diverged is out. None:
    no such records.
    """
    scores: dict[float, list[float | None]] = {}
    for record in found:
        if record.method == method:
            rate = record.parameters["learning_rate"]
            assert isinstance(rate, float)
            accuracies, losses = (
                [value for name, value in record.metrics.items() if name.startswith(f"validation/{what}/")]
                for what in ("accuracy", "loss")
            )
            each = accuracies or [None if loss is None else -math.log(loss) for loss in losses]
            scores.setdefault(rate, []).extend(each or [None])
    means = {}
    for rate, values in scores.items():
        good = [value for value in values if value is not None]
        if len(good) == len(values):
            means[rate] = sum(good) / len(good)
    return max(means, key=means.__getitem__, default=None)


@cache
def _as_in_records(method: str) -> str:
    return balancing.label(*balancing.parse(method))


@cache
def _committed(experiment: str) -> tuple[list[Record], list[records.RecordError]]:
    return records.read_all(records.committed(), experiment)
