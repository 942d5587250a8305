"""Nash bargaining (Navon et al. 2022)."""

from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtlutils.balancing.gradient_method import GradientMethod, Options

Array = NDArray[np.float64]


class NashMTL(GradientMethod):
    r"""The Nash bargaining solution: weights :math:`w > 0` with :math:`G G^\top w = 1 / w`, entry by entry.

    The utility of task t is :math:`g_t \cdot d`, and the direction :math:`d = \sum_t w_t g_t` maximises the sum of
    their logarithms over all of its length (Navon et al. 2022, *Multi-task learning as a bargaining game*, equation 2).
    The published code, and TorchJD, approach these weights by a sequence of convex problems (algorithm 1), each of them
    given to a solver, which often stops early where the gradients' lengths differ. Here they are the minimum of
    :math:`\frac12 w^\top G G^\top w - \sum_t \log w_t`, whose gradient is zero just there, and which Newton's method
    finds in some ten steps. As :math:`\lVert d \rVert^2 = w^\top G G^\top w = T` whatever the gradients, the
    default ``max_norm`` cuts every update to length 1. A task whose gradient is zero has no utility to bargain for, and
    weight 0.

    Args:
        n_tasks: Number of tasks T.
        max_norm: Length to which a longer update is cut; 0 for none.
        update_weights_every: Steps from one solution to the next.
        options: ``gradients`` and ``heads``, as for every gradient method. In the published code the heads are
            weighted, as with ``heads="weighted"``.
    """

    def __init__(
        self, n_tasks: int, max_norm: float = 1.0, update_weights_every: int = 1, **options: Unpack[Options]
    ) -> None:
        super().__init__(n_tasks, **options)
        if not max_norm >= 0:
            raise ValueError(f"max_norm must not be negative, got {max_norm}")
        if update_weights_every < 1:
            raise ValueError(f"update_weights_every must be at least 1, got {update_weights_every}")
        self.max_norm = max_norm
        self.update_weights_every = update_weights_every
        self._solution = torch.ones(n_tasks, dtype=torch.float64)
        self._n_steps = 0

    def weigh_gramian(self, gramian: Tensor) -> Tensor:
        """Return the weights (T,)."""
        if self._n_steps % self.update_weights_every == 0:
            self._solution = torch.from_numpy(bargain(gramian.numpy()))
        self._n_steps += 1
        length = (self._solution @ gramian @ self._solution).clamp(min=0).sqrt()
        return self._solution * (self.max_norm / length if length > self.max_norm > 0 else 1)

    def get_extra_state(self) -> dict[str, Any]:
        """Return the last solution, and how many steps there were."""
        return {"solution": self._solution, "n_steps": self._n_steps}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take the last solution back."""
        self._solution = state["solution"].cpu()
        self._n_steps = state["n_steps"]


def bargain(gramian: Array) -> Array:
    """Return the weights w > 0 (T,) with ``gramian @ w = 1 / w``, and 0 for tasks whose gradient is zero.

    Where some w > 0 has ``gramian @ w = 0``, as with two opposite gradients, no such weights exist; those returned then
    are large, and near to such a w.

    Args:
        gramian: Inner products (T, T) of the tasks' gradients.
    """
    lengths = np.sqrt(np.diag(gramian))
    some = lengths > 0
    # With the cosines in the place of the inner products, how long the gradients are makes no difference to Newton's
    # method. What is added is below what single precision, in which gradients come, can tell apart.
    cosines = gramian[np.ix_(some, some)] / np.outer(lengths[some], lengths[some]) + 1e-10 * np.eye(some.sum())
    solution = np.ones(len(cosines))
    for _ in range(100):
        slope = cosines @ solution - 1 / solution
        step = np.linalg.solve(cosines + np.diag(solution**-2.0), slope)
        decrement = np.sqrt(max(slope @ step, 0))
        # The objective is self-concordant: such a step stays above 0, and converges from wherever it starts
        # (Boyd & Vandenberghe, Convex Optimization, section 9.6).
        solution -= step / (1 + decrement)
        if decrement < 1e-8:
            break
    weights = np.zeros(len(gramian))
    weights[some] = solution / lengths[some]
    return weights
