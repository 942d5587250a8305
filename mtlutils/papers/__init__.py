"""The papers' published numbers, claims and protocol, as data: one YAML file a paper."""

from mtlutils.papers.claim import Best, Claim, Order, Part, Rank, Untested, Within
from mtlutils.papers.loader import every, load, names, read
from mtlutils.papers.paper import Gap, Inconsistency, Paper
from mtlutils.papers.table import Column, Row, Table

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
    "every",
    "load",
    "names",
    "read",
]
