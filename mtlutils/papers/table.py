"""A published table, or a figure that claims are about, and which of our records fill it."""

import itertools
import math
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, JsonValue, model_validator

from mtlutils.papers.published import Published, distinct, known

Direction = Literal["higher", "lower"]
Compare = Literal["difference", "ratio"]


class Column(Published):
    """A column of a published table, and which of our numbers stand in it.

    What it shares with :class:`Table` it takes from there where the file says nothing else.
    """

    id: str
    label: str = Field(description="As published")
    task: str | None = Field(None, description="Task whose metric fills the column; put into the metric key")
    unit: str = Field(description="Unit of the printed numbers; empty for a pure number")
    direction: Direction
    compare: Compare
    metric: str
    scale: float = Field(gt=0)
    digits: int = Field(2, ge=0, description="Decimals with which we show what we measured")
    parameters: dict[str, JsonValue]

    def selects(self, parameters: Mapping[str, Any]) -> bool:
        """Return whether a record with these ``parameters`` belongs in this column."""
        return _has(parameters, self.parameters)

    def in_unit(self, value: float | None) -> float | None:
        """Return a metric of our records in ``unit``; None, where a run has no value, stays None."""
        return None if value is None else value * self.scale


class Row(Published):
    """A row of a published table."""

    id: str
    label: str = Field(description="As published")
    method: str | None = Field(
        description="Name of the method in this code; null where it has none: the row stays published only"
    )
    parameters: dict[str, JsonValue] = Field({}, description="Parameters that a record must have to fill the row")
    study: str = Field("", description="Study of the notebook whose runs fill the row; empty: its main runs")
    printed: tuple[str | None, ...] = Field(
        description="The numbers as the paper prints them, one a column; null where it prints none"
    )
    bold: tuple[str, ...] = Field((), description="Ids of the columns that the paper prints in bold in this row")
    second: tuple[str, ...] = Field((), description="Ids of the columns marked as second best in this row")

    def selects(self, method: str, parameters: Mapping[str, Any]) -> bool:
        """Return whether a record of this ``method`` with these ``parameters`` belongs in this row."""
        return self.method == method and _has(parameters, self.parameters)


class Table(Published):
    """A published table, or a figure that claims are about.

    Of a figure that prints no numbers each cell is null: it is filled by our records alone.
    """

    id: str
    label: str = Field(description="As the paper calls it")
    caption: str = Field(description="In our words")
    unit: str = Field(description="Unit of the printed numbers; empty for a pure number")
    direction: Direction = Field(description="Which values are better")
    compare: Compare = Field(
        "difference", description="How two cells are compared; by ratio where the unit depends on the hardware"
    )
    experiment: str = Field(description="Experiment that reproduces the table; its notebook has the same name")
    data: str = Field("", description="Data set that a rerun takes, for a reader who has to get it")
    metric: str = Field(description="Key of the metric in our records; {task} stands for the column's task")
    scale: float = Field(1.0, gt=0, description="Factor from our records' metric to the unit")
    parameters: dict[str, JsonValue] = Field({}, description="Parameters that a record must have to fill a column")
    columns: tuple[Column, ...] = Field(min_length=1)
    rows: tuple[Row, ...] = Field(min_length=1)

    @property
    def notebook(self) -> str:
        """Path of the notebook that reproduces the table, from the repository's root."""
        return f"notebooks/{self.experiment}.ipynb"

    def column(self, column: str) -> Column:
        """Return a column by its id; KeyError if there is none."""
        return {each.id: each for each in self.columns}[column]

    def row(self, row: str) -> Row:
        """Return a row by its id; KeyError if there is none."""
        return {each.id: each for each in self.rows}[row]

    def row_of(self, method: str, parameters: Mapping[str, Any]) -> str:
        """Return the id of the row that a record fills.

        Of a record that fits none it is the method's name, with what it has of the parameters that tell rows apart: a
        network that the paper does not have is then no row of the paper's.
        """
        for row in self.rows:
            if row.selects(method, parameters):
                return row.id
        telling = dict.fromkeys(name for row in self.rows for name in row.parameters if name in parameters)
        return ", ".join([method, *(f"{name} {_text(parameters[name])}" for name in telling)])

    def metric_key(self, column: str) -> str:
        """Return the key of the metric that fills ``column`` (an id) in our records."""
        found = self.column(column)
        return found.metric.format(task=found.task)

    def printed(self, row: str, column: str) -> str | None:
        """Return a cell as the paper prints it; None where it prints nothing."""
        return self.row(row).printed[[each.id for each in self.columns].index(column)]

    def value(self, row: str, column: str) -> float:
        """Return a cell's value, in the column's unit; nan where the paper prints nothing."""
        return float(self.printed(row, column) or "nan")

    def ranking(self, column: str) -> list[str]:
        """Return the ids of the rows with a number in ``column``, best first; equal ones stay in the table's order."""
        sign = -1 if self.column(column).direction == "higher" else 1
        rows = [row.id for row in self.rows if self.printed(row.id, column) is not None]
        return sorted(rows, key=lambda row: sign * self.value(row, column))

    @property
    def prints_numbers(self) -> bool:
        """Whether the paper prints any number; it does not in a figure."""
        return any(value is not None for row in self.rows for value in row.printed)

    @model_validator(mode="before")
    @classmethod
    def _columns_inherit(cls, content: Any) -> Any:
        if not isinstance(content, dict) or not isinstance(content.get("columns"), list | tuple):
            return content
        shared = {"compare": "difference", "scale": 1.0, "parameters": {}} | {
            name: content[name] for name in Column.model_fields.keys() & Table.model_fields.keys() if name in content
        }
        del shared["id"], shared["label"]
        columns = [shared | column if isinstance(column, dict) else column for column in content["columns"]]
        return content | {"columns": columns}

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        columns = distinct(self.id, "column", [column.id for column in self.columns])
        distinct(self.id, "row", [row.id for row in self.rows])
        if any("{task}" in column.metric and column.task is None for column in self.columns):
            raise ValueError(f"{self.id}: the metric key needs a task in every column")
        for row in self.rows:
            where = f"{self.id}, {row.id}"
            if len(row.printed) != len(columns):
                raise ValueError(f"{where}: {len(row.printed)} values for {len(columns)} columns")
            for column, value in zip(self.columns, row.printed, strict=True):
                if value is not None and not _is_number(value):
                    raise ValueError(f"{where}: {value!r} is not a number")
                if value is not None and column.compare == "ratio" and float(value) <= 0:
                    raise ValueError(f"{where}: a ratio needs positive values, got {value}")
                if value is None and column.id in (*row.bold, *row.second):
                    raise ValueError(f"{where}: {column.id} is marked and empty")
            known(where, "column", [*row.bold, *row.second], columns)
        for one, other in itertools.combinations(self.rows, 2):
            both = one.parameters.keys() & other.parameters.keys()
            if one.method == other.method is not None and all(one.parameters[n] == other.parameters[n] for n in both):
                raise ValueError(f"{self.id}: a record could fill both {one.id} and {other.id}; tell them apart")
        return self


def _has(parameters: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(name in parameters and parameters[name] == value for name, value in wanted.items())


def _text(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
