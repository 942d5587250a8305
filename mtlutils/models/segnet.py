"""SegNet (Badrinarayanan et al. 2017) with one decoder a task."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.functional import max_pool2d, max_unpool2d

from mtlutils.errors import InputError
from mtlutils.models.multi_task import MultiTaskModel

N_CONVOLUTIONS = (2, 2, 3, 3, 3)


class Encoded(NamedTuple):
    """What a stage of the encoder hands on, its input being (B, n_in, H, W)."""

    first: Tensor
    """(B, n_out, H, W) After the first convolution."""
    last: Tensor
    """(B, n_out, H, W) After the last convolution."""
    pooled: Tensor
    """(B, n_out, H/2, W/2) Maxima of 2×2 pixels each."""
    indices: Tensor
    """(B, n_out, H/2, W/2) Where in the H·W pixels the maxima are."""


class Decoded(NamedTuple):
    """What a stage of the decoder hands on, its input being (B, n_in, H/2, W/2)."""

    unpooled: Tensor
    """(B, n_in, H, W) The input where the encoder's maxima were, 0 elsewhere."""
    last: Tensor
    """(B, n_out, H, W) After the last convolution."""


class SegNetEncoder(nn.Module):
    """The convolutions of VGG-16, each with batch norm and ReLU, in five stages that end in max pooling by 2.

    Args:
        width: Channels of the first stage; the others have 2, 4, 8 and 8 times as many.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        stages = zip(pairwise([3, *stage_channels(width)]), N_CONVOLUTIONS, strict=True)
        self.stages = nn.ModuleList(convolutions(n_in, n_out, n) for (n_in, n_out), n in stages)

    def forward(self, images: Tensor) -> list[Encoded]:
        """Return what each stage computes of images (B, 3, H, W), finest first.

        Raises:
            InputError: H or W is not a multiple of 32, so that unpooling would not give the size before pooling.
        """
        height, width = images.shape[-2:]
        if height % 32 or width % 32:
            raise InputError(f"SegNet needs images whose sides are multiples of 32, got {height}×{width}; resize them")
        x, encoded = images, []
        for stage in self.stages:
            opening, *others = stage.children()
            first = last = opening(x)
            for layer in others:
                last = layer(last)
            x, indices = max_pool2d(last, 2, return_indices=True)
            encoded.append(Encoded(first, last, x, indices))
        return encoded


class SegNetDecoder(nn.Module):
    """The encoder's mirror image: five stages that start with max unpooling by 2.

    Args:
        width: Channels of the last stage.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        stages = zip(decoder_channels(width), reversed(N_CONVOLUTIONS), strict=True)
        self.stages = nn.ModuleList(convolutions(n_in, n_out, n) for (n_in, n_out), n in stages)

    def forward(self, encoded: Sequence[Encoded]) -> list[Decoded]:
        """Return what each stage computes, coarsest first; the last is (B, width, H, W)."""
        x, decoded = encoded[-1].pooled, []
        for stage, mirrored in zip(self.stages, reversed(encoded), strict=True):
            unpooled = max_unpool2d(x, mirrored.indices, (2, 2))
            x = stage(unpooled)
            decoded.append(Decoded(unpooled, x))
        return decoded


class SegNetHead(nn.Module):
    """A task's own decoder and prediction.

    Args:
        width: Channels of the decoder's last stage.
        n_outputs: Channels of the task's output.
    """

    def __init__(self, width: int, n_outputs: int) -> None:
        super().__init__()
        self.decoder = SegNetDecoder(width)
        self.prediction = prediction(width, n_outputs)

    def forward(self, encoded: Sequence[Encoded]) -> Tensor:
        """Return the task's output (B, n_outputs, H, W)."""
        return self.prediction(self.decoder(encoded)[-1].last)


def segnet(n_outputs: Mapping[str, int], width: int = 64) -> MultiTaskModel:
    """Build the network for images (B, 3, H, W), H and W multiples of 32, with outputs (B, channels, H, W).

    The encoder is shared and each task has a decoder, as Lee & Son 2020 (*Multitask learning with single gradient step
    update for task balancing*), section 4.2, describe theirs. Layers and sizes are those of the code that Liu et al.
    2019 (*End-to-end multi-task learning with attention*) published, ``model_segnet_split.py``, where the tasks part
    only after the decoder: 13 convolutions each in encoder and decoder, then one of 3×3 and one of 1×1 with nothing
    between them. Convolutions start from Glorot's normal distribution and biases from 0, as there too. With one task
    of 13 channels it is the single-task network of that code, of 24,981,069 parameters.

    Outputs are plain: that code's logarithm of softmax (segmentation) and unit length (normals) belong to the losses.

    Args:
        n_outputs: Task name -> channels of its output.
        width: Channels of the first stage.

    Raises:
        InputError: ``width`` is below 1; in the forward pass, the images' sides are not multiples of 32.
    """
    model = MultiTaskModel(SegNetEncoder(width), {task: SegNetHead(width, n) for task, n in n_outputs.items()})
    initialise(model)
    return model


def stage_channels(width: int) -> list[int]:
    """Return the channels of the five stages, finest first; InputError where there are none."""
    if width < 1:
        raise InputError(f"width is the channels of the first stage, 1 or more; got {width}")
    return [width, 2 * width, 4 * width, 8 * width, 8 * width]


def decoder_channels(width: int) -> list[tuple[int, int]]:
    """Return the channels that go into, and come out of, the decoder's five stages, coarsest first."""
    return list(pairwise([width, *stage_channels(width)][::-1]))


def convolutions(n_in: int, n_out: int, n: int = 1) -> nn.Sequential:
    """Return n 3×3 convolutions with batch norm and ReLU, (B, n_in, H, W) to (B, n_out, H, W), as n layers."""
    # A bias before batch norm is idle; it stays for the published number of parameters.
    return nn.Sequential(
        *(
            nn.Sequential(nn.Conv2d(n_in if i == 0 else n_out, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU())
            for i in range(n)
        )
    )


def prediction(n_in: int, n_outputs: int) -> nn.Sequential:
    """Return the layers after a task's last features, (B, n_in, H, W) to (B, n_outputs, H, W)."""
    return nn.Sequential(nn.Conv2d(n_in, n_in, 3, padding=1), nn.Conv2d(n_in, n_outputs, 1))


def initialise(model: nn.Module) -> None:
    """Draw every convolution's weights from Glorot's normal distribution, and set its biases to 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_normal_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
