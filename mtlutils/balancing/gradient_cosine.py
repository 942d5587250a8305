"""Auxiliary tasks gated by gradient similarity (Du et al. 2018)."""

from typing import Unpack

import torch
from torch import Tensor

from mtlutils.balancing.gradient_method import GradientMethod, Options


class GradientCosine(GradientMethod):
    r"""The main task's gradient, and of the auxiliary ones those that point to its side.

    .. math:: g_m + \sum_{t \ne m} w_t\, g_t, \qquad w_t = [\cos(g_m, g_t) > 0] \quad \text{or, weighted,} \quad
              w_t = \max(0, \cos(g_m, g_t))

    with m the main task. Each term that is added has a positive inner product with :math:`g_m`, so that the update is a
    descent direction of :math:`L_m`, and zero only where :math:`g_m` is: small enough steps of gradient descent
    converge to the main task's critical points. That is all the paper promises: a gate keeps out what harms the main
    task at this step; it does not know what helps it later.

    Du, Czarnecki, Jayakumar, Farajtabar, Pascanu & Lakshminarayanan 2018 (*Adapting auxiliary losses using gradient
    similarity*), the weighted and the unweighted version. Heads descend on their own task's loss, gated or not, as
    there (``heads="own"``). A cosine of 0, which a gradient of 0 also has here, does not open the gate, although in the
    review of Vafaeikia et al. 2020 any that is not negative does; were it to, an auxiliary task could lead away from a
    critical point of the main one.

    Args:
        n_tasks: Number of tasks T.
        main: The main task m, counted from 0.
        weighted: Whether :math:`w_t` is the cosine, where that is positive, or 1.
        options: ``gradients`` and ``heads``, as for every gradient method.
    """

    def __init__(self, n_tasks: int, main: int = 0, weighted: bool = False, **options: Unpack[Options]) -> None:
        super().__init__(n_tasks, **options)
        if main not in range(n_tasks):
            raise ValueError(f"main must be a task, 0 to {n_tasks - 1}, got {main}")
        self.main = main
        self.weighted = weighted

    def weigh_gramian(self, gramian: Tensor) -> Tensor:
        """Return the weights (T,)."""
        squares = gramian.diagonal()
        # Roots first: the product of two small squares could be 0.
        lengths = squares.sqrt() * squares[self.main].sqrt()
        cosines = torch.where(lengths > 0, gramian[self.main] / lengths, 0).clamp(0, 1)
        weights = cosines if self.weighted else (cosines > 0).to(cosines)
        weights[self.main] = 1
        return weights
