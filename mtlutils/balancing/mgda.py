"""Multiple-gradient descent algorithm (Désidéri 2012; Sener & Koltun 2018)."""

from typing import Unpack

from torchjd.aggregation import MGDAWeighting

from mtlutils.balancing.gradient_method import GradientMethod, Options


class MGDA(GradientMethod):
    r"""The shortest vector in the convex hull of the tasks' gradients, which descends on every loss.

    .. math:: \min_w \Bigl\lVert \sum_t w_t g_t \Bigr\rVert^2 \quad \text{with} \quad w \ge 0, \quad \sum_t w_t = 1

    Sener & Koltun 2018 (*Multi-task learning as multi-objective optimization*), algorithm 2, the Frank-Wolfe
    method; Désidéri 2012 is its origin. TorchJD's implementation: exact for two tasks, for more it comes as
    near as ``max_iters`` lets it. Sener & Koltun's MGDA-UB is ``gradients="representation"``; their heads are weighted,
    as with ``heads="weighted"``.

    Args:
        n_tasks: Number of tasks T.
        epsilon: Step of the solver below which it stops.
        max_iters: The most steps that it takes.
        options: ``gradients`` and ``heads``, as for every gradient method.
    """

    def __init__(self, n_tasks: int, epsilon: float = 0.001, max_iters: int = 100, **options: Unpack[Options]) -> None:
        super().__init__(n_tasks, MGDAWeighting(epsilon, max_iters), **options)
