"""A residual network of output stride 8 (Yu et al. 2017) with one atrous spatial pyramid a task (Chen et al. 2017)."""

import textwrap
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mtlutils import folders
from mtlutils.errors import InputError
from mtlutils.models.multi_task import MultiTaskModel

RATES = (12, 24, 36)


class Normalise(nn.Module):
    """Shifts and scales RGB images in [0, 1] by each channel's mean and standard deviation in ImageNet."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Constants, so not in the state: its names are then those of torchvision's files.
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) to the same shape.

        Raises:
            InputError: H or W is not a multiple of 8, the network's output stride.
        """
        height, width = images.shape[-2:]
        if height % 8 or width % 8:
            raise InputError(
                f"a dilated residual network needs images whose sides are multiples of 8, got {height}×{width}; "
                "resize them"
            )
        return (images - self.mean) / self.deviation


class ASPPHead(nn.Sequential):
    """DeepLabv3's head: an atrous spatial pyramid, a 3×3 and a 1×1 convolution, and bilinear upsampling by 8.

    Args:
        n_in: Channels of the features.
        n_channels: Channels of the pyramid and of what follows it.
        n_outputs: Channels of the task's output.
    """

    def __init__(self, n_in: int, n_channels: int, n_outputs: int) -> None:
        # Takes seconds to import, half of what PyTorch does.
        from torchvision.models.segmentation.deeplabv3 import ASPP

        super().__init__(
            ASPP(n_in, RATES, n_channels),
            *(nn.Conv2d(n_channels, n_channels, 3, padding=1, bias=False), nn.BatchNorm2d(n_channels), nn.ReLU()),
            *(nn.Conv2d(n_channels, n_outputs, 1), nn.Upsample(scale_factor=8, mode="bilinear")),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, n_in, H/8, W/8) to (B, n_outputs, H, W).

        Raises:
            InputError: one image alone in training, where batch norm after global pooling has one number a channel.
        """
        if self.training and len(features) == 1:
            raise InputError(
                "the head's batch norm cannot train on one image; choose a batch_size that leaves none alone"
            )
        return super().forward(features)


def dilated_resnet(
    n_outputs: Mapping[str, int],
    layers: Sequence[int] = (3, 4, 6, 3),
    width: int = 64,
    aspp_channels: int = 256,
    weights: Path | None = None,
) -> MultiTaskModel:
    """Build the network for RGB images (B, 3, H, W) in [0, 1], sides multiples of 8, with outputs (B, channels, H, W).

    By default the ResNet-50 of torchvision, whose last two stages have dilations 2 and 4 in the place of strides, and
    heads with atrous rates 12, 24 and 36: the network of LibMTL's NYUv2 example (``resnet_dilated``, ``DeepLabHead``).
    Unlike LibMTL, the encoder first normalises the images with ImageNet's mean and deviation, pretrained or not; and
    the upsampling does not align corners, as in torchvision's DeepLabv3 and in the code of Liu et al. 2019.

    The encoder starts as in torchvision, from He et al.'s normal distribution by fan-out; the heads, as in torchvision
    and LibMTL, from PyTorch's defaults. Heads have dropout of 0.5 after the pyramid.

    Args:
        n_outputs: Task name -> channels of its output.
        layers: Bottleneck blocks of each of the four stages.
        width: Channels of the stem; the stages have 4, 8, 16 and 32 times as many.
        aspp_channels: Channels of a head.
        weights: A state dict of torchvision's network of these sizes, such as :func:`pretrained_weights` finds, for
            the encoder. None: random.

    Raises:
        InputError: there is no network of these sizes; ``weights`` cannot be read or are of another network; in the
            forward pass, the images' sides are not multiples of 8, or one image comes alone in training.
    """
    encoder = resnet_encoder(layers, width, weights)
    return MultiTaskModel(encoder, {task: ASPPHead(32 * width, aspp_channels, n) for task, n in n_outputs.items()})


def resnet_encoder(layers: Sequence[int], width: int, weights: Path | None) -> nn.Sequential:
    """Return the residual network up to its last stage, (B, 3, H, W) to (B, 32 width, H/8, W/8).

    Its parameters have the names that they have in torchvision.

    Raises:
        InputError: as for :func:`dilated_resnet`.
    """
    if len(layers) != 4 or min(layers) < 1 or width < 1:
        raise InputError(f"layers are four numbers of blocks and width is 1 or more, got {tuple(layers)} and {width}")
    from torchvision.models.resnet import Bottleneck, ResNet  # takes seconds

    # torchvision has no argument for the width, so its stages are made anew; those that it makes itself take neither
    # memory nor random numbers.
    with torch.device("meta"):
        resnet = ResNet(Bottleneck, list(layers))
    resnet.inplanes, resnet.dilation = width, 1
    stages: OrderedDict[str, nn.Module] = OrderedDict(
        normalise=Normalise(),
        conv1=nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
        bn1=nn.BatchNorm2d(width),
        relu=nn.ReLU(),
        maxpool=resnet.maxpool,
    )
    for i, n_blocks in enumerate(layers):
        stride, dilate = (1 if i == 0 else 2), i >= 2
        stages[f"layer{i + 1}"] = resnet._make_layer(Bottleneck, width * 2**i, n_blocks, stride, dilate)
    network = nn.Sequential(stages)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    if weights is not None:
        _load(network, weights)
    return network


def pretrained_weights() -> Path:
    """Return the file of torchvision's ResNet-50 trained on ImageNet, downloaded where it is not there yet.

    It is looked for in the folder where torchvision keeps its downloads, and anywhere in the folder ``weights`` of the
    data. Of torchvision's two it is the first, from its original recipe, as is LibMTL's (``resnet50-19c8e357.pth``).

    Raises:
        InputError: it is in neither folder and cannot be downloaded.
    """
    from torchvision.models.resnet import ResNet50_Weights  # takes seconds

    url = ResNet50_Weights.IMAGENET1K_V1.url
    name = url.rpartition("/")[2]
    downloaded = Path(torch.hub.get_dir(), "checkpoints", name)
    found = [path for path in (downloaded, *sorted((folders.data() / "weights").rglob(name))) if path.is_file()]
    if found:
        return found[0]
    try:
        downloaded.parent.mkdir(parents=True, exist_ok=True)
        # The file's name ends with the start of its digest.
        torch.hub.download_url_to_file(url, str(downloaded), hash_prefix=name.removesuffix(".pth").rpartition("-")[2])
    except (OSError, RuntimeError) as error:  # no network, a full disk; another digest
        raise InputError(
            f"the weights of a ResNet-50 trained on ImageNet cannot be downloaded ({error}): put {url} (98 MB) into "
            "the folder weights below MTLUTILS_DATA, or set pretrained to false"
        ) from error
    return downloaded


def _load(network: nn.Module, weights: Path) -> None:
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        network.load_state_dict({name: value for name, value in state.items() if not name.startswith("fc.")})
    except Exception as error:  # whatever a missing, cut or foreign file raises
        reason = textwrap.shorten(str(error), 200) or type(error).__name__
        raise InputError(
            f"{weights}: not the weights of this residual network ({reason}); give a file of torchvision's for the "
            "same layers and width, or None"
        ) from error
