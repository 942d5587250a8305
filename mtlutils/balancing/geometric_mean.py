"""Geometric mean of the losses (Chennupati et al. 2019)."""

import torchjd.scalarization

from mtlutils.balancing.scalarized import Scalarized


class GeometricMean(Scalarized):
    r"""Minimises :math:`F = \left( \prod_t L_t \right)^{1/T}`, so that :math:`w_t = F / (T L_t)`.

    Chennupati, Sistu, Yogamani & Rawashdeh 2019 (*MultiNet++*), the geometric loss strategy (GLS). Scaling
    one loss scales the total, and leaves the proportions of the weighted losses. TorchJD's implementation. Losses must
    be positive.
    """

    def __init__(self, n_tasks: int) -> None:
        super().__init__(n_tasks, torchjd.scalarization.GeometricMean())
