"""Impartial multi-task learning, gradients (Liu et al. 2021)."""

from typing import Unpack

from torchjd.aggregation import IMTLGWeighting

from mtlutils.balancing.gradient_method import GradientMethod, Options


class IMTLG(GradientMethod):
    r"""The combination whose projections on all tasks' gradients are the same.

    .. math:: \sum_t w_t g_t \cdot \frac{g_i}{\lVert g_i \rVert} = \text{the same for every } i, \qquad \sum_t w_t = 1

    Liu et al. 2021 (*Towards impartial multi-task learning*), the gradient part of IMTL. TorchJD's
    implementation, :math:`w \propto (G G^\top)^+ (\lVert g_1 \rVert, \dots, \lVert g_T \rVert)`, with the
    pseudo-inverse where the gradients depend on one another. Weights can be negative.

    Args:
        n_tasks: Number of tasks T.
        options: ``gradients`` and ``heads``, as for every gradient method. The paper takes the gradients of the
            representation.
    """

    def __init__(self, n_tasks: int, **options: Unpack[Options]) -> None:
        super().__init__(n_tasks, IMTLGWeighting(), **options)
