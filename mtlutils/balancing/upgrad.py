"""Unconflicting projection of gradients (Quinton & Rey 2024)."""

from collections.abc import Sequence
from typing import Unpack

from torchjd.aggregation import UPGradWeighting
from torchjd.linalg import QuadprogProjector

from mtlutils.balancing.gradient_method import GradientMethod, Options, preference_vector


class UPGrad(GradientMethod):
    r"""The mean of the tasks' gradients, each projected on the directions that raise no loss.

    .. math:: \sum_t p_t\, \pi(g_t), \qquad \pi(g) = \operatorname*{arg\,min}_d \lVert d - g \rVert
              \quad \text{with} \quad g_i \cdot d \ge 0 \text{ for every } i

    and :math:`p_t = 1 / T`. Quinton & Rey 2024 (*Jacobian descent for multi-objective optimization*), with equation
    3, whose implementation TorchJD is, with the solver quadprog. The weights are at least p, and they are p
    where no gradients conflict.

    Args:
        n_tasks: Number of tasks T.
        preferences: p, one number a task; None: 1 / T each.
        reg_eps: What is added to the diagonal of the Gramian, whose trace is scaled to 1, for the solver's sake.
            TorchJD has 1e-4, for Gramians in single precision; here they are in double.
        options: ``gradients`` and ``heads``, as for every gradient method.
    """

    def __init__(
        self,
        n_tasks: int,
        preferences: Sequence[float] | None = None,
        reg_eps: float = 1e-8,
        **options: Unpack[Options],
    ) -> None:
        projector = QuadprogProjector(reg_eps=reg_eps)
        super().__init__(n_tasks, **options)
        self.weighting = UPGradWeighting(preference_vector(preferences, n_tasks), projector)
