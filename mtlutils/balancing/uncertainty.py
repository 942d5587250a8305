"""Uncertainty weighting (Kendall et al. 2018)."""

from collections.abc import Sequence
from typing import Literal

import torch
import torchjd.scalarization
from torch import Tensor

from mtlutils.balancing.scalarized import Scalarized

Kind = Literal["classification", "regression"]


class Uncertainty(Scalarized):
    r"""Learned weights: :math:`\sum_t e^{-s_t} L_t + s_t / 2` with :math:`s_t = \log \sigma_t^2`, starting at 0.

    Kendall, Gal & Cipolla 2018 (*Multi-task learning using uncertainty to weigh losses*), equations 7 and 10, for
    classification (cross entropy, by the paper's approximation). For a regression task (squared error under Gaussian
    noise) the first term is half of that. TorchJD's implementation has the half throughout, so the losses of
    classification tasks enter it doubled.

    Args:
        n_tasks: Number of tasks T.
        kinds: Each task's kind, or one for all of them.
    """

    factors: Tensor

    def __init__(self, n_tasks: int, kinds: Kind | Sequence[Kind] = "classification") -> None:
        super().__init__(n_tasks, torchjd.scalarization.UW(n_tasks))
        each = [kinds] * n_tasks if isinstance(kinds, str) else list(kinds)
        if len(each) != n_tasks or not set(each) <= {"classification", "regression"}:
            raise ValueError(f"kinds must be 'classification' or 'regression', one or {n_tasks} of them, got {kinds!r}")
        self.register_buffer("factors", torch.tensor([2.0 if kind == "classification" else 1.0 for kind in each]))

    def combine(self, losses: Tensor) -> Tensor:
        """Return the negative log-likelihood, up to a constant."""
        return super().combine(self.factors * losses)
