"""Fast adaptive multitask optimisation (Liu et al. 2023)."""

from collections.abc import Sequence
from typing import Any

import torch
import torchjd.scalarization
from torch import Tensor

from mtlutils.balancing.balancer import Closure
from mtlutils.balancing.scalarized import Scalarized
from mtlutils.balancing.split_only import substituted
from mtlutils.models import MultiTaskModel


class FAMO(Scalarized):
    r"""Weights that let the logarithms of all losses fall alike, learned from how far the last step lowered each.

    .. math:: w_t = c\, \frac{z_t}{L_t - b_t}, \qquad z = \mathrm{softmax}(\xi), \qquad \sum_t w_t = 1

    After the step the losses are computed again, and :math:`\xi` takes a step of Adam along
    :math:`-J^\top \delta` with J the Jacobian of z and :math:`\delta_t = \ln(L_t - b_t) - \ln(L_t' - b_t)`. Liu, Feng,
    Stone & Liu 2023 (*FAMO: fast adaptive multitask optimization*), algorithm 2. TorchJD's implementation. Losses must
    stay above b.

    The second pass is a forward one, on the same batch; only the first updates a model's buffers, such as the running
    statistics of batch norm.

    Args:
        n_tasks: Number of tasks T.
        min_losses: b, the lowest values of the losses, one a task or one for all.
        weight_learning_rate: Adam's rate for :math:`\xi`.
        weight_decay: Adam's decay of :math:`\xi`; 1e-3 is the paper's, 1e-5 the published code's.
    """

    scalarizer: torchjd.scalarization.FAMO

    def __init__(
        self,
        n_tasks: int,
        min_losses: float | Sequence[float] = 0.0,
        weight_learning_rate: float = 0.025,
        weight_decay: float = 1e-3,
    ) -> None:
        lowest = torch.as_tensor(min_losses, dtype=torch.float32)
        lowest = lowest.expand(n_tasks).clone() if lowest.dim() == 0 else lowest
        super().__init__(n_tasks, torchjd.scalarization.FAMO(n_tasks, lowest, weight_learning_rate, weight_decay))

    def step(self, closure: Closure, model: MultiTaskModel, optimizer: torch.optim.Optimizer) -> Tensor:
        """Take one optimiser step, then learn from it; arguments and result as for every method."""
        losses = super().step(closure, model, optimizer)
        with substituted(model, {}), torch.no_grad():
            self.scalarizer.update(self.losses_of(closure))
        return losses

    # Of the attributes that are TorchJD's own, one is an optimiser, which no checkpoint takes as it is. The losses
    # before a step are needed within the step alone.
    def get_extra_state(self) -> dict[str, Any]:
        """Return the state of Adam."""
        adam = self.scalarizer._optimizer
        return {"adam": None if adam is None else adam.state_dict()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Give Adam its state back."""
        if state["adam"] is None:
            self.scalarizer._optimizer = None
        else:
            self.scalarizer._optimizer = torch.optim.Adam(self.scalarizer.parameters())
            self.scalarizer._optimizer.load_state_dict(state["adam"])
