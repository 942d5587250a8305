"""Records -> figures."""

from mtlutils.figures.architectures import improvement_against_size
from mtlutils.figures.auxiliary import opinion, opinions, targets_against_signal
from mtlutils.figures.convergence import convergence
from mtlutils.figures.cost import cost
from mtlutils.figures.curves import loss_curves, sweep, weight_curves
from mtlutils.figures.dense import dense, dense_across
from mtlutils.figures.drawing import Groups, methods_of, show, tasks_of
from mtlutils.figures.images import images
from mtlutils.figures.landscape import family, improvement_against_cost, improvements, step_memories
from mtlutils.figures.primer import combinations, descents, per_seed
from mtlutils.figures.schemes import sharing_schemes
from mtlutils.figures.single_step import gradients_on_surfaces, loss_ratios, loss_share
from mtlutils.figures.trade_offs import metric_against_time, step_costs, task_against_task
from mtlutils.figures.weights import drawn_weights

__all__ = [
    "Groups",
    "combinations",
    "convergence",
    "cost",
    "dense",
    "dense_across",
    "descents",
    "drawn_weights",
    "family",
    "gradients_on_surfaces",
    "images",
    "improvement_against_cost",
    "improvement_against_size",
    "improvements",
    "loss_curves",
    "loss_ratios",
    "loss_share",
    "methods_of",
    "metric_against_time",
    "opinion",
    "opinions",
    "per_seed",
    "sharing_schemes",
    "show",
    "step_costs",
    "step_memories",
    "sweep",
    "targets_against_signal",
    "task_against_task",
    "tasks_of",
    "weight_curves",
]
