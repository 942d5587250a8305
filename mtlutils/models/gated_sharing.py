"""The gated multi-task network (Xiao et al. 2018)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mtlutils.errors import InputError
from mtlutils.models.columns import ColumnModel, Columns, columns_of
from mtlutils.models.stages import EncoderFactory, chosen_stages, feature_shapes


class GatedSharingUnit(nn.Module):
    """Adds to each task's features those of the others that come through a gate.

    Args:
        n_tasks: Number of tasks T, two or more.
        channels: Channels C of the features.
        both: Whether a gate sees the borrower's features too, or the lender's alone.
        weight: Every pair's weight at the start.
    """

    def __init__(self, n_tasks: int, channels: int, both: bool, weight: float) -> None:
        super().__init__()
        self.pairs = [(i, j) for i in range(n_tasks) for j in range(n_tasks) if i != j]
        self.both = both
        self.gates = nn.ModuleList(nn.Linear((1 + both) * channels, channels) for _ in self.pairs)
        self.weights = nn.Parameter(torch.full((n_tasks, n_tasks - 1), weight))

    def forward(self, features: Tensor) -> Tensor:
        """Map (T, B, C, ...) to the same shape."""
        each = features.movedim(2, -1)
        mixed = list(each)
        for (i, j), gate, weight in zip(self.pairs, self.gates, self.weights.flatten(), strict=True):
            seen = torch.cat([each[j], each[i]], dim=-1) if self.both else each[j]
            mixed[i] = mixed[i] + weight * gate(seen).sigmoid() * each[j]
        return torch.stack(mixed).movedim(-1, 2)


class GatedSharing(ColumnModel):
    r"""A network a task, and after some stages gates that let a task borrow from each other task what helps it.

    .. math:: \tilde x_i = x_i + \sum_{j \ne i} s_{ij}\, \sigma(G_{ij} x_j + b_{ij}) \odot x_j

    where the scalar :math:`s_{ij}` is learned, and says how much task i gets from task j. Xiao et al. 2018 (*Gated
    multi-task network for text classification*), as Vafaeikia et al. 2020 describe it, in their section of that name
    and figure 7: a gate and a scalar weight for each two tasks. The review has no formula. The sum is chosen since it
    keeps the stages' sizes; the gates act at each place of an image by itself.

    The columns, gates and weights are shared; with one task there are no gates.

    Args:
        encoder: As in :mod:`mtlutils.models.stages`.
        heads: Task name -> head.
        example: A batch's inputs.
        gate_input: ``"lender"``: a gate sees :math:`x_j`, as in the formula; ``"both"``: also :math:`x_i`.
        weight: :math:`s_{ij}` at the start; 0 are separate networks, whose gates do not learn in the first step.
        stages: Those with a unit after them. None: all.

    Raises:
        InputError: no such stage, or no such input of gates.
    """

    def __init__(
        self,
        encoder: EncoderFactory,
        heads: Mapping[str, nn.Module],
        *,
        example: Sequence[Any],
        gate_input: Literal["lender", "both"] = "lender",
        weight: float = 0.1,
        stages: Iterable[int] | None = None,
    ) -> None:
        if gate_input not in ("lender", "both"):
            raise InputError(f"gate_input must be 'lender' or 'both', got {gate_input!r}")
        columns = columns_of(encoder, heads)
        shapes = feature_shapes(next(iter(columns.values())), example)
        chosen = chosen_stages(stages, len(shapes)) if len(heads) > 1 else []
        both = gate_input == "both"
        units = {stage: GatedSharingUnit(len(heads), shapes[stage][0], both, weight) for stage in chosen}
        super().__init__(Columns(columns, units), heads)

    def shared_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of columns and gates, then the pairs' weights, unit by unit.

        The last are then those that the losses of all tasks reach, as methods expect of the last shared layer; a gate
        belongs to one pair.
        """
        weights = {unit.weights for unit in self.encoder.modules() if isinstance(unit, GatedSharingUnit)}
        return iter(sorted(super().shared_parameters(), key=weights.__contains__))
