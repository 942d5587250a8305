"""What the methods have in common that make one gradient of the tasks' own."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils._pytree import tree_map

from mtlutils.balancing.balancer import Balancer, Closure
from mtlutils.balancing.gradients import add_gradients, split_like, task_gradients
from mtlutils.errors import InputError
from mtlutils.models import MultiTaskModel

if TYPE_CHECKING:
    from torchjd.aggregation import Weighting  # takes seconds to import

Gradients = Literal["shared", "representation"]
Heads = Literal["own", "weighted"]


class Options(TypedDict, total=False):
    """What every gradient method can be told."""

    gradients: Gradients
    heads: Heads


class GradientMethod(Balancer):
    r"""Combines the gradients of the tasks, :math:`G = (g_1, \dots, g_T)^\top`, into one.

    With TorchJD's ``weighting``, the Gramian :math:`G G^\top` decides on the weights w of :math:`\sum_t w_t g_t`. A
    method with other weights overrides :meth:`weigh_gramian`, and one without any :meth:`aggregate`.

    ``gradients="shared"``: :math:`g_t = \nabla_{\theta} L_t`, the exact gradient of the shared parameters
    :math:`\theta`, in T backward passes.

    ``gradients="representation"``: :math:`g_t = \nabla_z L_t`, that of the encoder's output z, in T backward passes
    through the heads alone; the combination d is then taken through the encoder once, as :math:`J^\top d` with J the
    Jacobian of z with respect to :math:`\theta`. What is applied still is :math:`\sum_t w_t \nabla_\theta L_t` where
    there are weights, but w comes from the inner products :math:`\nabla_z L_s \cdot \nabla_z L_t` in the place of
    :math:`\nabla_z L_s^\top J J^\top \nabla_z L_t`. So what a method promises, such as a descent on every loss, holds
    for z, and for :math:`\theta` only where :math:`J J^\top` is a multiple of the identity. (Sener & Koltun 2018,
    section 3.3, bound the shortest vector this way.) Where the encoder returns several tensors, z is all of them that
    need gradients. Where the tasks' ways part inside the encoder, z is the last features on the way of all. Shared
    parameters that come after z, or lie outside the encoder as an attention network's, are joined to z.

    Args:
        n_tasks: Number of tasks T.
        weighting: TorchJD's map from the Gramian (T, T) to the weights (T,); None where a method needs none.
        gradients: What the gradients are taken of.
        heads: What the heads descend on: ``"own"``, each on its task's loss, as if its weight were 1;
            ``"weighted"``, on the loss times the weight that the shared parameters see, negative ones too.
    """

    def __init__(
        self,
        n_tasks: int,
        weighting: "Weighting[Any] | None" = None,
        gradients: Gradients = "shared",
        heads: Heads = "own",
    ) -> None:
        super().__init__(n_tasks)
        if gradients not in ("shared", "representation"):
            raise ValueError(f"gradients must be 'shared' or 'representation', got {gradients!r}")
        if heads not in ("own", "weighted"):
            raise ValueError(f"heads must be 'own' or 'weighted', got {heads!r}")
        self.weighting = weighting
        self.gradients = gradients
        self.heads = heads

    def weigh_gramian(self, gramian: Tensor) -> Tensor:
        """Return the weights (T,) for a Gramian (T, T), which is finite and not 0; both double, on the CPU."""
        assert self.weighting is not None
        # These weights do not depend on the scale. TorchJD's thresholds do, and would take short gradients for none.
        return self.weighting(gramian / gramian.trace())

    def aggregate(self, matrix: Tensor) -> tuple[Tensor, Tensor | None]:
        """Combine gradients (T, P) into one (P,); also return the weights (T,) that do it, or None without."""
        products = gramian_of(matrix)
        if not products.isfinite().all():
            weights = torch.full((self.n_tasks,), torch.nan)  # as any weighted sum is; training then says "diverged"
        elif products.trace() == 0:
            weights = torch.ones(self.n_tasks)  # there is nothing to weigh
        else:
            weights = self.weigh_gramian(products)
        weights = weights.to(matrix)
        return weights @ matrix, weights

    def backward(self, losses: Tensor, model: MultiTaskModel) -> None:
        """Add the combination to the gradients of the shared parameters, and the heads' own to the heads'.

        Raises:
            InputError: the model has no shared parameters that learn.
        """
        shared = _learned(model.shared_parameters())
        add_gradients(shared, self._combine(losses, shared, model))

    def step(self, closure: Closure, model: MultiTaskModel, optimizer: torch.optim.Optimizer) -> Tensor:
        """Take one optimiser step; arguments and result as for every method.

        Raises:
            InputError: there are no shared parameters that learn; or, with ``gradients="representation"``, the closure
                does not compute the representation, or it needs no gradient.
        """
        if self.gradients == "shared":
            return super().step(closure, model, optimizer)
        optimizer.zero_grad()
        with cut_representation(model) as cuts:
            losses = self.losses_of(closure)
        if not cuts:
            raise InputError(
                "gradients='representation' needs a representation that needs gradients, computed by the closure; "
                "use gradients='shared'"
            )
        outputs, leaves = zip(*cuts, strict=True)
        before = set(model.encoder.parameters()) - _reached(losses)
        outside = [parameter for parameter in _learned(model.shared_parameters()) if parameter not in before]
        combined = self._combine(losses, [*leaves, *outside], model)
        add_gradients(outside, combined[len(leaves) :])
        torch.autograd.backward(outputs, combined[: len(leaves)])
        optimizer.step()
        return losses.detach()

    def _combine(self, losses: Tensor, shared: Sequence[Tensor], model: MultiTaskModel) -> list[Tensor]:
        """Return what the gradients of ``shared`` combine to, in its shapes; add to the heads' gradients."""
        own = _learned(model.task_parameters())
        matrix, of_heads = task_gradients(losses, shared, own)  # (T, P)
        combined, self.weights = self.aggregate(matrix)
        weights = self.weights if self.heads == "weighted" else None
        for task, gradients in enumerate(of_heads):
            add_gradients(own, gradients, None if weights is None else weights[task].to(matrix))
        return split_like(combined, shared)


