"""Gradient normalisation (Chen et al. 2018)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mtlutils.balancing.balancer import Balancer
from mtlutils.balancing.gradients import each_gradient
from mtlutils.errors import InputError
from mtlutils.models import MultiTaskModel


class GradNorm(Balancer):
    r"""Learned weights that bring each task's gradient to a length set by how slowly the task learns.

    The total is :math:`\sum_i w_i L_i`, and the weights descend on

    .. math:: L_\mathrm{grad} = \sum_i \left| G_i - \bar G\, r_i^\alpha \right|, \qquad
              G_i = \lVert \nabla_W w_i L_i \rVert, \qquad
              r_i = \frac{L_i / L_i(0)}{\frac{1}{T} \sum_j L_j / L_j(0)}

    where W is the last shared layer, :math:`\bar G` the mean of the :math:`G_i`, and :math:`L_i(0)` the loss at the
    first step. Chen et al. 2018 (*GradNorm: gradient normalization for adaptive loss balancing in deep multitask
    networks*), equations 1 and 2 and algorithm 1, whose order is kept: a step applies the weights that it finds, then
    updates them and scales them to sum to T.

    The target :math:`\bar G r_i^\alpha` counts as a constant, as in the paper. Then
    :math:`\partial L_\mathrm{grad} / \partial w_i = \mathrm{sgn}(G_i - \bar G r_i^\alpha)\, \mathrm{sgn}(w_i)\,
    \lVert \nabla_W L_i \rVert`, and nothing has to be differentiated twice: a step takes the gradients with respect to
    W, which pass through the heads alone, and one ordinary backward pass.

    Nothing keeps a weight above 0, in the paper or here. A task with far larger gradients than the others can be
    pushed below, which turns its gradient round; as only :math:`|w_i|` enters :math:`G_i`, the weight may stay there.
    A smaller ``weight_learning_rate`` prevents it.

    What the paper leaves open, or sets for each experiment:

    Args:
        n_tasks: Number of tasks T.
        alpha: Strength :math:`\alpha` of the pull to a common rate of learning. The paper has 1.5 on NYUv2 and 0.12
            for tasks of one kind. 0 pulls all lengths to their mean.
        weight_learning_rate: Step size of the weights (section 5.1).
        weight_optimizer: What updates the weights: ``"adam"`` (with its usual constants), as in section 5.1, which
            adds that the choice makes no difference; ``"sgd"`` is plain gradient descent, whose steps are as long as
            the gradients.
        layer: The parameter W by its name in the model, such as ``"encoder.0.weight"``. None: the last of the shared
            parameters with at least two dimensions, so that a bias or a norm's scale is not taken for the last layer.
            Every task's loss must reach it.
        initial_losses: :math:`L_i(0)`, one a task or one for all. None: the losses at the first step. Where those
            depend much on the initialisation, the paper would have :math:`\ln C` for cross entropy over C classes. A
            task whose loss is 0 there, as on a batch without a target of its own, waits for its first that is not.
    """

    task_weights: Tensor
    initial_losses: Tensor
    first_moment: Tensor
    second_moment: Tensor
    n_steps: Tensor

    def __init__(
        self,
        n_tasks: int,
        alpha: float = 1.5,
        weight_learning_rate: float = 0.025,
        weight_optimizer: Literal["adam", "sgd"] = "adam",
        layer: str | None = None,
        initial_losses: float | Sequence[float] | None = None,
    ) -> None:
        super().__init__(n_tasks)
        if not alpha >= 0:
            raise ValueError(f"alpha must not be negative, got {alpha}")
        if not weight_learning_rate > 0:
            raise ValueError(f"weight_learning_rate must be positive, got {weight_learning_rate}")
        if weight_optimizer not in ("adam", "sgd"):
            raise ValueError(f"weight_optimizer must be 'adam' or 'sgd', got {weight_optimizer!r}")
        given = torch.tensor(torch.nan if initial_losses is None else initial_losses, dtype=torch.float32)
        if given.shape not in ((), (n_tasks,)) or (initial_losses is not None and not (given > 0).all()):
            raise ValueError(f"initial_losses must be positive, one or {n_tasks} of them, got {initial_losses}")
        self.alpha = alpha
        self.weight_learning_rate = weight_learning_rate
        self.weight_optimizer = weight_optimizer
        self.layer = layer
        self.register_buffer("task_weights", torch.ones(n_tasks))
        self.register_buffer("initial_losses", given.expand(n_tasks).clone())  # nan until they are known
        self.register_buffer("first_moment", torch.zeros(n_tasks))
        self.register_buffer("second_moment", torch.zeros(n_tasks))
        self.register_buffer("n_steps", torch.zeros(()))

    def weigh(self, losses: Tensor) -> Tensor:
        """Return the weights (T,) that the next step applies."""
        return self.task_weights

    def backward(self, losses: Tensor, model: MultiTaskModel) -> None:
        """Add the gradient of the weighted losses to the model's gradients, then update the weights.

        Raises:
            InputError: the model has no such layer, or no shared parameters that learn; or some task's loss does not
                reach the layer.
        """
        layer = self._layer_of(model)
        # One gradient at a time: the layer may be most of the network.
        gradients = (gradient for (gradient,) in each_gradient(losses, [layer], retain_graph=True))
        norms = [None if g is None else torch.linalg.vector_norm(g) for g in gradients]
        reaching = [norm for norm in norms if norm is not None]
        if len(reaching) < len(norms):  # with a length that is always 0, the weights would run away
            name = next(name for name, parameter in model.named_parameters() if parameter is layer)
            raise InputError(
                f"gradnorm needs a layer that every task's loss reaches; that of task {norms.index(None)}, counted "
                f"from 0, does not reach {name}; where there is one, name it: gradnorm(layer=...)"
            )
        super().backward(losses, model)
        self._update_weights(losses.detach(), torch.stack(reaching))

    def _update_weights(self, losses: Tensor, norms: Tensor) -> None:
        unknown = self.initial_losses.isnan()
        self.initial_losses = torch.where(unknown & (losses != 0), losses, self.initial_losses)
        # A loss of 0 has a gradient of 0, so that the ratio of a task that still waits moves the others' target alone.
        ratios = torch.where(unknown & (losses == 0), 1.0, losses / self.initial_losses)
        weighted_norms = self.task_weights.abs() * norms
        target = weighted_norms.mean() * (ratios / ratios.mean()) ** self.alpha
        gradient = (weighted_norms - target).sign() * self.task_weights.sign() * norms
        weights = self.task_weights - self.weight_learning_rate * self._direction(gradient)
        self.task_weights = self.n_tasks * weights / weights.sum()

    def _direction(self, gradient: Tensor) -> Tensor:
        if self.weight_optimizer == "sgd":
            return gradient
        # Adam, in buffers: an optimiser's state would not be in state_dict().
        decay_1, decay_2, epsilon = 0.9, 0.999, 1e-8
        self.n_steps = self.n_steps + 1
        self.first_moment = decay_1 * self.first_moment + (1 - decay_1) * gradient
        self.second_moment = decay_2 * self.second_moment + (1 - decay_2) * gradient.square()
        mean = self.first_moment / (1 - decay_1**self.n_steps)
        deviation = (self.second_moment / (1 - decay_2**self.n_steps)).sqrt()
        return mean / (deviation + epsilon)

    def _layer_of(self, model: MultiTaskModel) -> nn.Parameter:
        if self.layer is not None:
            named = dict(model.named_parameters())
            if self.layer not in named:
                raise InputError(f"the model has no parameter {self.layer!r}; layer is one of {', '.join(named)}")
            return named[self.layer]
        shared = [parameter for parameter in model.shared_parameters() if parameter.requires_grad]
        if not shared:
            raise InputError("gradnorm needs shared parameters that learn, or a layer by name; the model has none")
        return next((parameter for parameter in reversed(shared) if parameter.dim() >= 2), shared[-1])
