"""Records, papers and verdicts -> the tables in notebooks."""

from mtlutils.report.architectures import rates, sharing
from mtlutils.report.auxiliary import MainMetric, auxiliary_scheme, found_out, ground_truth, judgements, main_task
from mtlutils.report.box import box, measured_cell, number, provenance, sources
from mtlutils.report.dense import measured
from mtlutils.report.fingers import task_by_task, tuning
from mtlutils.report.landscape import landscape, rank_agreement
from mtlutils.report.published import comparison, verdicts
from mtlutils.report.studies import cost_shares, costs, loss_shares, variants

__all__ = [
    "MainMetric",
    "auxiliary_scheme",
    "box",
    "comparison",
    "cost_shares",
    "costs",
    "found_out",
    "ground_truth",
    "judgements",
    "landscape",
    "loss_shares",
    "main_task",
    "measured",
    "measured_cell",
    "number",
    "provenance",
    "rank_agreement",
    "rates",
    "sharing",
    "sources",
    "task_by_task",
    "tuning",
    "variants",
    "verdicts",
]
