"""Orthogonal gradients (Suteu & Guo 2019)."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mtlutils.balancing.balancer import Balancer
from mtlutils.balancing.gradients import add_gradient, each_gradient
from mtlutils.errors import InputError
from mtlutils.models import MultiTaskModel


class Orthogonal(Balancer):
    r"""Equal weights, and a penalty on the squared cosines between the tasks' gradients of the shared parameters.

    .. math:: \sum_t L_t + \alpha \sum_{s < t} \cos^2(g_s, g_t), \qquad g_t = \nabla_\theta L_t

    Suteu & Guo 2019 (*Regularizing deep multi-task networks using orthogonal gradients*). The penalty is differentiated
    once more, through the gradients; a step takes T backward passes whose graph is kept, one through all of them and an
    ordinary one. What the penalty adds is no multiple of any task's gradient, so that ``weights`` is None.

    What is left to choose:

    Args:
        n_tasks: Number of tasks T.
        strength: :math:`\alpha`; 0 is ``equal``.
        penalised: Which parameters follow the penalty: the ``"shared"`` ones, of which the paper speaks, or ``"all"``,
            since the gradients depend on the heads as well.
        pairs: ``"sum"``, as above, or ``"mean"`` over the pairs of tasks.
    """

    def __init__(
        self,
        n_tasks: int,
        strength: float = 0.1,
        penalised: Literal["shared", "all"] = "shared",
        pairs: Literal["sum", "mean"] = "sum",
    ) -> None:
        super().__init__(n_tasks)
        if not strength >= 0:
            raise ValueError(f"strength must not be negative, got {strength}")
        if penalised not in ("shared", "all"):
            raise ValueError(f"penalised must be 'shared' or 'all', got {penalised!r}")
        if pairs not in ("sum", "mean"):
            raise ValueError(f"pairs must be 'sum' or 'mean', got {pairs!r}")
        self.strength = strength
        self.penalised = penalised
        self.pairs = pairs

    def backward(self, losses: Tensor, model: MultiTaskModel) -> None:
        """Add the gradient of the losses' sum and of the penalty to the model's gradients.

        Raises:
            InputError: the model has no shared parameters that learn.
        """
        shared = [parameter for parameter in model.shared_parameters() if parameter.requires_grad]
        if not shared:
            raise InputError("orthogonal needs shared parameters that learn; the model has none")
        penalty = self.strength * self.penalty(losses, shared)
        others = [parameter for parameter in model.task_parameters() if parameter.requires_grad]
        targets = shared if self.penalised == "shared" else [*shared, *others]
        if penalty.requires_grad:  # not where every loss is linear in the parameters
            gradients = torch.autograd.grad(penalty, targets, retain_graph=True, allow_unused=True)
            for parameter, gradient in zip(targets, gradients, strict=True):
                if gradient is not None:
                    add_gradient(parameter, gradient)
        losses.sum().backward()

    def penalty(self, losses: Tensor, shared: list[torch.nn.Parameter]) -> Tensor:
        """Return the squared cosines between the gradients of ``losses`` (T,), summed up, with their graph."""
        rows = []
        for gradients in each_gradient(losses, shared, create_graph=True):
            parts = zip(shared, gradients, strict=True)
            rows.append(torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in parts]))
        directions = normalize(torch.stack(rows), dim=1)
        squared = (directions @ directions.T).triu(diagonal=1).square().sum()
        n_pairs = self.n_tasks * (self.n_tasks - 1) / 2
        return squared / max(n_pairs, 1) if self.pairs == "mean" else squared
