"""Adaptive weight assignment (Huq & Pervin 2022)."""

from typing import Literal

import torch
from torch import Tensor

from mtlutils.balancing.balancer import Balancer


class Adaptive(Balancer):
    r"""Weights proportional to the losses: :math:`w_t = T L_t / \sum_i L_i`, total :math:`\sum_t w_t L_t`.

    Huq & Pervin 2022, Algorithm 1, whose n is the number of tasks T, so that the weights sum to T. Where the losses sum
    to 0, as on a batch without targets, every weight is 1.

    The paper leaves two choices open:

    Args:
        n_tasks: Number of tasks T.
        detach: Whether the weights count as constants when the total is differentiated. If not, the total is the
            function :math:`T \sum_t L_t^2 / \sum_t L_t`, whose derivative is the weight really applied:
            :math:`T (2 L_t S - Q) / S^2` with :math:`S = \sum_i L_i`, :math:`Q = \sum_i L_i^2`. It is *negative* for
            a task whose loss is below :math:`Q / 2S`: the loss of an easy task is then driven up.
        every: ``"step"`` takes the losses of the current batch, as Algorithm 1 reads; ``"epoch"`` takes the mean
            losses of the previous epoch, as sections 2.2 and 3.3 say, with weights 1 during the first. The weights
            are then constants whatever ``detach`` says, so ``detach=False`` is refused.
    """

    epoch_weights: Tensor
    loss_sum: Tensor

    def __init__(self, n_tasks: int, detach: bool = True, every: Literal["step", "epoch"] = "step") -> None:
        super().__init__(n_tasks)
        if every not in ("step", "epoch"):
            raise ValueError(f"every must be 'step' or 'epoch', got {every!r}")
        if every == "epoch" and not detach:
            raise ValueError("weights taken each epoch are constants; detach=False needs every='step'")
        self.detach = detach
        self.every = every
        self.register_buffer("epoch_weights", torch.ones(n_tasks))
        self.register_buffer("loss_sum", torch.zeros(n_tasks))

    def weigh(self, losses: Tensor) -> Tensor:
        """Return the weights (T,), which sum to T."""
        if self.every == "epoch":
            self.loss_sum += losses.detach()
            return self.epoch_weights
        return self._proportional(losses.detach() if self.detach else losses)

    def end_epoch(self) -> None:
        """Take the next epoch's weights from the losses of the epoch that has ended."""
        if self.every == "epoch":
            # Their sum is in the proportions of their mean.
            self.epoch_weights = self._proportional(self.loss_sum)
            self.loss_sum = torch.zeros_like(self.loss_sum)

    def _proportional(self, losses: Tensor) -> Tensor:
        # The product before the sum: gradients add up in the opposite order, and the last digits of records hang on it.
        scaled, total = self.n_tasks * losses, losses.sum()
        is_nothing = total == 0  # then 1 / 1 in the place of 0 / 0, whose derivative would be nan too
        return (scaled + is_nothing) / (total + is_nothing)
