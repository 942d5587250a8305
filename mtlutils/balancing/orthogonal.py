"""Orthogonal gradients (Suteu & Guo 2019)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from mtlutils.balancing.balancer import Balancer
from mtlutils.balancing.gradient_method import gramian_of
from mtlutils.balancing.gradients import add_gradients, each_gradient, split_like, task_gradients
from mtlutils.errors import InputError
from mtlutils.models import MultiTaskModel


class Orthogonal(Balancer):
    r"""Equal weights, and a penalty on the squared cosines between the tasks' gradients of the shared parameters.

    .. math:: \sum_t L_t + \alpha \sum_{s < t} \cos^2(g_s, g_t), \qquad g_t = \nabla_\theta L_t

    Suteu & Guo 2019 (*Regularizing deep multi-task networks using orthogonal gradients*). The penalty is differentiated
    once more, through the gradients. A step takes T ordinary backward passes, from which follows how the penalty pulls
    on each :math:`g_t`; then, one task after the other, a backward pass whose graph is kept and one through that graph.
    What the penalty adds is no multiple of any task's gradient, so that ``weights`` is None.

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
            InputError: the model has no shared parameters that learn, or has a layer that PyTorch cannot differentiate
                twice.
        """
        shared = [parameter for parameter in model.shared_parameters() if parameter.requires_grad]
        own = [parameter for parameter in model.task_parameters() if parameter.requires_grad]
        matrix, of_own = task_gradients(losses, shared, own, retain_graph=True)  # (T, P)
        add_gradients(shared, split_like(matrix.sum(dim=0), shared))
        for gradients in of_own:
            add_gradients(own, gradients)

        gramian = gramian_of(matrix).requires_grad_()
        (slope,) = torch.autograd.grad(self.strength * self.penalty(gramian), gramian)
        # The penalty's gradient with respect to the tasks' gradients is a combination of these: a row each.
        pulls = (slope + slope.T).to(matrix)  # (T, T)
        targets = shared if self.penalised == "shared" else [*shared, *own]
        graphs = each_gradient(losses, shared, create_graph=True)
        # The graph of one task's gradient after the other's: all of them at once would take T times the memory.
        try:
            for row in pulls:
                add_gradients(targets, _second(next(graphs), split_like(row @ matrix, shared), targets))
        except NotImplementedError as error:
            raise InputError(f"orthogonal: the model cannot be differentiated twice ({error})") from error

    def penalty(self, gramian: Tensor) -> Tensor:
        """Return the squared cosines between gradients of inner products (T, T), summed up or their mean."""
        squared_lengths = gramian.diagonal().clamp(min=1e-30)  # the cosine with a gradient of length 0 is 0
        squared = gramian.square() / (squared_lengths[:, None] * squared_lengths)
        total = squared.triu(diagonal=1).sum()
        return total / max(self.n_tasks * (self.n_tasks - 1) / 2, 1) if self.pairs == "mean" else total


def _second(
    gradients: Sequence[Tensor | None], vectors: Sequence[Tensor], targets: Sequence[Tensor]
) -> Sequence[Tensor | None]:
    """Differentiate gradients' inner products with vectors; a function, so that the gradients' graph ends with it."""
    # A parameter in which the loss is linear, or which it does not have, adds nothing.
    curved = [(g, vector) for g, vector in zip(gradients, vectors, strict=True) if g is not None and g.requires_grad]
    if not curved:
        return [None] * len(targets)
    outputs, weights = zip(*curved, strict=True)
    return torch.autograd.grad(outputs, targets, weights, retain_graph=True, allow_unused=True)