def gramian_of(matrix: Tensor) -> Tensor:
    """Return the inner products (T, T) of the rows of ``matrix`` (T, P), double and on the CPU.

    In single precision, two rows that are the same would look different by as much as the square root of its rounding.
    """
    # In blocks, since all of it in double would take twice the memory once more; small ones on the CPU, which stay in
    # its cache. One copy to the CPU, so that a GPU is waited for once.
    total = matrix.new_zeros(len(matrix), len(matrix), dtype=torch.float64)
    for block in matrix.split(2**13 if matrix.is_cpu else 2**22, dim=1):
        double = block.double()
        total += double @ double.T
    return total.cpu()


def factor(gramian: Tensor) -> Tensor:
    """Return a matrix (T, R) with a Gramian (T, T), R being its rank: what is below the rounding of single precision,
    in which gradients come, counts as 0.
    """
    values, vectors = torch.linalg.eigh(gramian)
    kept = values > 1e-12 * values.max()
    return vectors[:, kept] * values[kept].sqrt()


def preference_vector(preferences: Sequence[float] | None, n_tasks: int) -> Tensor | None:
    """Check preferences, one positive number a task, and return them (T,), double; None where there are none."""
    if preferences is None:
        return None
    vector = torch.as_tensor(preferences, dtype=torch.float64)
    if vector.shape != (n_tasks,) or not (vector > 0).all():
        raise ValueError(f"preferences must be positive, {n_tasks} of them, got {preferences}")
    return vector


@contextmanager
def cut_representation(model: MultiTaskModel) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """While it lasts, let the heads see copies of the encoder's output that are leaves of their own graph.

    Of a model whose heads need other features, what passes its module ``representation`` takes the output's place.

    Yields:
        A list that fills at every such call: each tensor that needs a gradient, with its copy. (One may have been
        computed from another; only a copy has a gradient that leaves out this path, which is the encoder's.)
    """
    cuts: list[tuple[Tensor, Tensor]] = []

    def cut(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        return tree_map(leaf_of, output)

    def leaf_of(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.requires_grad:
            return value
        cuts.append((value, value.detach().requires_grad_()))
        return cuts[-1][1]

    module: nn.Module = getattr(model, "representation", model.encoder)
    handle = module.register_forward_hook(cut)
    try:
        yield cuts
    finally:
        handle.remove()


def _reached(losses: Tensor) -> set[Tensor]:
    """Return the leaves of the losses' graph."""
    seen: set[Node] = set()
    waiting = [losses.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [before for before, _ in node.next_functions]
    return {node.variable for node in seen if hasattr(node, "variable")}


def _learned(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [parameter for parameter in parameters if parameter.requires_grad]
