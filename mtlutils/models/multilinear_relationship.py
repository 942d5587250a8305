"""Multilinear relationship networks (Long et al. 2017)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mtlutils.errors import InputError
from mtlutils.models.multi_task import MultiTaskModel
from mtlutils.models.stages import EncoderFactory, stages_of

Mode = Literal["features", "classes", "tasks"]
MODES: tuple[Mode, ...] = ("features", "classes", "tasks")


class TensorNormal(nn.Module):
    """The tensor normal distribution of mean 0, whose covariance is a Kronecker product of one matrix a mode.

    Args:
        sizes: Sizes (D1, D2, D3) of the three modes.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        # Buffers: estimated and not descended on, but to be kept with the weights.
        for mode, size in zip(MODES, sizes, strict=True):
            self.register_buffer(mode, torch.eye(size))

    def forward(self, weights: Tensor) -> Tensor:
        """Return the negative logarithm of the density of weights (D1, D2, D3), less its constant."""
        factors = self._factors()
        whitened = _whitened(weights, factors)
        log_determinants = [2 * factor.diagonal().log().sum() * weights.numel() / len(factor) for factor in factors]
        return (whitened.square().sum() + torch.stack(log_determinants).sum()) / 2

    @torch.no_grad()
    def update(self, weights: Tensor, epsilon: float, order: Iterable[Mode]) -> None:
        """Set each covariance in turn to the most likely for weights (D1, D2, D3), given the others."""
        for mode in order:
            number = MODES.index(mode)
            size = weights.shape[number]
            factors: list[Tensor | None] = [*self._factors()]
            factors[number] = None
            rows = _whitened(weights, factors).movedim(number, 0).flatten(1)
            identity = torch.eye(size, dtype=rows.dtype, device=rows.device)
            self.get_buffer(mode).copy_(rows @ rows.T * (size / weights.numel()) + epsilon * identity)

    def _factors(self) -> list[Tensor]:
        return [torch.linalg.cholesky(self.get_buffer(mode)) for mode in MODES]


class MultilinearRelationship(MultiTaskModel):
    r"""Hard sharing, with a prior on all tasks' heads together, which learns how features, classes and tasks relate.

    .. math:: \Omega = \frac{\lambda}{2} \sum_l \left( \mathrm{vec}(W_l)^\top
              (\Sigma_{l,1} \otimes \Sigma_{l,2} \otimes \Sigma_{l,3})^{-1}\, \mathrm{vec}(W_l)
              + \sum_k \frac{D_l}{D_{l,k}} \ln |\Sigma_{l,k}| \right)

    where :math:`W_l`, of :math:`D_l` numbers, stacks the weights of layer l of the heads, inputs × outputs × tasks.
    Long et al. 2017 (*Learning multiple tasks with multilinear relationship networks*), section 3: a tensor normal
    prior on the task-specific layers, of which this is the negative logarithm. The covariances are not descended on,
    but estimated by the flip-flop algorithm,

    .. math:: \Sigma_{l,k} \leftarrow \frac{D_{l,k}}{D_l} (W_l)_{(k)} \Bigl(\bigotimes_{m \ne k} \Sigma_{l,m}\Bigr)^{-1}
              (W_l)_{(k)}^\top + \varepsilon I

    where :math:`(W_l)_{(k)}` is unfolded along mode k, in turn for tasks, classes and features (k = 3, 2, 1). They
    start as identities, with which the penalty is half the squared L2 norm. The end of an epoch makes one sweep over
    the modes. Where a layer has more inputs than outputs × tasks, the covariance of the inputs can explain the weights
    by itself, and leaves the other two little to say; a larger
    :math:`\varepsilon` restrains it.

    The encoder is shared, the heads are the tasks' own: the prior ties them, no other task's loss reaches them.

    Args:
        encoder: As in :mod:`mtlutils.models.stages`.
        heads: Task name -> head, with fully connected layers of the same names.
        layers: Names in the heads of the layers with a prior, which must be of equal shape in all tasks; ``""`` is a
            head that is one layer. None: all fully connected layers.
        strength: :math:`\lambda`, 0 or more.
        epsilon: :math:`\varepsilon`, above 0; the covariance of inputs would often be singular without.
        order: The modes in a sweep. The inputs come last, as they could take everything for themselves.

    Raises:
        InputError: the heads have no such layers, or of different shapes; or a number is out of range.
    """

    def __init__(
        self,
        encoder: EncoderFactory,
        heads: Mapping[str, nn.Module],
        *,
        layers: Sequence[str] | None = None,
        strength: float = 1.0,
        epsilon: float = 1e-5,
        order: Sequence[Mode] = ("tasks", "classes", "features"),
    ) -> None:
        if not (strength >= 0 and epsilon > 0):
            raise InputError(f"strength must not be negative and epsilon positive, got {strength} and {epsilon}")
        if sorted(order) != sorted(MODES):
            raise InputError(f"order must hold each of {', '.join(MODES)} once, got {tuple(order)}")
        super().__init__(stages_of(encoder()), heads)
        self.strength = strength
        self.epsilon = epsilon
        self.order = tuple(order)
        found = [{n for n, each in head.named_modules() if isinstance(each, nn.Linear)} for head in heads.values()]
        self.layers = sorted(set().union(*found)) if layers is None else list(layers)
        if not self.layers:
            raise InputError("the heads have no fully connected layer for the prior; use heads with nn.Linear")
        self.priors = nn.ModuleList()
        for layer in self.layers:
            if not all(layer in names for names in found):
                raise InputError(f"not all heads have a fully connected layer {layer!r}; give layers that all have")
            shapes = {tuple(_weight(head, layer).shape) for head in heads.values()}
            if len(shapes) > 1:
                raise InputError(f"layer {layer!r} has shapes {sorted(shapes)} in the heads; give layers of one shape")
            n_outputs, n_inputs = shapes.pop()
            self.priors.append(TensorNormal((n_inputs, n_outputs, len(heads))))

    def penalty(self) -> Tensor:
        """Return the strength times the negative logarithm of the prior, less its constant; a scalar."""
        each = [prior(weights) for prior, weights in zip(self.priors, self._weights(), strict=True)]
        return self.strength * torch.stack(each).sum()

    def end_epoch(self) -> None:
        """Update the covariances."""
        self.update_covariances()

    def update_covariances(self) -> None:
        """Estimate the covariances anew from the weights as they are, in one sweep over the three modes."""
        for prior, weights in zip(self.priors, self._weights(), strict=True):
            assert isinstance(prior, TensorNormal)
            prior.update(weights, self.epsilon, self.order)

    def _weights(self) -> list[Tensor]:
        heads = list(self.heads.values())
        return [torch.stack([_weight(head, layer).T for head in heads], dim=2) for layer in self.layers]


def _weight(head: nn.Module, layer: str) -> Tensor:
    linear = head.get_submodule(layer)
    assert isinstance(linear, nn.Linear)
    return linear.weight


def _whitened(weights: Tensor, factors: Sequence[Tensor | None]) -> Tensor:
    """Multiply each mode of weights by the inverse of its Cholesky factor, or leave it alone."""
    for mode, factor in enumerate(factors):
        if factor is not None:
            rows = weights.movedim(mode, 0)
            solved = torch.linalg.solve_triangular(factor, rows.flatten(1), upper=False)
            weights = solved.reshape(rows.shape).movedim(0, mode)
    return weights
