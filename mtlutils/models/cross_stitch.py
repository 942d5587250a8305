"""Cross-stitch networks (Misra et al. 2016)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtlutils.errors import InputError
from mtlutils.models.columns import ColumnModel, Columns, columns_of
from mtlutils.models.stages import EncoderFactory, chosen_stages, feature_shapes


class CrossStitchUnit(nn.Module):
    """Linear combinations of the tasks' features.

    Args:
        alphas: (T, T) What each task, a row, takes of each; or (C, T, T), one matrix a channel.
    """

    def __init__(self, alphas: Tensor) -> None:
        super().__init__()
        self.alphas = nn.Parameter(alphas)

    def forward(self, features: Tensor) -> Tensor:
        """Map (T, B, C, ...) to the same shape."""
        matrices = "ij" if self.alphas.dim() == 2 else "cij"
        return torch.einsum(f"{matrices},jbc...->ibc...", self.alphas, features)


class CrossStitch(ColumnModel):
    r"""A network a task, and after some stages a unit that gives each task a mixture of all tasks' features.

    .. math:: \tilde x_i^{(c)} = \sum_j \alpha_{ij}^{(c)} x_j^{(c)}

    for channel c. Misra et al. 2016 (*Cross-stitch networks for multi-task learning*), equation 1, with units after
    pooling and fully connected layers of an AlexNet. The matrices are free, and neither rows nor columns need sum to 1.

    The paper finds 0.9 and 0.1 the best start for two tasks, columns that start from networks trained on their own
    task better than others, and a learning rate 100 to 1000 times that of the layers good for the units; the latter
    are ``model.encoder.units``.

    Args:
        encoder: As in :mod:`mtlutils.models.stages`.
        heads: Task name -> head.
        alpha_same: :math:`\alpha_{ii}` at the start.
        alpha_other: :math:`\alpha_{ij}` at the start. None: what remains of 1, in equal parts.
        stages: Those with a unit after them. None: all.
        per_channel: Whether each channel has a matrix of its own, as in the paper's experiments, or a layer has one.
        example: A batch's inputs; needed for ``per_channel``.

    Raises:
        InputError: no such stage; or ``per_channel`` without example.
    """

    def __init__(
        self,
        encoder: EncoderFactory,
        heads: Mapping[str, nn.Module],
        *,
        alpha_same: float = 0.9,
        alpha_other: float | None = None,
        stages: Iterable[int] | None = None,
        per_channel: bool = False,
        example: Sequence[Any] | None = None,
    ) -> None:
        n_tasks = len(heads)
        columns = columns_of(encoder, heads)
        first = next(iter(columns.values()))
        if alpha_other is None:
            alpha_other = (1 - alpha_same) / max(n_tasks - 1, 1)
        alphas = torch.full((n_tasks, n_tasks), alpha_other).fill_diagonal_(alpha_same)
        chosen = chosen_stages(stages, len(first))
        if not per_channel:
            units = {stage: CrossStitchUnit(alphas.clone()) for stage in chosen}
        elif example is None:
            raise InputError("units per channel must know how many channels there are; give example, a batch's inputs")
        else:
            shapes = feature_shapes(first, example)
            units = {stage: CrossStitchUnit(alphas.repeat(shapes[stage][0], 1, 1)) for stage in chosen}
        super().__init__(Columns(columns, units), heads)
