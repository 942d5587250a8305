"""What one paper published, as typed data, and the loader of its YAML file."""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from mtlutils.errors import InputError


class _Published(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Published):
    """A column of a published table, and which of our numbers stand in it."""

    id: str
    label: str = Field(description="As published")
    task: str | None = Field(None, description="Task whose metric fills the column; put into the table's metric key")
    parameters: dict[str, JsonValue] = Field({}, description="Parameters that a record must have to fill the column")

    def selects(self, parameters: Mapping[str, Any]) -> bool:
        """Return whether a record with these ``parameters`` belongs in this column."""
        return all(name in parameters and parameters[name] == value for name, value in self.parameters.items())


class Row(_Published):
    """A row of a published table."""

    id: str
    label: str = Field(description="As published")
    method: str = Field(description="Name of the method in this code")
    printed: tuple[str, ...] = Field(description="The numbers as the paper prints them, one a column")
    bold: tuple[str, ...] = Field((), description="Ids of the columns that the paper prints in bold in this row")
    second: tuple[str, ...] = Field((), description="Ids of the columns marked as second best in this row")


class Table(_Published):
    """A published table."""

    id: str
    label: str = Field(description="As the paper calls it")
    caption: str = Field(description="In our words")
    unit: str = Field(description="Unit of the printed numbers")
    direction: Literal["higher", "lower"] = Field(description="Which values are better")
    compare: Literal["difference", "ratio"] = Field(
        "difference", description="How two cells are compared; by ratio where the unit depends on the hardware"
    )
    experiment: str = Field(description="Experiment that reproduces the table; its notebook has the same name")
    metric: str = Field(description="Key of the metric in our records; {task} stands for the column's task")
    scale: float = Field(1.0, gt=0, description="Factor from our records' metric to the table's unit")
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

    def metric_key(self, column: str) -> str:
        """Return the key of the metric that fills ``column`` (an id) in our records."""
        return self.metric.format(task=self.column(column).task)

    def in_unit(self, value: float | None) -> float | None:
        """Return a metric of our records in ``unit``; None, of a diverged run, stays None."""
        return None if value is None else value * self.scale

    def printed(self, row: str, column: str) -> str:
        """Return a cell as the paper prints it."""
        return self.row(row).printed[[each.id for each in self.columns].index(column)]

    def value(self, row: str, column: str) -> float:
        """Return a cell's value, in ``unit``."""
        return float(self.printed(row, column))

    def ranking(self, column: str) -> list[str]:
        """Return the ids of the rows from best to worst in ``column``; equal ones stand in the table's order."""
        sign = -1 if self.direction == "higher" else 1
        return sorted((row.id for row in self.rows), key=lambda row: sign * self.value(row, column))

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        columns = _distinct(self.id, "column", [column.id for column in self.columns])
        _distinct(self.id, "row", [row.id for row in self.rows])
        if "{task}" in self.metric and any(column.task is None for column in self.columns):
            raise ValueError(f"{self.id}: the metric key needs a task in every column")
        for row in self.rows:
            if len(row.printed) != len(columns):
                raise ValueError(f"{self.id}, {row.id}: {len(row.printed)} values for {len(columns)} columns")
            for value in row.printed:
                if not _is_number(value):
                    raise ValueError(f"{self.id}, {row.id}: {value!r} is not a number")
                if self.compare == "ratio" and float(value) <= 0:
                    raise ValueError(f"{self.id}, {row.id}: a ratio needs positive values, got {value}")
            _known(f"{self.id}, {row.id}", "column", [*row.bold, *row.second], columns)
        return self


class _Part(_Published):
    row: str
    columns: tuple[str, ...] = Field((), description="Ids; none means every column")


class Order(_Part):
    """The row is better than each of the other rows, in each of the columns."""

    kind: Literal["order"]
    others: tuple[str, ...] = Field(min_length=1)


class Best(_Part):
    """The row is better than every other row of the table, in each of the columns."""

    kind: Literal["best"]


class Rank(_Part):
    """The row is the ``rank``-th best of the table, in each of the columns."""

    kind: Literal["rank"]
    rank: int = Field(ge=1)


class Within(_Part):
    """The row is worse than each of the other rows by less than a factor or an amount, in each of the columns."""

    kind: Literal["within"]
    others: tuple[str, ...] = Field(min_length=1)
    factor: float | None = Field(None, gt=1, description="For a table compared by ratio")
    amount: float | None = Field(None, gt=0, description="For a table compared by difference, in its unit")


Part = Annotated[Order | Best | Rank | Within, Field(discriminator="kind")]


