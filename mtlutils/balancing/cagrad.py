"""Conflict-averse gradient descent (Liu et al. 2021)."""

from typing import Unpack

from torchjd.aggregation import CAGradWeighting

from mtlutils.balancing.gradient_method import GradientMethod, Options
from mtlutils.errors import InputError


class CAGrad(GradientMethod):
    r"""The direction near the mean gradient that helps the task most that it helps least.

    .. math:: \max_d \min_t\; g_t \cdot d \quad \text{with} \quad \lVert d - g_0 \rVert \le c\, \lVert g_0 \rVert,
              \qquad g_0 = \frac1T \sum_t g_t

    Liu, Liu, Jin, Stone & Liu 2021 (*Conflict-averse gradient descent for multi-task learning*), algorithm
    1. TorchJD's implementation, which solves the dual problem by Clarabel: :math:`d = g_0 + c \lVert g_0
    \rVert\, g_\omega / \lVert g_\omega \rVert` with :math:`g_\omega = \sum_t \omega_t g_t`, and 0 where
    :math:`g_\omega` is: there no direction helps all tasks.

    Args:
        n_tasks: Number of tasks T.
        c: Radius c; 0 is the mean gradient. The paper has 0.4 on NYUv2.
        options: ``gradients`` and ``heads``, as for every gradient method.
    """

    def __init__(self, n_tasks: int, c: float = 0.4, **options: Unpack[Options]) -> None:
        super().__init__(n_tasks, CAGradWeighting(c), **options)
        import cvxpy  # slow to import

        # Without it TorchJD would go on, with the weights it had.
        if "CLARABEL" not in cvxpy.installed_solvers():
            raise InputError("cagrad needs the solver CLARABEL of the package clarabel; run pip install clarabel")
