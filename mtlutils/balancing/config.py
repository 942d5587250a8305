"""Conflict-free inverse gradients (Liu et al. 2024)."""

from collections.abc import Sequence
from typing import Unpack

import torch
import torchjd.aggregation
from torch import Tensor

from mtlutils.balancing.gradient_method import GradientMethod, Options, factor, preference_vector


class ConFIG(GradientMethod):
    r"""The direction that has the same cosine with every task's gradient, as long as its projections together.

    .. math:: \hat d = \frac{U^+ 1}{\lVert U^+ 1 \rVert}, \qquad \Bigl( \sum_t g_t \cdot \hat d \Bigr)\, \hat d

    with the rows :math:`g_t / \lVert g_t \rVert` of U. Liu, Chu & Thuerey 2024 (*ConFIG: towards conflict-free training
    of physics informed neural networks*), equation 2. TorchJD's implementation, on a matrix with the same
    inner products as G, T numbers wide, which also shows the weights that make the direction of the gradients.

    Args:
        n_tasks: Number of tasks T.
        preferences: What the cosines are in proportion to, one number a task, in place of 1.
        options: ``gradients`` and ``heads``, as for every gradient method.
    """

    def __init__(self, n_tasks: int, preferences: Sequence[float] | None = None, **options: Unpack[Options]) -> None:
        super().__init__(n_tasks, **options)
        self._config = torchjd.aggregation.ConFIG(preference_vector(preferences, n_tasks))

    def weigh_gramian(self, gramian: Tensor) -> Tensor:
        """Return the weights (T,)."""
        matrix = factor(gramian / gramian.trace())
        combined: Tensor = self._config(matrix)
        return combined @ torch.linalg.pinv(matrix)
