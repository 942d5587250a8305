"""Task routing (Strezoski et al. 2019)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtlutils.errors import InputError
from mtlutils.models.multi_task import MultiTaskModel
from mtlutils.models.stages import EncoderFactory, Stages, chosen_stages, feature_shapes, stages_of


class TaskRouting(MultiTaskModel):
    r"""One encoder, of which every task uses a random part of the channels, drawn once and for all.

    .. math:: \tilde x_t^{(c)} = m_t^{(c)} x^{(c)}, \qquad m_t \in \{0, 1\}^C, \qquad \sum_c m_t^{(c)} = \sigma C

    after each routed stage. Strezoski et al. 2019 (*Many task learning with task routing*), section 3, for hundreds of
    tasks in one network: with more tasks only masks and heads grow in number. As in the code that they published, a
    task's channels are drawn independently of other tasks', so that :math:`\sigma` is the part of the channels that a
    task uses, and of these the part that it has in common with any other task on average; 1 is hard sharing.

    The encoder is shared; a channel that is in no task's mask does not learn. What comes before the first mask runs
    once for all tasks, what comes after once for each asked one, and batch norms there take statistics of each task's
    features in turn.

    Args:
        encoder: As in :mod:`mtlutils.models.stages`.
        heads: Task name -> head.
        example: A batch's inputs.
        sigma: Sharing ratio :math:`\sigma`, above 0 and at most 1; the product is rounded, and 1 channel at least.
        stages: Those with a mask after them. None: all.

    Raises:
        InputError: there is no such ratio or stage.
    """

    def __init__(
        self,
        encoder: EncoderFactory,
        heads: Mapping[str, nn.Module],
        *,
        example: Sequence[Any],
        sigma: float = 0.5,
        stages: Iterable[int] | None = None,
    ) -> None:
        if not 0 < sigma <= 1:
            raise InputError(f"sigma is the part of the channels that a task uses, above 0 and at most 1; got {sigma}")
        own = stages_of(encoder())
        super().__init__(own, heads)
        self.representation = nn.Identity()  # a call that gradient methods can hook
        self.numbers = {task: number for number, task in enumerate(heads)}
        self.routed = chosen_stages(stages, len(own))
        shapes = feature_shapes(own, example)
        for stage in self.routed:
            channels = shapes[stage][0]
            ranks = torch.rand(len(heads), channels).argsort(dim=1)
            masks = (ranks < max(1, round(sigma * channels))).float()
            self.register_buffer(f"masks_{stage}", masks.view(*masks.shape, *(1 for _ in shapes[stage][1:])))

    def forward(self, *inputs: Any, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Return each task's output, or those of some ``tasks`` only."""
        assert isinstance(self.encoder, Stages)
        stages = list(self.encoder)
        common = self.routed[0] if self.routed else len(stages) - 1
        before = self.representation(self.encoder.features(*inputs, n=common + 1)[-1])
        outputs = {}
        for task in self.heads if tasks is None else tasks:
            x = before
            for number, stage in enumerate(stages[common:], common):
                x = x if number == common else stage(x)
                if number in self.routed:
                    x = x * self.get_buffer(f"masks_{number}")[self.numbers[task]].to(x.dtype)
            outputs[task] = self.heads[task](x)
        return outputs
