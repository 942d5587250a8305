"""A small fully connected network, for demonstrations on vectors."""

import itertools
from collections.abc import Mapping, Sequence

from torch import nn

from mtlutils.errors import InputError
from mtlutils.models.multi_task import MultiTaskModel


def mlp(
    n_inputs: int, n_outputs: Mapping[str, int], hidden: Sequence[int] = (16,), common_output: bool = False
) -> MultiTaskModel:
    """Build the network for vectors (B, n_inputs), with outputs (B, n) that are linear in the last hidden layer.

    Args:
        n_inputs: Size of the input.
        n_outputs: Task name -> size of its output.
        hidden: Sizes of the shared layers, each followed by tanh.
        common_output: Whether the tasks have the last layer in common as well. All parameters are then shared, and the
            losses are functions of the same output, as where auxiliary losses are added to one prediction. No head can
            then turn the sign of what another task learns.

    Raises:
        InputError: a size is not positive, or a common output is to be of several sizes.
    """
    sizes = [n_inputs, *hidden]
    if min(*sizes, *n_outputs.values(), 1) < 1 or not hidden or not n_outputs:
        raise InputError(f"an mlp needs a task, a hidden layer, and positive sizes; got {sizes} and {dict(n_outputs)}")
    layers = [layer for n_in, n_out in itertools.pairwise(sizes) for layer in (nn.Linear(n_in, n_out), nn.Tanh())]
    if not common_output:
        heads: dict[str, nn.Module] = {task: nn.Linear(sizes[-1], n) for task, n in n_outputs.items()}
        return MultiTaskModel(nn.Sequential(*layers), heads)
    if len(set(n_outputs.values())) > 1:
        raise InputError(f"tasks with a common output need outputs of one size, got {dict(n_outputs)}")
    output = nn.Linear(sizes[-1], next(iter(n_outputs.values())))
    return MultiTaskModel(nn.Sequential(*layers, output), {task: nn.Identity() for task in n_outputs})
