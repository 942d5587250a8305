"""Soft parameter sharing: a network a task, tied by the distance of their parameters (Duong et al. 2015)."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from mtlutils.errors import InputError
from mtlutils.models.columns import ColumnModel, Columns, columns_of
from mtlutils.models.stages import EncoderFactory, chosen_stages


class SoftSharing(ColumnModel):
    r"""Separate networks, whose corresponding parameters attract each other.

    .. math:: \Omega = \lambda \sum_{i < j} \sum_l \lVert \theta_{i,l} - \theta_{j,l} \rVert^2

    over the tasks' columns i, j and tied stages l. Duong et al. 2015 (*Low resource dependency parsing: cross-lingual
    parameter sharing in a neural network parser*) tie two networks by this squared distance; Vafaeikia et al. 2020
    review it as the classic form of soft sharing.

    No loss reaches another task's column, and so there is no shared layer for GradNorm to compare gradients at.

    Args:
        encoder: As in :mod:`mtlutils.models.stages`.
        heads: Task name -> head.
        strength: :math:`\lambda`, 0 or more; 0 leaves separate networks.
        stages: The tied ones. None: all.

    Raises:
        InputError: the strength is negative, or there is no such stage.
    """

    def __init__(
        self,
        encoder: EncoderFactory,
        heads: Mapping[str, nn.Module],
        *,
        strength: float = 1e-3,
        stages: Iterable[int] | None = None,
    ) -> None:
        if not strength >= 0:
            raise InputError(f"strength must not be negative, got {strength}; 0 leaves separate networks")
        columns = columns_of(encoder, heads)
        super().__init__(Columns(columns, {}), heads)
        self.strength = strength
        self.tied = chosen_stages(stages, len(next(iter(columns.values()))))

    def penalty(self) -> Tensor:
        """Return the strength times the columns' summed squared distances, a scalar."""
        assert isinstance(self.encoder, Columns)
        columns = list(self.encoder.stages().values())
        total = torch.zeros((), device=next(self.parameters()).device)
        for stage in self.tied:
            for each in zip(*(column[stage].parameters() for column in columns), strict=True):
                # The distances from the mean, T times, are those of all pairs.
                values = torch.stack(each)
                total = total + len(columns) * (values - values.mean(dim=0)).square().sum()
        return self.strength * total
