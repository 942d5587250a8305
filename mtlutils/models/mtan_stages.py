"""Multi-task attention networks (Liu et al. 2019) on the stages of any encoder."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtlutils.errors import InputError
from mtlutils.models.mtan import AttentionModel, attention
from mtlutils.models.stages import EncoderFactory, Stages, feature_shapes, separate


class StagesTrunk(Stages):
    """An encoder that shows what each of its stages computes."""

    def forward(self, *inputs: Any) -> list[Tensor]:  # type: ignore[override]  # the last is not all that is needed
        """Return the features of every stage."""
        return self.features(*inputs)


class StagesAttention(nn.Module):
    """A task's attention modules, one a stage, and its head.

    Args:
        shapes: Of each stage's features, less the batch dimension: (C,) or (C, H, W).
        head: Maps the last stage's features to the task's output.
    """

    def __init__(self, shapes: Sequence[torch.Size], head: nn.Module) -> None:
        super().__init__()
        self.attention = nn.ModuleList(
            attention(n if i == 0 else 2 * n, n, n, bias=False, flat=not places)
            for i, (n, *places) in enumerate(shapes)
        )
        self.head = head

    def forward(self, features: Sequence[Tensor], extractors: Sequence[nn.Module]) -> Tensor:
        """Return the task's output."""
        carried: list[Tensor] = []  # the features of the stage before; the first stage has none
        for mask, extract, x in zip(self.attention, [*extractors, nn.Identity()], features, strict=True):
            attended = mask(torch.cat([x, *carried], dim=1)) * x
            carried = [extract(attended)]
        return self.head(attended)


class MTAN(AttentionModel):
    r"""MTAN on the stages of any encoder, whose features are (B, C) or (B, C, H, W).

    .. math:: \hat x_{t,l} = \sigma\bigl(A_{t,l} [x_l, F_l'(\hat x_{t,l-1})]\bigr) \odot x_l

    where :math:`x_l` are the trunk's features after stage l, and the head of task t is given :math:`\hat x_{t,n}`.
    Liu et al. 2019 (*End-to-end multi-task learning with attention*), section 3.1. An attention module
    :math:`A_{t,l}` has two layers, linear in the channels and the same at each place of an image, with batch norm
    after each. Two choices make it fit stages of one layer, and features without places:

    - The module sees the features that it masks, where the published networks have those of the stage's first layer.
    - What carries attended features on, :math:`F_l'`, which the tasks share, has the layers of stage l, in the place
      of a 3×3 convolution with pooling; it brings them to that stage's shape, whatever that is.

    Args:
        encoder: As in :mod:`mtlutils.models.stages`.
        heads: Task name -> head.
        example: A batch's inputs.

    Raises:
        InputError: a stage's features have another shape.
    """

    def __init__(self, encoder: EncoderFactory, heads: Mapping[str, nn.Module], *, example: Sequence[Any]) -> None:
        trunk, carrying = separate([encoder] * 2)
        shapes = feature_shapes(trunk, example)
        if wrong := [shape for shape in shapes if len(shape) not in (1, 3)]:
            raise InputError(f"attention needs features (B, C) or (B, C, H, W), got (B, {str(tuple(wrong[0]))[1:]}")
        tasks = {task: StagesAttention(shapes, head) for task, head in heads.items()}
        super().__init__(StagesTrunk(*trunk), list(carrying)[1:], tasks)
