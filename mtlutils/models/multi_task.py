"""What every network has in common."""

from collections.abc import Iterator, Mapping
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

    def forward(self, *inputs: Any) -> dict[str, Tensor]:
        """Return each task's output."""
        representation = self.encoder(*inputs)
        return {task: head(representation) for task, head in self.heads.items()}

    def shared_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that every task shares."""
        return self.encoder.parameters()

    def task_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that belong to one task."""
        return self.heads.parameters()
