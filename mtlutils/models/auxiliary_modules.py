"""Auxiliary modules that help to train hard sharing (Liu et al. 2019, *Auxiliary learning*)."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from mtlutils.errors import InputError
from mtlutils.models.multi_task import MultiTaskModel
from mtlutils.models.stages import Adapter, EncoderFactory, Stages, chosen_stages, feature_shapes, stages_of


class AuxiliaryModule(nn.Module):
    """A task's own way from shared stages' features to its output.

    Args:
        adapters: Stage number -> what brings its features to the head's input.
        head: Maps the sum of these to the output.
    """

    def __init__(self, adapters: Mapping[int, nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.adapters = nn.ModuleDict({str(stage): adapter for stage, adapter in adapters.items()})
        self.head = head

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return the output, given every stage's features."""
        brought = [adapter(features[int(stage)]).relu() for stage, adapter in self.adapters.items()]
        return self.head(torch.stack(brought).sum(dim=0))


class AuxiliaryModules(MultiTaskModel):
    """Hard sharing, and in training a module a task that predicts from the hidden layers, as a second supervision.

    Liu et al. 2019 (*Auxiliary learning for deep multi-task learning*): the module sees the shared layers' outputs, has
    parameters of its own as in soft sharing, and is trained with the task's loss, which so reaches the shared layers a
    second way. In inference it is gone, at no cost.

    In training mode the outputs hold, besides each asked task's, the module's under the name of :meth:`auxiliary_name`.
    Training adds to a task's loss that of this output against the same target, times ``auxiliary_weight``; without
    this, the model trains as plain hard sharing. In evaluation mode the modules do not run.

    What a module is made of is open. Here a stage's features come to the last stage's shape by average pooling, a
    linear map of the channels and ReLU, and the head's input is the sum over stages. The encoder is shared; a task's
    module and head are its own.

    Args:
        encoder: As in :mod:`mtlutils.models.stages`.
        heads: Task name -> head.
        example: A batch's inputs.
        stages: Those that a module sees. None: all.
        auxiliary_heads: Task name -> the module's last part. None: a copy of the task's head as it is.
        auxiliary_weight: Weight of the modules' losses, which the review does not give.

    Raises:
        InputError: no such stage, or none; its features cannot be brought to the last stage's shape; or the auxiliary
            heads are not those of the tasks.
    """

    def __init__(
        self,
        encoder: EncoderFactory,
        heads: Mapping[str, nn.Module],
        *,
        example: Sequence[Any],
        stages: Iterable[int] | None = None,
        auxiliary_heads: Mapping[str, nn.Module] | None = None,
        auxiliary_weight: float = 1.0,
    ) -> None:
        own = stages_of(encoder())
        shapes = feature_shapes(own, example)
        chosen = chosen_stages(stages, len(own))
        if not chosen:
            raise InputError("an auxiliary module needs a stage to see; stages is empty")
        if auxiliary_heads is None:
            auxiliary_heads = {task: copy.deepcopy(head) for task, head in heads.items()}
        if set(auxiliary_heads) != set(heads):
            raise InputError(f"auxiliary_heads must have one head for each of the tasks {', '.join(heads)}")
        super().__init__(own, heads)
        self.auxiliary = nn.ModuleDict(
            {
                task: AuxiliaryModule({i: Adapter(shapes[i], shapes[-1]) for i in chosen}, auxiliary_heads[task])
                for task in heads
            }
        )
        self.auxiliary_weight = auxiliary_weight
        self.representation = nn.Identity()  # a call that gradient methods can hook

    @staticmethod
    def auxiliary_name(task: str) -> str:
        """Return the name of a task's auxiliary output."""
        return f"{task}/auxiliary"

    def forward(self, *inputs: Any, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Return each task's output, or those of some ``tasks`` only; in training mode, then the auxiliary ones."""
        assert isinstance(self.encoder, Stages)
        asked = list(self.heads if tasks is None else tasks)
        features = self.representation(self.encoder.features(*inputs))
        outputs = {task: self.heads[task](features[-1]) for task in asked}
        if self.training:
            outputs |= {self.auxiliary_name(task): self.auxiliary[task](features) for task in asked}
        return outputs

    def task_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of heads and auxiliary modules."""
        return chain(self.heads.parameters(), self.auxiliary.parameters())

    def without_auxiliary(self) -> MultiTaskModel:
        """Return the network for inference, which has the same encoder and heads, not copies."""
        model = MultiTaskModel(self.encoder, {**self.heads})
        model.training = self.training
        return model


class SupervisedTwice(AuxiliaryModules):
    """Auxiliary modules whose outputs travel with those of their tasks, for :func:`mtlutils.losses.supervised_twice`.

    A balancing method then has one loss a task.
    """

    def forward(self, *inputs: Any, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Return each asked task's output (B, C); in training mode (2B, C), the auxiliary one below it."""
        asked = list(self.heads if tasks is None else tasks)
        outputs = super().forward(*inputs, tasks=asked)
        if not self.training:
            return outputs
        return {task: torch.cat([outputs[task], outputs[self.auxiliary_name(task)]]) for task in asked}
