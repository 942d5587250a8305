"""Scaled loss approximate weighting (Crawshaw & Košecká 2021)."""

from typing import Literal

import torch
from torch import Tensor

from mtlutils.balancing.balancer import Balancer


class SLAW(Balancer):
    r"""Weights in inverse proportion to how much each loss varies: :math:`w_t = T\, s_t^{-1} / \sum_i s_i^{-1}`.

    .. math:: a_t \leftarrow \beta a_t + (1 - \beta) L_t^2, \qquad b_t \leftarrow \beta b_t + (1 - \beta) L_t, \qquad
              s_t = \sqrt{a_t - b_t^2}

    Crawshaw & Košecká 2021 (*SLAW: scaled loss approximate weighting for efficient multi-task learning*): the standard
    deviation :math:`s_t` stands for the length of the task's gradient, which then needs no backward pass of its own.
    What is left to choose:

    Args:
        n_tasks: Number of tasks T.
        beta: :math:`\beta`, below 1.
        start: What a and b start from. ``"corrected"``: from 0, and divided by :math:`1 - \beta^k` after k steps, as
            Adam's moments are; ``"published"``: as in the published code, they are plain means of the first
            :math:`1 / (1 - \beta)` steps; ``"first"``: from the first losses; ``"zero"``: from 0, so that :math:`s_t`
            has much of the mean loss in it for about as many steps. But for the last, the first step has weights of 1.
        epsilon: Lowest :math:`s_t`, as in the published code.
    """

    mean: Tensor
    variance: Tensor
    n_steps: Tensor

    def __init__(
        self,
        n_tasks: int,
        beta: float = 0.99,
        start: Literal["corrected", "published", "first", "zero"] = "corrected",
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__(n_tasks)
        if not 0 <= beta < 1:
            raise ValueError(f"beta must be at least 0 and below 1, got {beta}")
        if start not in ("corrected", "published", "first", "zero"):
            raise ValueError(f"start must be 'corrected', 'published', 'first' or 'zero', got {start!r}")
        if not epsilon > 0:
            raise ValueError(f"epsilon must be positive, got {epsilon}")
        self.beta = beta
        self.start = start
        self.epsilon = epsilon
        self.register_buffer("mean", torch.zeros(n_tasks))
        self.register_buffer("variance", torch.zeros(n_tasks))
        self.register_buffer("n_steps", torch.zeros((), dtype=torch.float64))

    def weigh(self, losses: Tensor) -> Tensor:
        """Return the weights (T,), which sum to T."""
        # The mean b and the variance a - b², rather than a: its difference to b² would be lost in rounding.
        self.n_steps = self.n_steps + 1
        share = self._share().to(losses)
        change = losses.detach() - self.mean
        self.mean = self.mean + share * change
        self.variance = (1 - share) * (self.variance + share * change.square())
        inverse = 1 / self.variance.sqrt().clamp(min=self.epsilon)
        return self.n_tasks * inverse / inverse.sum()

    def _share(self) -> Tensor:
        """Return what part the newest losses have in the averages."""
        if self.start == "corrected":
            return (1 - self.beta) / (1 - self.beta**self.n_steps)
        constant = torch.full_like(self.n_steps, 1 - self.beta)
        if self.start == "published":
            return torch.maximum(constant, 1 / self.n_steps)
        return constant if self.start == "zero" else torch.where(self.n_steps > 1, constant, 1.0)
