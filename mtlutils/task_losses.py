"""What a training step minimises: the tasks' losses on a batch, and what the model adds to them."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mtlutils.balancing.gradients import add_gradients
from mtlutils.models import MultiTaskModel


@dataclass(frozen=True)
class TaskLosses:
    """The losses of the tasks on one batch, computed anew at each call: what a balancer's step is given.

    Attributes:
        model: Maps ``inputs`` to task name -> output.
        losses: Task name -> loss of (output, target); gives the order of the tasks.
        autocast: What the forward pass runs under.
        inputs: Of the batch.
        targets: Task name -> targets of the batch.
    """

    model: MultiTaskModel
    losses: Mapping[str, Callable[[Tensor, Tensor], Tensor]]
    autocast: AbstractContextManager[Any]
    inputs: tuple[Any, ...]
    targets: dict[str, Tensor]

    def __call__(self) -> Tensor:
        """Return the losses (T,)."""
        return self._of(self.losses)

    def of(self, task: int) -> Tensor:
        """Return the loss of one task."""
        name = list(self.losses)[task]
        return self._of({name: self.losses[name]})[0]

    def _of(self, losses: Mapping[str, Callable[[Tensor, Tensor], Tensor]]) -> Tensor:
        with self.autocast:
            outputs = self.model(*self.inputs, tasks=losses)
        return stacked(losses, outputs, self.targets)


def stacked(
    losses: Mapping[str, Callable[[Tensor, Tensor], Tensor]], outputs: dict[str, Tensor], targets: dict[str, Tensor]
) -> Tensor:
    """Return the losses (T,) of task name -> output, in single precision, in the order of ``losses``."""
    return torch.stack([loss(outputs[task].float(), targets[task]) for task, loss in losses.items()])


def adding_penalty(model: MultiTaskModel) -> Callable[..., None]:
    """Return a hook, to run before every step of an optimiser, that adds the gradient of the model's penalty."""

    def add(*_: Any) -> None:
        penalty = model.penalty()
        if penalty is None or not penalty.requires_grad:
            return
        # An update rule gives some of the parameters no gradient at a time: the step leaves those alone.
        updated = [parameter for parameter in model.parameters() if parameter.grad is not None]
        add_gradients(updated, torch.autograd.grad(penalty, updated, allow_unused=True))

    return add
