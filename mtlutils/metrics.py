"""Metrics of one task, or of all together, accumulated on the device over a whole split.

Whatever the batches, the value is that of all items or pixels at once. Published code for dense prediction differs:
MTAN's (Liu et al. 2019) averages its depth and normal metrics over batches, and in its first version mIoU and pixel
accuracy over images. Nothing is read back from the device before the values are asked for. Of an empty split, or one
without valid pixels, the dense metrics are nan.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

ANGLE_RESOLUTION = 0.01
"""Degrees that one bin of the histogram of angles is wide; the median is off by at most half of it."""

THRESHOLDS = {"within_11.25": 11.25, "within_22.5": 22.5, "within_30": 30.0}
"""Name -> angle in degrees, of the shares of normals; multiples of the resolution."""


def classification(n_classes: int) -> MetricCollection:
    """Accuracy: the share of items whose highest output is their class, in [0, 1]."""
    # Validating every batch would read it back from the device.
    return MetricCollection({"accuracy": MulticlassAccuracy(n_classes, average="micro", validate_args=False)})


def exact_match() -> MetricCollection:
    """``accuracy``: the share of items for which every task's highest output is its class, in [0, 1].

    ``update`` takes task name -> outputs (B, C), and task name -> classes (B,); it asks for the outputs of all tasks
    that have classes, and a missing one is a KeyError. Of one task it is that task's accuracy. nan of no items.
    """
    return MetricCollection({"accuracy": _ExactMatch()})


def segmentation(n_classes: int, unlabelled: int = -1) -> MetricCollection:
    """Mean intersection over union, ``miou``, and ``pixel_accuracy``, both in [0, 1], of the labelled pixels.

    Both come from one confusion matrix of the whole split. A class that is in no target and was never predicted is left
    out of the mean; one that was predicted, but is in no target, counts as 0. (MTAN's code gives nan for the former.)

    ``update`` takes logits (B, C, H, W) and classes (B, H, W) of 0 to ``n_classes`` - 1, or ``unlabelled``; another
    class is an error of PyTorch's.
    """
    return MetricCollection({"segmentation": _Segmentation(n_classes, unlabelled)})


def depth() -> MetricCollection:
    """``absolute_error``, in the unit of the target, and ``relative_error``, of the pixels whose depth is above 0.

    The relative error is the absolute one divided by the target. ``update`` takes (B, 1, H, W) twice.
    """
    return MetricCollection({"depth": _Depth()})


def normals() -> MetricCollection:
    """Angles between outputs and targets, of the pixels whose target is not zero.

    ``mean_angle`` and ``median_angle`` are in degrees; ``within_11.25``, ``within_22.5`` and ``within_30`` are the
    shares of pixels, in [0, 1], with a smaller angle than that. The median and the shares are those of a histogram,
    which does not grow with the split: a median is off by at most 0.005 degrees (half of :data:`ANGLE_RESOLUTION`), a
    share by the pixels within a rounding error of the threshold.

    ``update`` takes (B, 3, H, W) twice. The lengths do not matter; an output of zero counts as 90 degrees.
    """
    return MetricCollection({"normals": _Normals()})


class _ExactMatch(Metric):
    full_state_update = False
    right: Tensor
    items: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("right", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("items", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        is_right = torch.stack([outputs[task].argmax(dim=1) == classes for task, classes in targets.items()]).all(dim=0)
        self.right += is_right.sum()
        self.items += len(is_right)

    def compute(self) -> Tensor:
        return self.right / self.items


# torchmetrics' own confusion matrix drops pixels by their number and counts by `bincount`; either reads the batch back.


class _Segmentation(Metric):
    full_state_update = False
    matrix: Tensor  # (C, C) pixels by target and prediction

    def __init__(self, n_classes: int, unlabelled: int) -> None:
        super().__init__()
        self.n_classes, self.unlabelled = n_classes, unlabelled
        self.add_state("matrix", torch.zeros(n_classes, n_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, output: Tensor, target: Tensor) -> None:
        valid = target != self.unlabelled
        cells = torch.where(valid, target.long() * self.n_classes + output.argmax(dim=1), 0)
        self.matrix.view(-1).scatter_add_(0, cells.flatten(), valid.flatten().long())

    def compute(self) -> Mapping[str, Tensor]:
        matrix = self.matrix.double()
        right = matrix.diag()
        union = matrix.sum(dim=0) + matrix.sum(dim=1) - right
        return {
            "miou": (right / union.clamp(min=1)).sum() / (union > 0).sum(),
            "pixel_accuracy": right.sum() / matrix.sum(),
        }


class _Depth(Metric):
    full_state_update = False
    absolute: Tensor
    relative: Tensor
    pixels: Tensor

    def __init__(self) -> None:
        super().__init__()
        # float64: the sum over a split has about 10^8 terms.
        self.add_state("absolute", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("relative", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("pixels", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, output: Tensor, target: Tensor) -> None:
        valid = target > 0
        error = torch.where(valid, (output.float() - target).abs(), 0)
        self.absolute += error.sum(dtype=torch.float64)
        self.relative += (error / torch.where(valid, target, 1)).sum(dtype=torch.float64)
        self.pixels += valid.sum()

    def compute(self) -> Mapping[str, Tensor]:
        return {"absolute_error": self.absolute / self.pixels, "relative_error": self.relative / self.pixels}


class _Normals(Metric):
    full_state_update = False
    total: Tensor
    histogram: Tensor  # pixels by angle

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        bins = round(180 / ANGLE_RESOLUTION)
        self.add_state("histogram", torch.zeros(bins, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, output: Tensor, target: Tensor) -> None:
        valid = (target != 0).any(dim=1)
        angles = torch.where(valid, _angles(output.float(), target.float()), 0)
        self.total += angles.sum(dtype=torch.float64)
        bins = (angles / ANGLE_RESOLUTION).long().clamp(0, len(self.histogram) - 1)
        self.histogram.scatter_add_(0, bins.flatten(), valid.flatten().long())

    def compute(self) -> Mapping[str, Tensor]:
        below = self.histogram.cumsum(dim=0)
        pixels = below[-1]
        mean = self.total / pixels
        # The middle pixel, or the two of an even number, counted from 0.
        middle = torch.stack([(pixels - 1) // 2, pixels // 2])
        median = (torch.searchsorted(below, middle, right=True) + 0.5).mean() * ANGLE_RESOLUTION
        shares = {name: below[round(angle / ANGLE_RESOLUTION) - 1] / pixels for name, angle in THRESHOLDS.items()}
        return {"mean_angle": mean, "median_angle": torch.where(mean.isnan(), mean, median.double()), **shares}


def _angles(output: Tensor, target: Tensor) -> Tensor:
    """Return the angles (B, H, W) in degrees between vectors (B, 3, H, W)."""
    output, target = normalize(output, dim=1), normalize(target, dim=1)
    # By the tangent: in float32, the arc cosine of a small angle is off by hundredths of a degree.
    sine, cosine = torch.linalg.cross(output, target, dim=1).norm(dim=1), (output * target).sum(dim=1)
    angles = torch.rad2deg(torch.atan2(sine, cosine))
    return torch.where((output == 0).all(dim=1), 90, angles)
