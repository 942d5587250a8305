"""The wide residual network of Zagoruyko & Komodakis 2016, with one output layer a task."""

from collections.abc import Mapping

from torch import Tensor, nn

from mtlutils.errors import InputError
from mtlutils.models.multi_task import MultiTaskModel


class Block(nn.Module):
    """Two 3×3 convolutions, each after batch norm and ReLU, and a shortcut around them.

    Args:
        n_in: Input channels.
        n_out: Output channels.
        stride: Of the first convolution.
    """

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(n_in)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.project = None if n_in == n_out else nn.Conv2d(n_in, n_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_in, H, W) to (B, n_out, H/stride, W/stride)."""
        active = self.norm1(x).relu()
        # Where the shape changes, the shortcut too starts after the first activation.
        shortcut = x if self.project is None else self.project(active)
        return shortcut + self.conv2(self.norm2(self.conv1(active)).relu())


def wide_resnet(depth: int, width: int, n_classes: Mapping[str, int]) -> MultiTaskModel:
    """Build WRN-depth-width for images of 32×32 (B, 3, 32, 32), its last layer split into one a task.

    Zagoruyko & Komodakis 2016 (*Wide residual networks*), table 1, without dropout; WRN-28-10 with one output layer of
    100 classes has 36.5 million parameters. Convolutions start from He et al.'s normal distribution, by fan-out.

    Args:
        depth: Number of convolutions on the longest path and the output layer: 6 n + 4 for n blocks in each of the
            three groups.
        width: Factor of the groups' 16, 32 and 64 channels.
        n_classes: Task name -> number of classes.

    Raises:
        InputError: there is no network of that depth or width.
    """
    if depth < 10 or (depth - 4) % 6 or width < 1:
        raise InputError(f"a wide residual network has depth 10, 16, 22, ... and width 1, 2, ...; got {depth}-{width}")
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1, bias=False)]
    n_in = 16
    for group in range(3):
        n_out = 16 * 2**group * width
        for block in range((depth - 4) // 6):
            layers.append(Block(n_in, n_out, stride=2 if group > 0 and block == 0 else 1))
            n_in = n_out
    layers += [nn.BatchNorm2d(n_in), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = MultiTaskModel(nn.Sequential(*layers), {task: nn.Linear(n_in, n) for task, n in n_classes.items()})
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model
