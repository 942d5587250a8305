"""Dynamic weight average (Liu et al. 2019)."""

import torch
import torchjd.scalarization
from torch import Tensor

from mtlutils.balancing.scalarized import Scalarized


class _Rates(torchjd.scalarization.DWA):
    """TorchJD's, but for a loss whose mean was 0, as that of a task without targets for an epoch."""

    def __init__(self, temperature: float) -> None:
        super().__init__(temperature)
        self._means: list[Tensor] = []  # as they were, for the ratios of the next epoch

    def step(self) -> None:
        self._previous_averages = self._means
        super().step()
        self._means = self._previous_averages
        if len(self._means) == 2:
            # From 0 no rate can be told, and 0 / 0 would make every task's weight nan: it counts as neither slow nor
            # fast, with a ratio of 1 / 1.
            unknown = self._means[0] == 0
            self._previous_averages = [torch.where(unknown, 1.0, mean) for mean in self._means]


class DWA(Scalarized):
    r"""Weights by how slowly each loss falls: :math:`w_t = T\,\mathrm{softmax}_t(r_t / \tau)`.

    Liu, Johns & Davison 2019 (*End-to-end multi-task learning with attention*), equation 7: T is the number of tasks,
    :math:`r_t = L_t(e-1) / L_t(e-2)`, and :math:`L_t(e)` the mean loss of epoch e. Weights are 1 during the first two
    epochs. TorchJD's implementation, but for :math:`r_t = 1` where :math:`L_t(e-2) = 0`.

    Args:
        n_tasks: Number of tasks T.
        temperature: :math:`\tau`; a higher one makes the weights more alike.
    """

    def __init__(self, n_tasks: int, temperature: float = 2.0) -> None:
        super().__init__(n_tasks, _Rates(temperature))
