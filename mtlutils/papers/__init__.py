"""The papers' published numbers, claims and protocol, as data: one YAML file a paper."""

from mtlutils.papers.paper import (
    Best,
    Claim,
    Column,
    Gap,
    Inconsistency,
    Order,
    Paper,
    Part,
    Rank,
    Row,
    Table,
    Untested,
    Within,
    load,
    names,
    read,
)

__all__ = [
    "Best",
    "Claim",
    "Column",
    "Gap",
    "Inconsistency",
    "Order",
    "Paper",
    "Part",
    "Rank",
    "Row",
    "Table",
    "Untested",
    "Within",
    "load",
    "names",
    "read",
]
