"""Single gradient step update (Lee & Son 2020)."""

import torch
from torch import Tensor

from mtlutils.balancing.balancer import Closure
from mtlutils.balancing.gradients import add_gradients, each_gradient
from mtlutils.balancing.split_only import SplitOnly, substituted
from mtlutils.errors import InputError
from mtlutils.models import MultiTaskModel


class SingleStep(SplitOnly):
    r"""Shared parameters learn from the losses that each task has after a temporary step of its own; heads as usual.

    .. math:: \theta_s^i = \theta_s - \alpha \nabla_{\theta_s} L_i(\theta_s, \theta_t^i), \qquad
              \theta_s \leftarrow \theta_s - \beta \sum_i \nabla L_i(\theta_s^i, \theta_t^i), \qquad
              \theta_t^i \leftarrow \theta_t^i - \beta \nabla_{\theta_t^i} L_i(\theta_s, \theta_t^i)

    Lee & Son 2020 (*Multitask learning with single gradient step update for task balancing*), equations 2 to 4, all
    three on the same batch. Line 8 of their algorithm 1 prints :math:`L_i(\theta_s)` for the second; that would make
    the temporary step idle, so equation 3 is followed. Equation 4 steps the heads by :math:`\alpha` in the paper; here
    it is :math:`\beta`, as for the shared parameters. A batch takes T + 2 forward passes through the encoder, and 2T
    backward passes and the heads' own.

    :math:`\beta` is the optimiser's learning rate, or whatever else the optimiser makes of a gradient. What the paper
    leaves open:

    Args:
        n_tasks: Number of tasks T.
        alpha: Size :math:`\alpha` of the temporary step; None: the optimiser's learning rate at the time, since the
            paper gives one rate and no other. 0 is ``split_only``.
        second_order: Whether :math:`\theta_s^i` is differentiated too, so that the second update is the gradient of
            :math:`\sum_i L_i(\theta_s^i)` with respect to :math:`\theta_s`. The paper takes it as a constant (section
            3.2), which costs the terms with second derivatives.
    """

    def __init__(self, n_tasks: int, alpha: float | None = None, second_order: bool = False) -> None:
        super().__init__(n_tasks)
        if alpha is not None and not alpha >= 0:
            raise ValueError(f"alpha must not be negative, got {alpha}")
        self.alpha = alpha
        self.second_order = second_order

    def backward_shared(self, closure: Closure, model: MultiTaskModel, optimizer: torch.optim.Optimizer) -> Tensor:
        """Give the shared parameters their gradient after the temporary steps; return the losses (T,) before them.

        The losses after them are in ``traced["stepped_loss"]``.

        Raises:
            InputError: a loss depends on no shared parameter; or, as far as that shows, the closure holds on to
                parameters that it has taken out of the model, and so cannot see the temporary ones.
        """
        shared = [parameter for parameter in model.shared_parameters() if parameter.requires_grad]
        rates = {parameter: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
        # What the optimiser does not hold stays where it is in a temporary step too.
        alphas = [rates.get(parameter, 0.0) if self.alpha is None else self.alpha for parameter in shared]
        one = getattr(closure, "of", lambda task: closure()[task])

        losses = self.losses_of(closure)
        # So that one graph is there at a time: all of them before the first temporary step, when the first pass' graph
        # can go; or, where they have graphs of their own, each just before its step.
        inner = each_gradient(losses, shared, create_graph=self.second_order)
        if not self.second_order:
            inner = iter(list(inner))
        stepped = []
        for task, gradients in enumerate(inner):
            moved = [
                parameter if gradient is None else parameter - alpha * gradient
                for parameter, alpha, gradient in zip(shared, alphas, gradients, strict=True)
            ]
            if not self.second_order:
                moved = [tensor.detach().requires_grad_() for tensor in moved]
            with substituted(model, dict(zip(shared, moved, strict=True))):
                loss = one(task)
            outer = torch.autograd.grad(
                loss,
                shared if self.second_order else moved,
                retain_graph=self.second_order and task + 1 < self.n_tasks,
                allow_unused=True,
            )
            if not any(gradient is not None for gradient in outer):
                raise InputError("single_step: the closure's losses do not come from the model's shared parameters")
            add_gradients(shared, outer)
            stepped.append(loss.detach())
        self.traced = {"stepped_loss": torch.stack(stepped)}
        return losses.detach()
