"""Low-level tasks supervised at lower layers (Søgaard & Goldberg 2016)."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from torch import Tensor, nn

from mtlutils.errors import InputError
from mtlutils.models.multi_task import MultiTaskModel
from mtlutils.models.stages import EncoderFactory, Stages, chosen_stages, stages_of


class LayeredSupervision(MultiTaskModel):
    """One encoder, with each task's head after the stage that suits it.

    Søgaard & Goldberg 2016 (*Deep multi-task learning with low level tasks supervised at lower layers*): the loss of a
    low-level task updates the stages below its head alone, and those above build on what it needs. With all heads after
    the last stage it is hard sharing.

    The whole encoder is shared, though some of its stages may serve few tasks. Those that all tasks see come last among
    the shared parameters, so that the last are those of the last layer that all share, as methods expect that look for
    it there. No more stages run than the asked tasks need.

    Args:
        encoder: As in :mod:`mtlutils.models.stages`.
        heads: Task name -> what maps the features of the task's stage to its output.
        levels: Task name -> the stage after which its head is; the last for tasks that are not named.

    Raises:
        InputError: no such stage or task; or no head is after the last stage.
    """

    def __init__(self, encoder: EncoderFactory, heads: Mapping[str, nn.Module], *, levels: Mapping[str, int]) -> None:
        stages = stages_of(encoder())
        chosen_stages(levels.values(), len(stages))
        if unknown := [task for task in levels if task not in heads]:
            raise InputError(f"levels names {unknown[0]!r}, which is no task; the tasks are {', '.join(heads)}")
        super().__init__(stages, heads)
        self.representation = nn.Identity()  # a call that gradient methods can hook
        self.levels = {task: levels.get(task, len(stages) - 1) for task in heads}
        self.n_common = 1 + min(self.levels.values(), default=0)
        if max(self.levels.values(), default=0) < len(stages) - 1:
            raise InputError("no head is after the encoder's last stage, which would never learn; leave that stage out")

    def forward(self, *inputs: Any, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Return each task's output, or those of some ``tasks`` only."""
        assert isinstance(self.encoder, Stages)
        asked = list(self.heads if tasks is None else tasks)
        features = self.encoder.features(*inputs, n=self.n_common)
        features[-1] = self.representation(features[-1])
        highest = max((self.levels[task] for task in asked), default=0)
        for stage in list(self.encoder)[self.n_common : highest + 1]:
            features.append(stage(features[-1]))
        return {task: self.heads[task](features[self.levels[task]]) for task in asked}

    def shared_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the stages that some tasks share, then of those that all do."""
        stages = list(self.encoder.children())
        later, common = stages[self.n_common :], stages[: self.n_common]
        # a layer that is tied across stages once
        return iter(dict.fromkeys(chain.from_iterable(stage.parameters() for stage in [*later, *common])))
