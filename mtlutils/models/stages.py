"""How the sharing architectures see an encoder: as stages, one after the other.

All of them are built the same way, ``Architecture(encoder, heads, *, ...)``:

- ``encoder`` is a function without arguments that makes a new encoder, as an architecture may need one for every task.
  The children of an ``nn.Sequential`` are its stages, and :func:`in_stages` groups layers to stages. Any other module
  is one stage. How parameters start is the function's to decide: one that returns copies of a trained network starts
  there.
- ``heads`` is task name -> what maps the last stage's features to the task's output, as for ``MultiTaskModel``.
- ``example``, where the sizes of features must be known: a batch's inputs, of which nothing but the shapes matters.
- ``stages``, where something happens at some stages only: their numbers, from 0. None: all of them.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from mtlutils.errors import InputError

EncoderFactory = Callable[[], nn.Module]
"""Makes an encoder; see this module's description."""


class Stages(nn.Sequential):
    """An encoder as a chain of stages, of which the first takes all inputs of the batch."""

    def forward(self, *inputs: Any) -> Tensor:
        """Return what the last stage computes."""
        return self.features(*inputs)[-1]

    def features(self, *inputs: Any, n: int | None = None) -> list[Tensor]:
        """Return what each stage computes, or each of the first ``n``."""
        features: list[Tensor] = []
        for stage in list(self)[:n]:
            inputs = (stage(*inputs),)
            features += inputs
        return features


def stages_of(encoder: nn.Module) -> Stages:
    """Return the stages of an encoder, with its own modules; InputError if it has none."""
    stages = Stages(*(encoder if isinstance(encoder, nn.Sequential) else [encoder]))
    if not len(stages):
        raise InputError("an encoder needs at least one stage; this nn.Sequential is empty")
    return stages


def separate(encoders: Iterable[EncoderFactory]) -> list[Stages]:
    """Make encoders that have no parameters in common; InputError where a function does not make a new one."""
    made = [stages_of(encoder()) for encoder in encoders]
    parameters = [id(parameter) for each in made for parameter in each.parameters()]
    if len(set(parameters)) < len(parameters):
        raise InputError("encoder gave the same parameters twice; give a function that makes a new one at each call")
    return made


def in_stages(encoder: nn.Sequential, ends: Sequence[int]) -> nn.Sequential:
    """Group an encoder's children to stages.

    Args:
        encoder: What to group.
        ends: Number of the first child after each stage but the last: ``(3, 6)`` makes stages of the children 0 to 2, 3
            to 5, and 6 to the last.

    Raises:
        InputError: a stage would be empty.
    """
    children = list(encoder)
    bounds = [0, *ends, len(children)]
    if any(start >= end for start, end in pairwise(bounds)):
        raise InputError(f"ends must rise from 1 to {len(children) - 1} at most, got {tuple(ends)}")
    return nn.Sequential(*(nn.Sequential(*children[start:end]) for start, end in pairwise(bounds)))


def chosen_stages(stages: Iterable[int] | None, n_stages: int) -> list[int]:
    """Return the numbers of chosen stages in order, all if None; InputError where there is no such stage."""
    chosen = list(range(n_stages)) if stages is None else sorted(set(stages))
    if wrong := [stage for stage in chosen if not 0 <= stage < n_stages]:
        raise InputError(f"the encoder has stages 0 to {n_stages - 1}, and no {wrong[0]}; choose among those")
    return chosen


def feature_shapes(stages: Stages, example: Sequence[Any]) -> list[torch.Size]:
    """Return the shape of each stage's features, less the batch dimension.

    Raises:
        InputError: a stage returns something else than one tensor of features.
    """
    # A copy in evaluation mode: neither running statistics nor random numbers move.
    with torch.no_grad():
        features = copy.deepcopy(stages).eval().features(*example)
    for stage, each in enumerate(features):
        if not isinstance(each, Tensor) or each.dim() < 2:
            raise InputError(f"stage {stage} of the encoder must return features (B, C, ...); use another encoder")
    return [each.shape[1:] for each in features]


def with_batch_norm(encoder: nn.Module, example: Sequence[Any]) -> nn.Sequential:
    """Return an encoder with a batch norm at the end of every stage, whose features are (B, C) or (B, C, H, W)."""
    stages = stages_of(encoder)
    norms = {1: nn.BatchNorm1d, 3: nn.BatchNorm2d}
    shapes = feature_shapes(stages, example)
    return nn.Sequential(
        *(nn.Sequential(stage, norms[len(shape)](shape[0])) for stage, shape in zip(stages, shapes, strict=True))
    )


class Residual(nn.Module):
    """A block that keeps its input's shape, and contains its shortcut.

    Args:
        layer: Maps features to the same shape.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return ReLU(x + layer(x))."""
        return torch.relu(x + self.layer(x))


class Adapter(nn.Module):
    """Brings features to another stage's shape: adaptive average pooling, then a linear map of the channels.

    Args:
        source: (C,) or (C, H, W), of what comes in.
        target: The same, of what goes out; (C,) where ``source`` is.
        bias: Whether the linear map has a bias.

    Raises:
        InputError: there is no such map.
    """

    def __init__(self, source: torch.Size, target: torch.Size, bias: bool = True) -> None:
        super().__init__()
        if (len(source), len(target)) not in {(1, 1), (3, 1), (3, 3)}:
            raise InputError(f"features of shape {tuple(source)} cannot be brought to {tuple(target)}; leave them out")
        self.flat = len(target) == 1
        self.size = (1, 1) if self.flat else (target[1], target[2])
        n_in, n_out = source[0], target[0]
        self.linear = nn.Linear(n_in, n_out, bias) if self.flat else nn.Conv2d(n_in, n_out, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, *source) to (B, *target)."""
        if x.dim() == 4:
            x = adaptive_avg_pool2d(x, self.size)
        return self.linear(x.flatten(1) if self.flat else x)
