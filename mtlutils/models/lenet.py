"""The LeNet that Lin et al. 2019 train on Multi-MNIST, and others after them."""

from collections.abc import Mapping
from typing import Literal

from torch import nn

from mtlutils.models.multi_task import MultiTaskModel

N_FEATURES = 50


def lenet(n_classes: Mapping[str, int], head: Literal["linear", "hidden"] = "linear") -> MultiTaskModel:
    """Build the network for images of 36×36 in one channel (B, 1, 36, 36).

    Two convolutions (9×9 to 10 channels, 5×5 to 20), each with max pooling by 2 and ReLU, and a fully connected layer
    of 50 with ReLU are shared. The sizes are those of the code that Lin et al. 2019 (*Pareto multi-task learning*)
    published, whose network Lee & Son 2020 say they took.

    Args:
        n_classes: Task name -> number of classes.
        head: A task's own layers, on which the sources differ. ``"linear"``: one layer from 50 features to the classes,
            as in that code. ``"hidden"``: another fully connected layer of 50 with ReLU before it, as Sener & Koltun
            2018 (*Multi-task learning as multi-objective optimization*) have it in theirs.
    """
    # Pooling before ReLU: the same function and gradients, a quarter of the ReLUs.
    encoder = nn.Sequential(
        *(nn.Conv2d(1, 10, 9), nn.MaxPool2d(2), nn.ReLU()),  # (B, 10, 14, 14)
        *(nn.Conv2d(10, 20, 5), nn.MaxPool2d(2), nn.ReLU()),  # (B, 20, 5, 5)
        *(nn.Flatten(), nn.Linear(500, N_FEATURES), nn.ReLU()),
    )

    def layers(n: int) -> nn.Module:
        output = nn.Linear(N_FEATURES, n)
        return nn.Sequential(nn.Linear(N_FEATURES, N_FEATURES), nn.ReLU(), output) if head == "hidden" else output

    return MultiTaskModel(encoder, {task: layers(n) for task, n in n_classes.items()})
