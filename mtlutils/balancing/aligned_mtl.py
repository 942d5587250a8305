"""Independent component alignment (Senushkin et al. 2023)."""

from collections.abc import Sequence
from typing import Literal, Unpack

from torchjd.aggregation import AlignedMTLWeighting

from mtlutils.balancing.gradient_method import GradientMethod, Options, preference_vector


class AlignedMTL(GradientMethod):
    r"""The mean of the nearest orthogonal gradients of the same length.

    With the eigenvectors V and eigenvalues :math:`\lambda` of :math:`G G^\top`,

    .. math:: w = \sigma\, V \Lambda^{-1/2} V^\top p, \qquad \sigma = \min_i \sqrt{\lambda_i}, \qquad p_t = 1 / T

    so that the matrix :math:`\sigma V \Lambda^{-1/2} V^\top G` has all its singular values equal. Senushkin, Patakin,
    Kuznetsov & Konushin 2023 (*Independent component alignment for multi-task learning*), algorithm 1. TorchJD's
    implementation; eigenvalues that are 0 but for rounding are left out.

    Args:
        n_tasks: Number of tasks T.
        preferences: p, one number a task; None: 1 / T each.
        scale_mode: What :math:`\sigma^2` is of the eigenvalues: ``"min"``, as in the paper, the ``"median"``, or
            ``"rmse"``, their mean, as in the published code.
        options: ``gradients`` and ``heads``, as for every gradient method.
    """

    def __init__(
        self,
        n_tasks: int,
        preferences: Sequence[float] | None = None,
        scale_mode: Literal["min", "median", "rmse"] = "min",
        **options: Unpack[Options],
    ) -> None:
        if scale_mode not in ("min", "median", "rmse"):
            raise ValueError(f"scale_mode must be 'min', 'median' or 'rmse', got {scale_mode!r}")
        super().__init__(n_tasks, **options)
        self.weighting = AlignedMTLWeighting(preference_vector(preferences, n_tasks), scale_mode)
