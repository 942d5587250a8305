"""Smooth Tchebycheff scalarisation (Lin et al. 2024)."""

from collections.abc import Sequence

import torch
import torchjd.scalarization
from torch import Tensor

from mtlutils.balancing.scalarized import Scalarized


class STCH(Scalarized):
    r"""A smooth maximum of the losses: :math:`\mu \ln \sum_t e^{p_t (L_t - z_t) / \mu}`.

    Lin et al. 2024 (*Smooth Tchebycheff scalarization for multi-objective optimization*), so that
    :math:`w = p \cdot \mathrm{softmax}(p (L - z) / \mu)`. TorchJD's implementation. The choices are left to the user:

    Args:
        n_tasks: Number of tasks T.
        mu: :math:`\mu`; the smaller, the more the largest loss alone counts. The paper tries 0.01 to 1.
        preferences: p, one positive number a task, scaled to sum to 1; None: 1 / T each.
        reference: z, the lowest values that the losses may reach, one a task or one for all.
    """

    preferences: Tensor
    reference: Tensor

    def __init__(
        self,
        n_tasks: int,
        mu: float = 1.0,
        preferences: Sequence[float] | None = None,
        reference: float | Sequence[float] = 0.0,
    ) -> None:
        if not mu > 0:
            raise ValueError(f"mu must be positive, got {mu}")
        super().__init__(n_tasks, torchjd.scalarization.STCH(mu))
        given = torch.ones(n_tasks) if preferences is None else torch.as_tensor(preferences, dtype=torch.float32)
        if given.shape != (n_tasks,) or not (given > 0).all():
            raise ValueError(f"preferences must be positive, {n_tasks} of them, got {preferences}")
        ideal = torch.as_tensor(reference, dtype=torch.float32)
        if ideal.shape not in ((), (n_tasks,)):
            raise ValueError(f"reference must be one number or {n_tasks}, got {reference}")
        # TorchJD's own would stay behind where the balancer moves to a GPU.
        self.register_buffer("preferences", given / given.sum(), persistent=False)
        self.register_buffer("reference", ideal, persistent=False)

    def combine(self, losses: Tensor) -> Tensor:
        """Return the smooth maximum."""
        # TorchJD's has preferences of 1 / T.
        return super().combine(self.n_tasks * self.preferences * (losses - self.reference))
