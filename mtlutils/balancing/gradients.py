"""The gradient of each task's loss on its own."""

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from mtlutils.errors import InputError


def each_gradient(
    losses: Tensor, parameters: Sequence[Tensor], retain_graph: bool = False, create_graph: bool = False
) -> Iterator[tuple[Tensor | None, ...]]:
    """Differentiate one task's loss after the other, each in a backward pass that goes no further than it must.

    Args:
        losses: Task losses (T,), with their graph.
        parameters: What to differentiate with respect to; each must require a gradient.
        retain_graph: Whether the graph must outlive the last task.
        create_graph: Whether the gradients must be differentiable themselves; the graph then outlives the last task.

    Yields:
        For each task, the gradient with respect to each parameter; None where the task does not use it.
    """
    one = losses.new_ones(())
    roots = _roots(losses)
    for task, root in enumerate(roots):
        retain = retain_graph or create_graph or task + 1 < len(roots)
        yield torch.autograd.grad(
            root, parameters, one, retain_graph=retain, create_graph=create_graph, allow_unused=True
        )


def task_gradients(
    losses: Tensor, shared: Sequence[Tensor], own: Sequence[Tensor], retain_graph: bool = False
) -> tuple[Tensor, list[tuple[Tensor | None, ...]]]:
    """Differentiate every task's loss with respect to shared parameters and the tasks' own, in T backward passes.

    Args:
        losses: Task losses (T,), with their graph.
        shared: What tasks share, P numbers in all: parameters, or a representation.
        own: The other parameters.
        retain_graph: Whether the graph must outlive the last task.

    Returns:
        The shared parameters' gradients (T, P), a row a task, zero where a task does not use a parameter; and for each
        task the gradient with respect to each of ``own``, None where the task does not use it.

    Raises:
        InputError: nothing is shared.
    """
    if not shared:
        raise InputError("combining gradients needs shared parameters that learn; the model has none")
    # Filled row by row: rows that are stacked at the end take twice the memory, and the time to copy all of them.
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in shared))
    matrix = losses.new_empty(len(losses), sum(tensor.numel() for tensor in shared), dtype=dtype)
    of_own = []
    for row, gradients in zip(matrix, each_gradient(losses, [*shared, *own], retain_graph), strict=True):
        of_shared = zip(shared, gradients, strict=False)
        # An embedding's gradient may be sparse.
        torch.cat([(torch.zeros_like(p) if g is None else g.to_dense()).flatten() for p, g in of_shared], out=row)
        of_own.append(gradients[len(shared) :])
    return matrix, of_own


def split_like(vector: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Cut a vector (P,) into parts of the tensors' shapes and types, P numbers in all."""
    parts = vector.split([tensor.numel() for tensor in tensors])
    return [part.view_as(tensor).to(tensor.dtype) for part, tensor in zip(parts, tensors, strict=True)]


def add_gradients(
    parameters: Iterable[nn.Parameter], gradients: Iterable[Tensor | None], weight: Tensor | None = None
) -> None:
    """Add gradients, one a parameter, times a weight, to what the parameters' ``grad`` hold; None adds nothing."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            weighted = gradient if weight is None else weight * gradient
            parameter.grad = weighted if parameter.grad is None else parameter.grad + weighted


def _roots(losses: Tensor) -> Sequence[Tensor | GradientEdge]:
    # A row of stacked losses, differentiated, sends zeros into every other task's head: T visits to each of T heads.
    # So a stack is passed by, and each loss is differentiated where it went in.
    stack = losses.grad_fn
    if stack is not None and stack.name() == "StackBackward0":
        edges = [GradientEdge(node, number) for node, number in stack.next_functions if node is not None]
        if len(edges) == len(losses):
            return edges
    return losses.unbind()
