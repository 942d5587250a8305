"""Nash bargaining (Navon et al. 2022)."""

import warnings
from typing import Any, Unpack

import torch
import torchjd.aggregation
from torch import Tensor

from mtlutils.balancing.gradient_method import GradientMethod, Options, factor
from mtlutils.balancing.solvers import require


class NashMTL(GradientMethod):
    r"""The Nash bargaining solution: weights :math:`w > 0` with :math:`G G^\top w = 1 / w`, entry by entry.

    The utility of task t is :math:`g_t \cdot d`, and the direction :math:`d = \sum_t w_t g_t` maximises the sum of
    their logarithms over all of its length. Navon et al. 2022 (*Multi-task learning as a bargaining game*), algorithm
    1, where ECOS solves a sequence of convex problems. TorchJD's implementation of the published code,
    each solution the start of the next; where ECOS fails on a Gramian, the weights of the step before stay. As
    :math:`\lVert d \rVert^2 = w^\top G G^\top w = T` whatever the gradients, the default ``max_norm`` cuts every
    update to length 1.

    Args:
        n_tasks: Number of tasks T.
        max_norm: Length to which a longer update is cut; 0 for none.
        update_weights_every: Steps from one solution to the next.
        optim_niter: The most convex problems a solution.
        options: ``gradients`` and ``heads``, as for every gradient method. In the published code the heads are
            weighted, as with ``heads="weighted"``.
    """

    def __init__(
        self,
        n_tasks: int,
        max_norm: float = 1.0,
        update_weights_every: int = 1,
        optim_niter: int = 20,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(n_tasks, **options)
        # Its weighting alone, since what is needed are the weights; only the aggregator is public.
        self._nash = torchjd.aggregation.NashMTL(n_tasks, max_norm, update_weights_every, optim_niter).weighting
        require("ECOS", "ecos", "nash_mtl")

    def weigh_gramian(self, gramian: Tensor) -> Tensor:
        """Return the weights (T,)."""
        if self.n_tasks == 1:  # TorchJD's problem needs two
            return min(self._nash.max_norm or 1.0, 1.0) / gramian[0].sqrt()
        with warnings.catch_warnings():
            # TorchJD's problem is compiled at every solution, and an inaccurate one is only a start for the next.
            warnings.simplefilter("ignore", UserWarning)
            return self._nash(factor(gramian))

    def get_extra_state(self) -> dict[str, Any]:
        """Return the last solution, and how many there were."""
        return {"solution": torch.from_numpy(self._nash.prvs_alpha.copy()), "step": self._nash.step}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take the last solution back."""
        self._nash.reset()
        if state["step"] > 0:
            # The convex problem is built at the first call, and cannot be stored.
            self.weigh_gramian(torch.eye(self.n_tasks, dtype=torch.float64))
            self._nash.prvs_alpha = state["solution"].cpu().numpy().copy()
            self._nash.step = state["step"]
