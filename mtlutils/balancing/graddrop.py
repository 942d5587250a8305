"""Gradient sign dropout (Chen et al. 2020)."""

from collections.abc import Sequence

import torch
import torchjd.aggregation
from torch import Tensor

from mtlutils.balancing.gradient_method import GradientMethod, Gradients


class GradDrop(GradientMethod):
    r"""The sum of the tasks' gradients, in each entry of those of one sign only, which is drawn.

    .. math:: P = \frac12 \left( 1 + \frac{\sum_t g_t}{\sum_t |g_t|} \right), \qquad
              \sum_t \bigl( \ell_t + (1 - \ell_t)\, m_t \bigr)\, g_t, \qquad
              m_t = [P > U][g_t > 0] + [P < U][g_t < 0]

    entry by entry, with U uniform from 0 to 1. Chen et al. 2020 (*Just pick a sign: optimizing deep multitask models
    with gradient sign dropout*), algorithm 1, lines 10 to 15, with f the identity. TorchJD's implementation. The paper
    takes the gradients of an activation, as ``gradients="representation"`` does; by default they are those of the
    parameters.

    No task's gradient is multiplied by a number, so that ``weights`` is None and the heads descend on their own losses.

    Args:
        n_tasks: Number of tasks T.
        leak: :math:`\ell_t`, from 0 to 1, the share of a task's gradient that is never dropped; one a task, or one for
            all. 1 is the sum of the gradients.
        gradients: What the gradients are taken of, as for every gradient method.
    """

    leak: Tensor

    def __init__(self, n_tasks: int, leak: float | Sequence[float] = 0.0, gradients: Gradients = "shared") -> None:
        super().__init__(n_tasks, gradients=gradients)
        given = torch.as_tensor(leak, dtype=torch.float32)
        if given.shape not in ((), (n_tasks,)) or not ((given >= 0) & (given <= 1)).all():
            raise ValueError(f"leak must be from 0 to 1, one or {n_tasks} of them, got {leak}")
        self.register_buffer("leak", given.expand(n_tasks).clone(), persistent=False)

    def aggregate(self, matrix: Tensor) -> tuple[Tensor, None]:
        """Combine gradients (T, P) into one (P,); there are no weights."""
        combined: Tensor = torchjd.aggregation.GradDrop(leak=self.leak.to(matrix))(matrix)
        return combined, None
