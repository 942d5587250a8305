"""A network of the kind that Liu trains on Fingers (*A closer look at the multi-task learning neural networks*)."""

import itertools
from collections.abc import Mapping, Sequence

from torch import nn

from mtlutils.errors import InputError
from mtlutils.models.multi_task import MultiTaskModel


def fingers_cnn(
    n_classes: Mapping[str, int],
    size: int = 64,
    channels: Sequence[int] = (16, 32, 64, 64),
    joint_hidden: Sequence[int] = (256, 128),
    hidden: Sequence[int] = (128, 64),
) -> MultiTaskModel:
    """Build the network for square images in one channel (B, 1, size, size).

    Liu, section 2.1: four convolutional layers are shared; a head has three fully connected layers, whose hidden sizes
    are smaller where there are several heads. The paper prints no size. Here the convolutions are 3×3, each with max
    pooling by 2 and ReLU, and two heads have half the joint head's hidden sizes, so that both networks are about
    equally large: for images of 64×64, 357,068 parameters with one task of 12 classes, 339,656 with tasks of 6 and 2.

    Args:
        n_classes: Task name -> number of classes.
        size: Height and width of the images, a multiple of 16.
        channels: Of the convolutions.
        joint_hidden: Hidden sizes of the head where there is one task.
        hidden: Hidden sizes of each head where there are several.

    Raises:
        InputError: size is no positive multiple of 16.
    """
    if size < 16 or size % 16:
        raise InputError(f"size must be a positive multiple of 16, which is pooled by 2 four times; got {size}")
    # Pooling before ReLU: the same function and gradients, a quarter of the ReLUs.
    convolutions = [
        layer
        for n_in, n_out in itertools.pairwise([1, *channels])
        for layer in (nn.Conv2d(n_in, n_out, 3, padding=1), nn.MaxPool2d(2), nn.ReLU())
    ]
    encoder = nn.Sequential(*convolutions, nn.Flatten())  # (B, 64 (size / 16)²)
    n_features = channels[-1] * (size // 16) ** 2

    def head(n: int) -> nn.Module:
        sizes = [n_features, *(joint_hidden if len(n_classes) == 1 else hidden)]
        layers = [layer for n_in, n_out in itertools.pairwise(sizes) for layer in (nn.Linear(n_in, n_out), nn.ReLU())]
        return nn.Sequential(*layers, nn.Linear(sizes[-1], n))

    return MultiTaskModel(encoder, {task: head(n) for task, n in n_classes.items()})
