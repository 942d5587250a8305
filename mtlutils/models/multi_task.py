"""What every network has in common."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn


class MultiTaskModel(nn.Module):
    """Hard parameter sharing: one encoder that every task shares, and one head a task.

    Args:
        encoder: Maps a batch's inputs to a representation.
        heads: Task name -> what maps that representation to the task's output.
    """

    def __init__(self, encoder: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleDict(heads)

    def forward(self, *inputs: Any, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Return each task's output, or those of some ``tasks`` only."""
        representation = self.encoder(*inputs)
        return {task: self.heads[task](representation) for task in (self.heads if tasks is None else tasks)}

    def shared_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that every task shares."""
        return self.encoder.parameters()

    def task_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that belong to one task."""
        return self.heads.parameters()

    def penalty(self) -> Tensor | None:
        """Return what the model adds to its tasks' losses, such as a prior on its parameters; None: nothing."""
        return None

    def end_epoch(self) -> None:
        """Tell a model with an epoch clock that an epoch of training has ended."""