class Claim(_Published):
    """A claim of the paper as a statement over the cells of one table; it holds where all its parts do."""

    id: str
    table: str
    sources: tuple[str, ...] = Field(min_length=1, description="Sections of the paper that say so")
    statement: str = Field(description="In our words")
    parts: tuple[Part, ...] = Field(min_length=1)
    note: str = Field("", description="How we read the paper where it can be read otherwise")


class Gap(_Published):
    """Something a rerun has to know that the paper leaves open, or that we do otherwise."""

    topic: str
    paper: str = Field(description="What the paper says, or that it says nothing")
    chosen: str
    why: str


class Inconsistency(_Published):
    """Two places of the paper that cannot both be right."""

    topic: str
    finding: str


class Untested(_Published):
    """A claim of the paper that no cell of a table can decide."""

    sources: tuple[str, ...] = Field(min_length=1)
    statement: str = Field(description="In our words")
    why: str = Field(description="Why we do not test it")


class Paper(_Published):
    """A paper: its tables, its claims, and what it leaves open."""

    key: str = Field(description="Name of the file, and of the paper in this code")
    bibtex: str = Field(description="Key in book/references.bib")
    title: str
    authors: tuple[str, ...] = Field(min_length=1)
    year: int
    doi: str | None = None
    tables: tuple[Table, ...] = Field(min_length=1)
    claims: tuple[Claim, ...]
    untested: tuple[Untested, ...]
    gaps: tuple[Gap, ...]
    inconsistencies: tuple[Inconsistency, ...]

    def table(self, table: str) -> Table:
        """Return a table by its id.

        Raises:
            InputError: the paper has no such table.
        """
        tables = {each.id: each for each in self.tables}
        if table not in tables:
            raise InputError(f"{self.key} has no table {table!r}; it has {', '.join(tables)}")
        return tables[table]

    def claims_on(self, table: str) -> tuple[Claim, ...]:
        """Return the claims about a table, by its id, in the paper's order."""
        return tuple(claim for claim in self.claims if claim.table == table)

    @model_validator(mode="after")
    def _claims_name_cells(self) -> Self:
        tables = {table.id: table for table in self.tables}
        _distinct(self.key, "table", [table.id for table in self.tables])
        _distinct(self.key, "claim", [claim.id for claim in self.claims])
        for claim in self.claims:
            where = f"claim {claim.id}"
            _known(where, "table", [claim.table], tables)
            table = tables[claim.table]
            rows = [row.id for row in table.rows]
            for part in claim.parts:
                others = part.others if isinstance(part, Order | Within) else ()
                _known(where, "row", [part.row, *others], rows)
                _known(where, "column", part.columns, [column.id for column in table.columns])
                if part.row in others:
                    raise ValueError(f"{where}: {part.row} is compared with itself")
                if isinstance(part, Rank) and part.rank > len(rows):
                    raise ValueError(f"{where}: rank {part.rank} of {len(rows)} rows")
                if isinstance(part, Within):
                    bounds = {"difference": part.amount, "ratio": part.factor}
                    if [kind for kind, bound in bounds.items() if bound is not None] != [table.compare]:
                        wanted = "`factor`" if table.compare == "ratio" else "`amount`"
                        raise ValueError(f"{where}: {table.id} is compared by {table.compare}, so give {wanted} alone")
        return self


def names() -> list[str]:
    """Return the names of the papers that can be loaded."""
    return sorted(path.stem for path in _folder().glob("*.yml"))


def load(name: str) -> Paper:
    """Load a paper by its name.

    Raises:
        InputError: there is no such paper, or its file is broken.
    """
    if name not in names():
        raise InputError(f"unknown paper {name!r}; known: {', '.join(names())}")
    return read(_folder() / f"{name}.yml")


def read(path: Path) -> Paper:
    """Read and validate one paper's file.

    Raises:
        InputError: the file cannot be read, is not YAML, or is not a complete paper; names the file and the place.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    try:
        paper = Paper.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        more = f"; {error.error_count() - 1} more" if error.error_count() > 1 else ""
        raise InputError(f"{path}: {where + ': ' if where else ''}{first['msg']}{more}") from error
    if paper.key != path.stem:
        raise InputError(f"{path}: key is {paper.key!r}; it must be the file's name, {path.stem!r}")
    return paper


def _folder() -> Path:
    return Path(__file__).resolve().parent


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _distinct(where: str, what: str, ids: Iterable[str]) -> list[str]:
    ids = list(ids)
    twice: Iterator[str] = (each for each in ids if ids.count(each) > 1)
    if (first := next(twice, None)) is not None:
        raise ValueError(f"{where}: {what} {first!r} appears twice")
    return ids


def _known(where: str, what: str, ids: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for each in ids:
        if each not in known:
            raise ValueError(f"{where}: unknown {what} {each!r}; known: {', '.join(known)}")
