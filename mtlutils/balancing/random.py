"""Random gradient weighting (Lin et al. 2022)."""

from typing import Unpack

from torchjd.aggregation import RandomWeighting

from mtlutils.balancing.gradient_method import GradientMethod, Options


class RandomGradient(GradientMethod):
    r"""Weights drawn anew at every step: :math:`w = \mathrm{softmax}(z)`, :math:`z_t \sim N(0, 1)`.

    Lin et al. 2022 (*Reasonable effectiveness of random weighting: a litmus test for multi-task learning*), the RGW of
    algorithm 2; ``rlw`` weighs the losses, heads included. The weights sum to 1, as in the paper. TorchJD's
    implementation, drawn from PyTorch's generator of the CPU, whatever the device.

    Args:
        n_tasks: Number of tasks T.
        options: ``gradients`` and ``heads``, as for every gradient method. With ``heads="weighted"``, all is as with
            ``rlw(total=one)``, at more cost.
    """

    def __init__(self, n_tasks: int, **options: Unpack[Options]) -> None:
        super().__init__(n_tasks, RandomWeighting(), **options)
