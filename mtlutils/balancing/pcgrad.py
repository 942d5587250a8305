"""Projecting conflicting gradients (Yu et al. 2020)."""

from typing import Unpack

from torchjd.aggregation import PCGradWeighting

from mtlutils.balancing.gradient_method import GradientMethod, Options


class PCGrad(GradientMethod):
    r"""The sum of the tasks' gradients, each without what conflicts with the others'.

    From :math:`g_t^\mathrm{PC} = g_t`, for the other tasks i in a random order, drawn anew for each task:

    .. math:: g_t^\mathrm{PC} \leftarrow g_t^\mathrm{PC} - \frac{g_t^\mathrm{PC} \cdot g_i}{\lVert g_i \rVert^2}\, g_i
              \quad \text{where} \quad g_t^\mathrm{PC} \cdot g_i < 0

    Yu et al. 2020 (*Gradient surgery for multi-task learning*), algorithm 1. Each :math:`g_t^\mathrm{PC}` is a sum of
    the gradients, and so is the update; without a conflict all weights are 1. TorchJD's implementation.

    Args:
        n_tasks: Number of tasks T.
        options: ``gradients`` and ``heads``, as for every gradient method.
    """

    def __init__(self, n_tasks: int, **options: Unpack[Options]) -> None:
        super().__init__(n_tasks, PCGradWeighting(), **options)
