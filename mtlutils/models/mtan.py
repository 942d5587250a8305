"""Multi-task attention networks (Liu et al. 2019) on SegNet and on a dilated residual network."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

from mtlutils.errors import InputError
from mtlutils.models.dilated_resnet import ASPPHead, resnet_encoder
from mtlutils.models.multi_task import MultiTaskModel
from mtlutils.models.segnet import (
    Decoded,
    Encoded,
    SegNetDecoder,
    SegNetEncoder,
    convolutions,
    decoder_channels,
    initialise,
    prediction,
    stage_channels,
)


class AttentionModel(MultiTaskModel):
    """A trunk that every task sees, attention modules a task, and extractors that carry attended features on.

    The extractors lie on each task's own path, with the same parameters on all of them. They come first among the
    shared parameters, so that the last are those of the trunk's last layer, as methods expect that look for it there.
    Their batch norms take statistics of each task's features in turn, as in the published code.

    Args:
        encoder: The trunk; maps images to its features at every stage.
        extractors: What maps a stage's attended features to the next attention module, in the order of use.
        heads: Task name -> what maps the trunk's features and the extractors to the task's output.
    """

    def __init__(self, encoder: nn.Module, extractors: Iterable[nn.Module], heads: Mapping[str, nn.Module]) -> None:
        super().__init__(encoder, heads)
        self.extractors = nn.ModuleList(extractors)

    def forward(self, *inputs: Any, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Return each task's output, or those of some ``tasks`` only."""
        features = self.encoder(*inputs)
        return {task: self.heads[task](features, self.extractors) for task in (self.heads if tasks is None else tasks)}

    def shared_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the extractors' parameters, then the trunk's."""
        return chain(self.extractors.parameters(), self.encoder.parameters())


class SegNetTrunk(nn.Module):
    """SegNet's encoder and one decoder.

    Args:
        width: Channels of the first stage.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = SegNetEncoder(width)
        self.decoder = SegNetDecoder(width)

    def forward(self, images: Tensor) -> tuple[list[Encoded], list[Decoded]]:
        """Return what the ten stages compute of images (B, 3, H, W); InputError as for SegNet."""
        encoded = self.encoder(images)
        return encoded, self.decoder(encoded)


class SegNetAttention(nn.Module):
    """A task's ten attention modules and prediction.

    Args:
        width: Channels of the trunk's first stage.
        n_outputs: Channels of the task's output.
    """

    def __init__(self, width: int, n_outputs: int) -> None:
        super().__init__()
        channels = stage_channels(width)
        self.encoder_attention = nn.ModuleList(attention(n if i == 0 else 2 * n, n, n) for i, n in enumerate(channels))
        stages = decoder_channels(width)
        self.decoder_attention = nn.ModuleList(attention(n_in + n_out, n_out, n_out) for n_in, n_out in stages)
        self.prediction = prediction(width, n_outputs)

    def forward(self, features: tuple[Sequence[Encoded], Sequence[Decoded]], extractors: Sequence[nn.Module]) -> Tensor:
        """Return the task's output (B, n_outputs, H, W)."""
        encoded, decoded = features
        before: list[Tensor] = []  # the features of the stage before; the first stage has none
        for mask, down, extract in zip(self.encoder_attention, encoded, extractors[:5], strict=True):
            attended = mask(torch.cat([down.first, *before], dim=1)) * down.last
            before = [max_pool2d(extract(attended), 2)]
        (x,) = before
        for mask, up, extract in zip(self.decoder_attention, decoded, extractors[5:], strict=True):
            x = extract(interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))
            x = mask(torch.cat([up.unpooled, x], dim=1)) * up.last
        return self.prediction(x)


class ResNetTrunk(nn.Module):
    """A residual network that shows its stages' features.

    Args:
        resnet: As ``resnet_encoder`` returns it.
    """

    def __init__(self, resnet: nn.Sequential) -> None:
        super().__init__()
        *stem, layer1, layer2, layer3, layer4 = resnet.children()
        stages = [list(layer.children()) for layer in (layer1, layer2, layer3, layer4)]
        self.stem = nn.Sequential(*stem)
        self.bodies = nn.ModuleList(nn.Sequential(*blocks[:-1]) for blocks in stages)
        self.last_blocks = nn.ModuleList(blocks[-1] for blocks in stages)

    def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return what each stage computes of images (B, 3, H, W): before its last block, and after it."""
        x, features = self.stem(images), []
        for body, last_block in zip(self.bodies, self.last_blocks, strict=True):
            before = body(x)
            x = last_block(before)
            features.append((before, x))
        return features


class ResNetAttention(nn.Module):
    """A task's four attention modules and atrous spatial pyramid.

    Args:
        width: Channels of the trunk's stem.
        aspp_channels: Channels of the pyramid.
        n_outputs: Channels of the task's output.
    """

    def __init__(self, width: int, aspp_channels: int, n_outputs: int) -> None:
        super().__init__()
        # The hidden layer has a quarter of the channels, as in a bottleneck block.
        hidden = [width * 2**i for i in range(4)]
        self.attention = nn.ModuleList(attention((4 if i == 0 else 8) * n, n, 4 * n) for i, n in enumerate(hidden))
        self.prediction = ASPPHead(32 * width, aspp_channels, n_outputs)

    def forward(self, features: Sequence[tuple[Tensor, Tensor]], extractors: Sequence[nn.Module]) -> Tensor:
        """Return the task's output (B, n_outputs, H, W)."""
        carried: list[Tensor] = []  # the features of the stage before; the first stage has none
        for i, (mask, (before, last)) in enumerate(zip(self.attention, features, strict=True)):
            x = mask(torch.cat([before, *carried], dim=1)) * last
            if i < 3:
                x = extractors[i](x)
                carried = [max_pool2d(x, 2) if i == 0 else x]  # the later stages have dilation, and keep the size
        return self.prediction(x)


