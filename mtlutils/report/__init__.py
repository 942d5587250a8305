"""Records, papers and verdicts -> the tables in notebooks."""

from mtlutils.report.box import box, number, provenance, sources
from mtlutils.report.dense import measured
from mtlutils.report.fingers import task_by_task, tuning
from mtlutils.report.landscape import landscape, rank_agreement
from mtlutils.report.published import comparison, verdicts
from mtlutils.report.studies import cost_shares, costs, loss_shares, variants

__all__ = [
    "box",
    "comparison",
    "cost_shares",
    "costs",
    "landscape",
    "loss_shares",
    "measured",
    "number",
    "provenance",
    "rank_agreement",
    "sources",
    "task_by_task",
    "tuning",
    "variants",
    "verdicts",
]
