"""Multi-backbone multi-task networks (Ciubotariu & Czibula 2022)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtlutils.errors import InputError
from mtlutils.models.multi_task import MultiTaskModel
from mtlutils.models.stages import EncoderFactory, separate


class Backbones(nn.Module):
    """Encoders side by side.

    Args:
        encoders: Each maps the inputs to features of the same shape but for the channels.
    """

    def __init__(self, encoders: Sequence[nn.Module]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)

    def forward(self, *inputs: Any) -> Tensor:
        """Return all encoders' features, (B, sum of their channels, ...).

        Raises:
            InputError: the features differ in more than the channels.
        """
        features = [encoder(*inputs) for encoder in self.encoders]
        if len({(*each.shape[:1], *each.shape[2:]) for each in features}) > 1:
            shapes = ", ".join(str(tuple(each.shape)) for each in features)
            raise InputError(f"backbones must give features that differ in channels alone, got {shapes}; pool them")
        return torch.cat(features, dim=1)


class MultiBackbone(MultiTaskModel):
    """Several backbones, whose features are put side by side for every head.

    Ciubotariu & Czibula 2022 (*MBMT-Net: a multi-task learning based convolutional neural network architecture for
    dense prediction tasks*), whose backbones are pre-trained, of one kind or several. One backbone is hard sharing. All
    backbones are shared.

    Args:
        encoders: One function for each backbone, otherwise as in :mod:`mtlutils.models.stages`.
        heads: Task name -> what maps features with the channels of all backbones to the task's output.

    Raises:
        InputError: there is no backbone, or the same one twice; in the forward pass, the features differ in more than
            the channels.
    """

    def __init__(self, encoders: Sequence[EncoderFactory], heads: Mapping[str, nn.Module]) -> None:
        if not encoders:
            raise InputError("a multi-backbone network needs a backbone; encoders is empty")
        super().__init__(Backbones(separate(encoders)), heads)