def segnet_mtan(n_outputs: Mapping[str, int], width: int = 64) -> AttentionModel:
    """Build MTAN on SegNet for images (B, 3, H, W), H and W multiples of 32, with outputs (B, channels, H, W).

    Liu et al. 2019 (*End-to-end multi-task learning with attention*), section 3, with the sizes of the code that they
    published, ``model_segnet_mtan.py``. At every stage of encoder and decoder, each task multiplies the stage's last
    features with a mask in (0, 1), which it makes of the stage's first features and of its own from the stage before.
    The latter come through a 3×3 convolution that the tasks share, and pooling or bilinear upsampling. Convolutions
    start from Glorot's normal distribution and biases from 0, as in that code.

    Args:
        n_outputs: Task name -> channels of its output.
        width: Channels of the first stage.

    Raises:
        InputError: ``width`` is below 1; in the forward pass, the images' sides are not multiples of 32.
    """
    channels = stage_channels(width)
    stages = [*zip(channels, [*channels[1:], channels[-1]], strict=True), *decoder_channels(width)]
    extractors = [convolutions(n_in, n_out) for n_in, n_out in stages]
    model = AttentionModel(
        SegNetTrunk(width), extractors, {task: SegNetAttention(width, n) for task, n in n_outputs.items()}
    )
    initialise(model)
    return model


def dilated_resnet_mtan(
    n_outputs: Mapping[str, int],
    layers: Sequence[int] = (3, 4, 6, 3),
    width: int = 64,
    aspp_channels: int = 256,
    weights: Path | None = None,
) -> AttentionModel:
    """Build MTAN on a dilated residual network, with arguments and outputs of ``dilated_resnet``.

    The network that Liu et al. published for DeepLabv3 (``resnet_mtan.py``) and that LibMTL has as ``MTAN``. At each of
    the four stages, a task multiplies the features after the last block with a mask, which it makes of those before
    that block and of its own from the stage before; these come through a bottleneck block that the tasks share. The
    attended features of the last stage are the head's input. LibMTL puts one and the same attention module in the
    place of all tasks' at a stage; here each task has its own, as in the authors' code and in the paper.

    The residual network and the heads start as for ``dilated_resnet``, all else from PyTorch's defaults.

    Args:
        n_outputs: Task name -> channels of its output.
        layers: Bottleneck blocks of each of the four stages, two or more.
        width: Channels of the stem; the stages have 4, 8, 16 and 32 times as many.
        aspp_channels: Channels of a head.
        weights: A state dict of torchvision's network of these sizes for the residual network. None: random.

    Raises:
        InputError: as for ``dilated_resnet``; or a stage has one block, and so nothing before its last.
    """
    if min(layers, default=0) < 2:
        raise InputError(f"attention needs two or more blocks in each of the four layers, got {tuple(layers)}")
    trunk = ResNetTrunk(resnet_encoder(layers, width, weights))
    extractors = [_bottleneck(4 * width * 2**i, 8 * width * 2**i) for i in range(3)]
    heads = {task: ResNetAttention(width, aspp_channels, n) for task, n in n_outputs.items()}
    return AttentionModel(trunk, extractors, heads)


def attention(n_in: int, n_hidden: int, n_out: int, bias: bool = True, flat: bool = False) -> nn.Sequential:
    """Return the layers that make a mask (B, n_out, H, W) in (0, 1) of features (B, n_in, H, W); flat: without H, W.

    The published networks have the biases, whose effect batch norm cancels.
    """
    norm = nn.BatchNorm1d if flat else nn.BatchNorm2d

    def linear(n_in: int, n_out: int) -> nn.Module:
        return nn.Linear(n_in, n_out, bias) if flat else nn.Conv2d(n_in, n_out, 1, bias=bias)

    return nn.Sequential(
        *(linear(n_in, n_hidden), norm(n_hidden), nn.ReLU()),
        *(linear(n_hidden, n_out), norm(n_out), nn.Sigmoid()),
    )


def _bottleneck(n_in: int, n_out: int) -> nn.Module:
    from torchvision.models.resnet import Bottleneck  # takes seconds

    shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, bias=False), nn.BatchNorm2d(n_out))
    return Bottleneck(n_in, n_out // Bottleneck.expansion, downsample=shortcut)
