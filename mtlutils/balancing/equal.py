"""Equal weights."""

import torch
from torch import Tensor

from mtlutils.balancing.balancer import Balancer


class Equal(Balancer):
    r"""Vanilla multi-task learning: :math:`\sum_t L_t`, every weight 1 (Huq & Pervin 2022, equation 1 with W = 1)."""

    def weigh(self, losses: Tensor) -> Tensor:
        """Return ones (T,)."""
        return torch.ones_like(losses)
