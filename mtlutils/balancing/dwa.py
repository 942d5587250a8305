"""Dynamic weight average (Liu et al. 2019)."""

import torchjd.scalarization

from mtlutils.balancing.scalarized import Scalarized


class DWA(Scalarized):
    r"""Weights by how slowly each loss falls: :math:`w_t = T\,\mathrm{softmax}_t(r_t / \tau)`.

    Liu, Johns & Davison 2019 (*End-to-end multi-task learning with attention*), equation 7: T is the number of tasks,
    :math:`r_t = L_t(e-1) / L_t(e-2)`, and :math:`L_t(e)` the mean loss of epoch e. Weights are 1 during the first two
    epochs. TorchJD's implementation.

    Args:
        n_tasks: Number of tasks T.
        temperature: :math:`\tau`; a higher one makes the weights more alike.
    """

    def __init__(self, n_tasks: int, temperature: float = 2.0) -> None:
        super().__init__(n_tasks, torchjd.scalarization.DWA(temperature))
