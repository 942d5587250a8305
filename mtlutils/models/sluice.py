"""Sluice networks (Ruder et al. 2019)."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from mtlutils.errors import InputError
from mtlutils.models.columns import ColumnModel, Columns, columns_of
from mtlutils.models.stages import Adapter, EncoderFactory, feature_shapes


class SluiceUnit(nn.Module):
    """Linear combinations of all tasks' subspaces, which are equal parts of the channels.

    Args:
        alphas: (T, G, T, G) What each task's subspace takes of each other task's.
    """

    def __init__(self, alphas: Tensor) -> None:
        super().__init__()
        self.alphas = nn.Parameter(alphas)

    def forward(self, features: Tensor) -> Tensor:
        """Map (T, B, C, ...) to the same shape."""
        parts = features.unflatten(2, (self.alphas.shape[1], -1))
        return torch.einsum("igjh,jbh...->ibg...", self.alphas, parts).flatten(2, 3)


class SluiceHead(nn.Module):
    """A task's mixture of its column's stages, and what maps that to its output.

    Args:
        betas: (L,) The mixture's coefficients.
        skips: What brings each stage's features to the shape of the last.
        head: Maps the mixture to the output.
    """

    def __init__(self, betas: Tensor, skips: Iterable[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.betas = nn.Parameter(betas)
        self.skips = nn.ModuleList(skips)
        self.head = head

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return the output, given the features of the L stages."""
        brought = torch.stack([skip(x) for skip, x in zip(self.skips, features, strict=True)])
        return self.head(torch.einsum("l,l...->...", self.betas, brought))


class Sluice(ColumnModel):
    r"""A network a task, whose layers' subspaces mix, and heads that see a mixture of all layers.

    .. math:: \tilde h_{i,g} = \sum_{j,k} \alpha_{ig,jk} h_{j,k}, \qquad
              \hat h_i = \sum_l \beta_{i,l} \tilde h_{i,l}, \qquad
              \Omega = \lambda \sum_{i,l} \sum_{g < k} \lVert W_{i,l,g}^\top W_{i,l,k} \rVert_F^2

    for subspaces g, k of the tasks i, j, after each stage l. :math:`W_{i,l,g}` are the rows of the stage's weights that
    make subspace g. Ruder et al. 2019 (*Latent multi-task architecture learning*), which was *Sluice networks* first;
    as in the code that they published, the mixtures :math:`\hat h` are of features after mixing, and with two subspaces
    the sum over pairs is their penalty.

    The paper's layers are all of one size. Here a stage of another shape than the last comes to its shape by average
    pooling and a linear map of the channels, which belongs to the task, as the :math:`\beta` do; the :math:`\alpha` and
    columns are shared. The weights W are those of a stage's last convolution or fully connected layer; a stage without
    has no penalty.

    Args:
        encoder: As in :mod:`mtlutils.models.stages`.
        heads: Task name -> head.
        example: A batch's inputs.
        n_subspaces: Parts G of every stage's channels.
        alpha_same: :math:`\alpha` of a subspace itself at the start. The published code has equal :math:`\alpha`, or
            for one subspace 0.9.
        alpha_other: The others. None: what remains of 1, in equal parts.
        beta_last: :math:`\beta` of the last stage at the start; 0.9 in the published code. The others share the rest of
            1, and one stage alone has 1.
        orthogonality: :math:`\lambda`, 0 or more.

    Raises:
        InputError: a stage's channels do not part into so many subspaces, or its features cannot be brought to the last
            stage's shape; or the penalty's strength is negative.
    """

    def __init__(
        self,
        encoder: EncoderFactory,
        heads: Mapping[str, nn.Module],
        *,
        example: Sequence[Any],
        n_subspaces: int = 2,
        alpha_same: float = 0.9,
        alpha_other: float | None = None,
        beta_last: float = 0.9,
        orthogonality: float = 0.1,
    ) -> None:
        if not orthogonality >= 0:
            raise InputError(f"orthogonality must not be negative, got {orthogonality}; 0 is no penalty")
        columns = columns_of(encoder, heads)
        shapes = feature_shapes(next(iter(columns.values())), example)
        for stage, (channels, *_) in enumerate(shapes):
            if n_subspaces < 1 or channels % n_subspaces:
                raise InputError(f"stage {stage} has {channels} channels; choose n_subspaces that divides them")
        n = len(heads) * n_subspaces
        if alpha_other is None:
            alpha_other = (1 - alpha_same) / max(n - 1, 1)
        alphas = torch.full((n, n), alpha_other).fill_diagonal_(alpha_same)
        alphas = alphas.view(len(heads), n_subspaces, len(heads), n_subspaces)
        units = {stage: SluiceUnit(alphas.clone()) for stage in range(len(shapes))}
        betas = torch.full((len(shapes),), (1 - beta_last) / max(len(shapes) - 1, 1))
        betas[-1] = beta_last if len(shapes) > 1 else 1.0

        def skips() -> list[nn.Module]:
            last = shapes[-1]
            return [nn.Identity() if shape == last else Adapter(shape, last, bias=False) for shape in shapes]

        mixing = {task: SluiceHead(betas.clone(), skips(), head) for task, head in heads.items()}
        super().__init__(Columns(columns, units), mixing)
        self.n_subspaces = n_subspaces
        self.orthogonality = orthogonality

    def forward(self, *inputs: Any, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Return each task's output, or those of some ``tasks`` only."""
        features = self.encoder(*inputs)
        asked = self.heads if tasks is None else tasks
        return {task: self.heads[task]([each[task] for each in features]) for task in asked}

    def penalty(self) -> Tensor:
        """Return the strength times how far the subspaces are from orthogonal, a scalar."""
        assert isinstance(self.encoder, Columns)
        total = torch.zeros((), device=next(self.parameters()).device)
        for column in self.encoder.stages().values():
            for stage in column:
                layers = [each for each in stage.modules() if isinstance(each, nn.Linear | nn.Conv1d | nn.Conv2d)]
                if layers:
                    parts = layers[-1].weight.flatten(1).chunk(self.n_subspaces)  # (C/G, fan-in) each
                    # The norm of AᵀB from the small Gram matrices: tr(AAᵀ BBᵀ).
                    grams = [part @ part.T for part in parts]
                    for one, other in combinations(grams, 2):
                        total = total + (one * other).sum()
        return self.orthogonality * total
