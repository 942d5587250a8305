"""Gradient vaccine (Wang et al. 2021)."""

from typing import Unpack

import torch
from torch import Tensor
from torchjd.aggregation import GradVacWeighting

from mtlutils.balancing.gradient_method import GradientMethod, Options


class GradVac(GradientMethod):
    r"""The sum of the tasks' gradients, each turned until its cosines with the others reach what they usually are.

    From :math:`g_t' = g_t`, for the other tasks i in a random order, with :math:`\phi = \cos(g_t', g_i)` and its moving
    average :math:`\hat\phi_{ti}`:

    .. math:: g_t' \leftarrow g_t' + \frac{\lVert g_t' \rVert \left( \hat\phi \sqrt{1 - \phi^2} - \phi \sqrt{1 -
              \hat\phi^2} \right)}{\lVert g_i \rVert \sqrt{1 - \hat\phi^2}}\, g_i
              \quad \text{where} \quad \phi < \hat\phi

    and then :math:`\hat\phi_{ti} \leftarrow (1 - \beta)\, \hat\phi_{ti} + \beta \phi`, from 0. Wang et al. 2021
    (*Gradient vaccine: investigating and improving multi-task optimization in massively multilingual models*);
    with all parameters as one group, where the paper also has one a layer. TorchJD's
    implementation. The first step is that of ``pcgrad``.

    Args:
        n_tasks: Number of tasks T.
        beta: :math:`\beta`, from 0 to 1. The paper has 0.01; TorchJD 0.5.
        options: ``gradients`` and ``heads``, as for every gradient method.
    """

    def __init__(self, n_tasks: int, beta: float = 0.01, **options: Unpack[Options]) -> None:
        super().__init__(n_tasks, GradVacWeighting(beta), **options)
        # Before its first call it has no averages that a state could be loaded into; this one leaves them at 0.
        with torch.random.fork_rng(devices=[]):
            self.weigh_gramian(torch.eye(n_tasks, dtype=torch.float64))

    def weigh_gramian(self, gramian: Tensor) -> Tensor:
        """Return the weights (T,)."""
        # The averages are a buffer, which has followed the model to its device.
        self.cpu()
        return super().weigh_gramian(gramian)
