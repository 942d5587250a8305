"""What one paper published: its tables, its claims, and what it leaves open."""

from typing import Self

from pydantic import Field, model_validator

from mtlutils.errors import InputError
from mtlutils.papers.claim import Claim, Untested
from mtlutils.papers.published import Published, distinct, known
from mtlutils.papers.table import Table


class Gap(Published):
    """Something a rerun has to know that the paper leaves open, or that we do otherwise."""

    topic: str
    paper: str = Field(description="What the paper says, or that it says nothing")
    chosen: str
    why: str


class Inconsistency(Published):
    """Two places of the paper that cannot both be right."""

    topic: str
    finding: str


class Paper(Published):
    """A paper: its tables, its claims, and what it leaves open."""

    key: str = Field(description="Name of the file, and of the paper in this code")
    bibtex: str = Field(description="Key in book/references.bib")
    title: str
    authors: tuple[str, ...] = Field(min_length=1)
    year: int
    doi: str | None = None
    abstract_only: bool = Field(False, description="Whether we had no more of it than its abstract")
    tables: tuple[Table, ...]
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
        distinct(self.key, "table", [table.id for table in self.tables])
        distinct(self.key, "claim", [claim.id for claim in self.claims])
        for claim in self.claims:
            known(f"claim {claim.id}", "table", [claim.table], tables)
            claim.check(tables[claim.table])
        return self
