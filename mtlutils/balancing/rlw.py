"""Random loss weighting (Lin et al. 2022)."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mtlutils.balancing.balancer import Balancer

Distribution = Literal["normal", "uniform", "dirichlet", "bernoulli", "constrained_bernoulli"]


def _coins(n: int) -> Tensor:
    """Return a fair coin a task (n,), tossed again where all of them are 0."""
    while not (coins := torch.bernoulli(torch.full((n,), 0.5))).any():
        pass
    return coins / coins.sum()


# Each gives n weights that sum to 1.
_DRAWS: dict[str, Callable[[int], Tensor]] = {
    "normal": lambda n: torch.randn(n).softmax(dim=0),
    "uniform": lambda n: torch.rand(n).softmax(dim=0),
    "dirichlet": lambda n: torch.distributions.Dirichlet(torch.ones(n)).sample(),
    "bernoulli": _coins,
    "constrained_bernoulli": lambda n: one_hot(torch.randint(n, ()), n).float(),
}


class RLW(Balancer):
    r"""Weights drawn anew at every step: :math:`w = T\,\mathrm{softmax}(z)`, :math:`z_t \sim N(0, 1)`.

    Lin et al. 2022 (*Reasonable effectiveness of random weighting: a litmus test for multi-task learning*), algorithm
    2. Their weights sum to 1; the mean update is then that of equal weights at a learning rate divided by T. Drawn from
    PyTorch's generator of the CPU, whatever the device, so that a seed gives the same weights everywhere.

    Args:
        n_tasks: Number of tasks T.
        distribution: What the paper draws from. ``"normal"`` and ``"uniform"`` (from 0 to 1) pass through a softmax;
            ``"dirichlet"`` is uniform over all weights of that sum; ``"bernoulli"`` gives the tasks whose fair coin
            shows 1 the same weight and the others none (tossed again where no coin does);
            ``"constrained_bernoulli"`` gives one task everything.
        total: What the weights sum to: ``"n_tasks"``, as those of ``equal``, or ``"one"``, as in the paper.
    """

    def __init__(
        self, n_tasks: int, distribution: Distribution = "normal", total: Literal["n_tasks", "one"] = "n_tasks"
    ) -> None:
        super().__init__(n_tasks)
        if distribution not in _DRAWS:
            raise ValueError(f"distribution must be one of {', '.join(_DRAWS)}, got {distribution!r}")
        if total not in ("n_tasks", "one"):
            raise ValueError(f"total must be 'n_tasks' or 'one', got {total!r}")
        self.distribution = distribution
        self.total = total

    def weigh(self, losses: Tensor) -> Tensor:
        """Return new weights (T,)."""
        weights = _DRAWS[self.distribution](self.n_tasks).to(losses)
        return self.n_tasks * weights if self.total == "n_tasks" else weights
