"""Shared and task-specific parameters updated in turns (Lee & Son 2020)."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mtlutils.balancing.balancer import Balancer, Closure
from mtlutils.errors import InputError
from mtlutils.models import MultiTaskModel


class SplitOnly(Balancer):
    r"""Two updates a batch: the shared parameters with the heads fixed, then the heads with the shared ones fixed.

    .. math:: \theta_s \leftarrow \theta_s - \beta \nabla_{\theta_s} \sum_i L_i(\theta_s, \theta_t^i), \qquad
              \theta_t^i \leftarrow \theta_t^i - \beta \nabla_{\theta_t^i} L_i(\theta_s, \theta_t^i)

    where the second update sees the result of the first. Lee & Son 2020 (*Multitask learning with single gradient step
    update for task balancing*), section 4.1, the ablation "Split-only": their equations 3 and 4 without the temporary
    step of equation 2.

    The optimiser takes both steps; each leaves alone the parameters that have no gradient, as PyTorch's optimisers do
    (but for L-BFGS, which wants a closure). Only the first pass over the batch updates a model's buffers, such as the
    running statistics of batch norm, so that they move once a batch, as in ordinary training.
    """

    def step(self, closure: Closure, model: MultiTaskModel, optimizer: torch.optim.Optimizer) -> Tensor:
        """Take both updates; arguments and result as for every method.

        Raises:
            InputError: the model has no shared parameters that learn.
        """
        if not any(parameter.requires_grad for parameter in model.shared_parameters()):
            raise InputError("updates in turns need shared parameters that learn; the model has none; use equal")
        optimizer.zero_grad()
        losses = self.backward_shared(closure, model, optimizer)
        optimizer.step()
        optimizer.zero_grad()
        with substituted(model, {}), _fixed(model.shared_parameters()):
            total = self.losses_of(closure).sum()
            if total.requires_grad:  # there are heads, and they learn
                total.backward()
                optimizer.step()
        return losses

    def backward_shared(self, closure: Closure, model: MultiTaskModel, optimizer: torch.optim.Optimizer) -> Tensor:
        """Give the shared parameters, and no others, their gradient; return the task losses (T,) before the step."""
        losses = self.losses_of(closure)
        losses.sum().backward(inputs=[p for p in model.shared_parameters() if p.requires_grad])
        return losses.detach()


@contextmanager
def substituted(model: nn.Module, parameters: Mapping[nn.Parameter, Tensor]) -> Iterator[None]:
    """Let a model compute with other tensors in the place of some parameters, and with copies of its buffers.

    The model has its own tensors back at the end, also after an error.
    """
    # In the modules' own dictionaries, as `torch.func.functional_call` does it. That would call the model itself, and
    # here a closure does.
    others: list[tuple[dict[str, Any], dict[str, Tensor]]] = []
    for module in model.modules():
        moved = {name: parameters[p] for name, p in module._parameters.items() if p is not None and p in parameters}
        copied = {name: buffer.clone() for name, buffer in module._buffers.items() if buffer is not None}
        others += [(module._parameters, moved), (module._buffers, copied)]
    own = [{name: tensors[name] for name in replacing} for tensors, replacing in others]
    try:
        for tensors, replacing in others:
            tensors.update(replacing)
        yield
    finally:
        for (tensors, _), original in zip(others, own, strict=True):
            tensors.update(original)


@contextmanager
def _fixed(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Take parameters out of differentiation, which also spares a pass through them its memory."""
    learned = [parameter for parameter in parameters if parameter.requires_grad]
    try:
        for parameter in learned:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)
