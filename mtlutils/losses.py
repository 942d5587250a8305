"""Losses of dense prediction, as in MTAN (Liu et al. 2019), averaged over the valid pixels of a batch.

What is not valid has no influence on value or gradient. A batch without any valid pixel gives 0, with a graph and a
gradient of 0, where published code divides by 0. Nothing is read back from the device. And the loss of outputs that are
supervised at two places.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy


def segmentation(output: Tensor, target: Tensor, unlabelled: int = -1) -> Tensor:
    """Return the mean cross entropy of the labelled pixels.

    MTAN's networks end in a log-softmax and its code in the negative log-likelihood, which together are the same.

    Args:
        output: (B, C, H, W) Logits of C classes.
        target: (B, H, W) Classes, int64.
        unlabelled: The value of ``target`` where there is no class.
    """
    losses = cross_entropy(output, target, ignore_index=unlabelled, reduction="none")
    return _mean(losses, target != unlabelled)


def depth(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute difference (L1), in the unit of the target, of the pixels whose depth is above 0.

    Args:
        output: (B, 1, H, W).
        target: (B, 1, H, W) Depth, such as metres; 0 where it is not known.
    """
    valid = target > 0
    return _mean(torch.where(valid, output - target, 0).abs(), valid)


def normals(output: Tensor, target: Tensor) -> Tensor:
    """Return 1 minus the mean cosine of the angle between output and target, of the pixels whose target is not zero.

    MTAN's code has 1 minus the mean dot product, without normalising either side: its networks end in a normalisation,
    and its targets have length 1. There the two are the same. Here the lengths of both never matter, so that a network
    needs no such layer, and targets that were interpolated need no correction. MTAN's code also leaves out pixels whose
    target is not zero but sums to zero.

    Args:
        output: (B, 3, H, W) of any length; one of zero counts as a right angle and has no gradient.
        target: (B, 3, H, W) Normals; zero where they are not known.
    """
    valid = (target != 0).any(dim=1)
    # The gradient at a length of zero would be 10^8.
    cosine = torch.where((output != 0).any(dim=1), cosine_similarity(output, target, dim=1), 0)
    return _mean(1 - cosine, valid)


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid, values, 0).sum() / valid.sum().clamp(min=1)


def supervised_twice(
    loss: Callable[[Tensor, Tensor], Tensor], weight: float = 1.0
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of outputs (B, ...), plus ``weight`` times that of auxiliary ones (B, ...) below them, if any."""

    def total(output: Tensor, target: Tensor) -> Tensor:
        own, *auxiliary = output.split(len(target))
        found = loss(own, target)
        for each in auxiliary:
            found = found + weight * loss(each, target)
        return found

    return total
