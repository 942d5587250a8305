"""LogSE (Ghasemi-Naraghi et al. 2022)."""

from typing import Literal

import torch
from torch import Tensor

from mtlutils.balancing.balancer import Balancer


class LogSE(Balancer):
    r"""Minimises the sum of the losses' logarithms, :math:`\sum_t \ln L_t`, so that :math:`w_t = 1 / L_t`.

    Ghasemi-Naraghi, Nickabadi & Safabakhsh 2022 (*LogSE: an uncertainty-based multi-task loss function for learning two
    regression tasks*) capture the noise of each task, the same for all inputs, without further parameters. Their
    abstract has no formula; this is the one that follows from it. The negative log-likelihood of squared errors under
    Gaussian noise, :math:`L_t / 2 \sigma_t^2 + \ln \sigma_t`, is least at :math:`\sigma_t^2 = L_t`, where it is
    :math:`\frac12 \ln L_t` and a constant. So it is what ``uncertainty(kinds=regression)`` tends to, at once and
    with nothing to learn; losses are squared errors, and positive.

    Args:
        n_tasks: Number of tasks T; the paper has two.
        form: ``"sum_of_logs"``, as above, or ``"log_of_sum_of_exponentials"``, :math:`\ln \sum_t e^{L_t}`, the other
            reading of the name, with weights :math:`\mathrm{softmax}(L)`.
        factor: What the total is multiplied by; 1/2 is the likelihood's.
        epsilon: What is added to each loss inside its logarithm, so that no weight exceeds its inverse.
    """

    def __init__(
        self,
        n_tasks: int,
        form: Literal["sum_of_logs", "log_of_sum_of_exponentials"] = "sum_of_logs",
        factor: float = 1.0,
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(n_tasks)
        if form not in ("sum_of_logs", "log_of_sum_of_exponentials"):
            raise ValueError(f"form must be 'sum_of_logs' or 'log_of_sum_of_exponentials', got {form!r}")
        if not factor > 0:
            raise ValueError(f"factor must be positive, got {factor}")
        if not epsilon >= 0:
            raise ValueError(f"epsilon must not be negative, got {epsilon}")
        self.form = form
        self.factor = factor
        self.epsilon = epsilon

    def combine(self, losses: Tensor) -> Tensor:
        """Return the total."""
        if self.form == "sum_of_logs":
            return self.factor * (losses + self.epsilon).log().sum()
        return self.factor * torch.logsumexp(losses, dim=0)
