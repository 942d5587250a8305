"""What every balancing method has in common."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mtlutils.errors import InputError
from mtlutils.models import MultiTaskModel

Closure = Callable[[], Tensor]
"""Computes the task losses (T,) of the current batch, with their graph.

It may have a method ``of(task)``, which computes the loss of one task, by its number, and runs no other head.
"""


class Balancer(nn.Module):
    r"""Turns T task losses into one update; as it stands, minimises :meth:`combine`, the weighted sum of the losses.

    A loss-weighting method overrides :meth:`weigh`, or :meth:`combine` where its total is more than a weighted sum;
    a gradient method overrides :meth:`backward`; an update rule overrides :meth:`step`.

    What a method must remember sits in ``state_dict()``; parameters that it learns are the optimiser's to update.

    Args:
        n_tasks: Number of tasks T.
    """

    weights: Tensor | None
    """(T,) What each task's gradient was last multiplied by; None before the first step, or without such weights."""

    traced: dict[str, Tensor]
    """Name -> (T,): what else a method lets be recorded of its last step."""

    def __init__(self, n_tasks: int) -> None:
        super().__init__()
        if n_tasks < 1:
            raise InputError(f"n_tasks must be at least 1, got {n_tasks}")
        self.n_tasks = n_tasks
        self.weights = None
        self.traced = {}

    def weigh(self, losses: Tensor) -> Tensor:
        """Return the weights (T,) of ``losses`` (T,)."""
        raise NotImplementedError(f"{type(self).__name__} weighs no losses: it overrides neither weigh nor combine")

    def combine(self, losses: Tensor) -> Tensor:
        """Return the scalar to be minimised, given ``losses`` (T,)."""
        return (self.weigh(losses) * losses).sum()

    def backward(self, losses: Tensor, model: MultiTaskModel) -> None:
        """Add the update's direction to the gradients of the model's parameters and of the balancer's own.

        The total is differentiated with respect to the losses first, which gives the weights as they are really
        applied, whatever the method's formula hides, and then the weighted losses with respect to the model. By the
        chain rule this is the gradient of the total, at the cost of one backward pass.
        """
        values = losses.detach().requires_grad_()
        self.combine(values).backward()
        assert values.grad is not None
        self.weights = values.grad
        losses.backward(self.weights)

    def step(self, closure: Closure, model: MultiTaskModel, optimizer: torch.optim.Optimizer) -> Tensor:
        """Take one optimiser step.

        Args:
            closure: Computes the task losses (T,) of the current batch, with their graph; see :data:`Closure`.
            model: The model that the losses depend on.
            optimizer: Holds the model's parameters, and the balancer's own where it has any.

        Returns:
            The task losses (T,) before the step, detached.
        """
        optimizer.zero_grad()
        losses = self.losses_of(closure)
        self.backward(losses, model)
        optimizer.step()
        return losses.detach()

    def losses_of(self, closure: Closure) -> Tensor:
        """Return the losses (T,) that a closure computes; InputError if they are of another shape."""
        losses = closure()
        shape = tuple(losses.shape) if isinstance(losses, Tensor) else f"a {type(losses).__name__}"
        if shape != (self.n_tasks,):
            raise InputError(f"the closure must return one loss a task, a tensor ({self.n_tasks},), got {shape}")
        return losses

    def end_epoch(self) -> None:
        """Tell a method with an epoch clock that an epoch has ended."""
