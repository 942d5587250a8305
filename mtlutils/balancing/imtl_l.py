"""Impartial multi-task learning, losses (Liu et al. 2021)."""

import torchjd.scalarization

from mtlutils.balancing.scalarized import Scalarized


class IMTLL(Scalarized):
    r"""Learned scales that bring all losses to 1: :math:`\sum_t e^{s_t} L_t - s_t`, with :math:`s_t` from 0.

    Liu et al. 2021 (*Towards impartial multi-task learning*), the loss part of IMTL. The weights
    :math:`e^{s_t}` tend to :math:`1 / L_t`. It is twice the ``uncertainty`` of regression tasks, with the other sign of
    :math:`s_t`. TorchJD's implementation.
    """

    def __init__(self, n_tasks: int) -> None:
        super().__init__(n_tasks, torchjd.scalarization.IMTLL(n_tasks))
