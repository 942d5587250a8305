"""Geometric mean of the losses (Chennupati et al. 2019)."""

import torchjd.scalarization
from torch import Tensor

from mtlutils.balancing.scalarized import Scalarized


class GeometricMean(Scalarized):
    r"""Minimises :math:`F = \left( \prod_t L_t \right)^{1/T}`, so that :math:`w_t = F / (T L_t)`.

    Chennupati, Sistu, Yogamani & Rawashdeh 2019 (*MultiNet++*), the geometric loss strategy (GLS). Scaling
    one loss scales the total, and leaves the proportions of the weighted losses. TorchJD's implementation. Losses must
    not be negative.

    Args:
        n_tasks: Number of tasks T.
        epsilon: What a smaller loss counts as; it has no weight. The weight of a loss of 0, as that of a batch without
            a target, would be infinite.
    """

    def __init__(self, n_tasks: int, epsilon: float = 1e-8) -> None:
        super().__init__(n_tasks, torchjd.scalarization.GeometricMean())
        if not epsilon > 0:
            raise ValueError(f"epsilon must be positive, got {epsilon}")
        self.epsilon = epsilon

    def combine(self, losses: Tensor) -> Tensor:
        """Return the geometric mean (scalar) of losses (T,)."""
        return super().combine(losses.clamp(min=self.epsilon))
