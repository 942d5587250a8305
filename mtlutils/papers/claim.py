"""A claim as a statement over the cells of a published table."""

from typing import Annotated, Literal

from pydantic import Field

from mtlutils.papers.published import Published, known
from mtlutils.papers.table import Table


class _Part(Published):
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
    factor: float | None = Field(None, gt=1, description="For a column compared by ratio")
    amount: float | None = Field(None, gt=0, description="For a column compared by difference, in its unit")


Part = Annotated[Order | Best | Rank | Within, Field(discriminator="kind")]


class Claim(Published):
    """A claim of the paper as a statement over the cells of one table; it holds where all its parts do."""

    id: str
    table: str
    sources: tuple[str, ...] = Field(min_length=1, description="Sections of the paper that say so")
    statement: str = Field(description="In our words")
    parts: tuple[Part, ...] = Field(min_length=1)
    note: str = Field("", description="How we read the paper where it can be read otherwise")

    def check(self, table: Table) -> None:
        """Raise ValueError unless every part is about cells that ``table`` has and that this code can measure."""
        for part in self.parts:
            self._check_part(part, table)

    def _check_part(self, part: Part, table: Table) -> None:
        where = f"claim {self.id}"
        rows = [row.id for row in table.rows]
        others = part.others if isinstance(part, Order | Within) else ()
        known(where, "row", [part.row, *others], rows)
        known(where, "column", part.columns, [column.id for column in table.columns])
        if part.row in others:
            raise ValueError(f"{where}: {part.row} is compared with itself")
        for row in [part.row, *others] if others else rows:
            if table.row(row).method is None:
                raise ValueError(f"{where}: {row} has no method here, so that nothing can test it; see `untested`")
        for column in [table.column(each) for each in part.columns] or table.columns:
            if isinstance(part, Rank) and (part.rank > len(rows) or len(table.ranking(column.id)) < len(rows)):
                printed = len(table.ranking(column.id))
                raise ValueError(f"{where}: rank {part.rank} of {printed} rows, of which each must have a number")
            if isinstance(part, Within):
                bounds = {"difference": part.amount, "ratio": part.factor}
                if [kind for kind, bound in bounds.items() if bound is not None] != [column.compare]:
                    wanted = "`factor`" if column.compare == "ratio" else "`amount`"
                    raise ValueError(
                        f"{where}: {column.id} of {table.id} is compared by {column.compare}, so give {wanted} alone"
                    )


class Untested(Published):
    """A claim of the paper that no cell of a table can decide."""

    sources: tuple[str, ...] = Field(min_length=1)
    statement: str = Field(description="In our words")
    why: str = Field(description="Why we do not test it")
