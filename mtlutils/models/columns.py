"""What soft-sharing architectures have in common: an encoder of its own for every task, its column."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mtlutils.errors import InputError
from mtlutils.models.multi_task import MultiTaskModel
from mtlutils.models.stages import EncoderFactory, Stages, separate


class Columns(nn.Module):
    """One encoder a task, all of the same stages, which may exchange features after some of these.

    Args:
        columns: Task name -> the task's encoder.
        units: Number of a stage -> what maps all columns' features after it (T, B, C, ...) to the next stages' inputs
            of the same shape. They come last among the parameters: at the last unit the losses of all tasks arrive, as
            methods expect of the last shared layer.
    """

    def __init__(self, columns: Mapping[str, Stages], units: Mapping[int, nn.Module]) -> None:
        super().__init__()
        self.columns = nn.ModuleDict(columns)
        self.units = nn.ModuleDict({str(stage): unit for stage, unit in units.items()})

    def forward(self, *inputs: Any, tasks: Iterable[str] | None = None) -> list[dict[str, Tensor]]:
        """Return the features after each stage, and its unit if any, by task.

        After the last unit, only the columns of some ``tasks`` run.
        """
        asked = list(self.columns if tasks is None else tasks)
        columns = self.stages()
        last_unit = max(map(int, self.units), default=-1)
        current: dict[str, tuple[Any, ...]] = dict.fromkeys(self.columns, inputs)
        features = []
        for stage in range(len(next(iter(columns.values())))):
            running = list(self.columns) if stage <= last_unit else asked
            outputs = {task: columns[task][stage](*current[task]) for task in running}
            if str(stage) in self.units:
                mixed = self.units[str(stage)](torch.stack(list(outputs.values())))
                outputs = dict(zip(running, mixed, strict=True))
            current = {task: (output,) for task, output in outputs.items()}
            features.append(outputs)
        return features

    def stages(self) -> dict[str, list[nn.Module]]:
        """Return the stages of each task's column."""
        return {task: list(column) for task, column in self.columns.items() if isinstance(column, Stages)}


def columns_of(encoder: EncoderFactory, tasks: Iterable[str]) -> dict[str, Stages]:
    """Make a column for each task; InputError if there is no task, or the function does not make new encoders."""
    names = list(tasks)
    if not names:
        raise InputError("a network with a column a task needs a task; heads is empty")
    return dict(zip(names, separate([encoder] * len(names)), strict=True))


class ColumnModel(MultiTaskModel):
    """A column and a head a task.

    Columns and units all count as shared, since other tasks' losses reach them, or a penalty ties them to others; what
    belongs to one task is its head.

    Args:
        columns: The columns and their units.
        heads: Task name -> what maps the last features of the task's column to its output.
    """

    def __init__(self, columns: Columns, heads: Mapping[str, nn.Module]) -> None:
        super().__init__(columns, heads)

    def forward(self, *inputs: Any, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Return each task's output, or those of some ``tasks`` only."""
        asked = list(self.heads if tasks is None else tasks)
        features = self.encoder(*inputs, tasks=asked)
        return {task: self.heads[task](features[-1][task]) for task in asked}
