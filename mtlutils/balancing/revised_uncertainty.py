"""Revised uncertainty weighting (Liebel & Körner 2018)."""

import torch
from torch import Tensor, nn

from mtlutils.balancing.balancer import Balancer


class RevisedUncertainty(Balancer):
    r"""Learned weights with a regulariser that stays positive: :math:`\sum_t L_t / 2c_t^2 + \ln(1 + c_t^2)`.

    Liebel & Körner 2018 (*Auxiliary tasks in multi-task learning*). Where uncertainty weighting adds
    :math:`\ln c_t`, which has no lower bound, this adds :math:`\ln(1 + c_t^2) > 0`.

    Args:
        n_tasks: Number of tasks T.
        initial: What every :math:`c_t` starts from; the paper does not say. 1 gives weights of 1/2.
    """

    def __init__(self, n_tasks: int, initial: float = 1.0) -> None:
        super().__init__(n_tasks)
        if not initial > 0:
            raise ValueError(f"initial must be positive, got {initial}")
        self.c = nn.Parameter(torch.full((n_tasks,), float(initial)))

    def weigh(self, losses: Tensor) -> Tensor:
        """Return the weights (T,)."""
        return 0.5 / self.c.square()

    def combine(self, losses: Tensor) -> Tensor:
        """Return the weighted sum with the regulariser."""
        return super().combine(losses) + torch.log1p(self.c.square()).sum()
