"""Labelled images as bytes, held and augmented on a device."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from mtlutils import records


@dataclass(frozen=True)
class ImageSplit:
    """N images.

    Attributes:
        images: (N, H, W, C) uint8, on the device.
        targets: Task name -> (N,) classes, on the device.
        mean: (C,) What is subtracted from a pixel, on the scale of 0 to 255.
        std: (C,) What it is then divided by.
        padding: Pixels of black that a shuffled image is padded with before it is cropped to its size at a random
            place and mirrored half of the time; None: neither.
    """

    images: Tensor
    targets: dict[str, Tensor]
    mean: Tensor
    std: Tensor
    padding: int | None = None

    def __len__(self) -> int:
        return len(self.images)

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[tuple[tuple[Tensor], dict[str, Tensor]]]:
        """Yield every image once, normalised: shuffled and augmented by draws from ``generator``, or as they lie.

        All draws of an epoch are made at once on the CPU, so that they are the same for every device.

        Yields:
            ``(images (B, C, H, W),)``, float32 in channels-last layout, and task name -> classes (B,).
        """
        device = self.images.device
        n = len(self)
        order = torch.arange(n) if generator is None else torch.randperm(n, generator=generator)
        crops = None
        if generator is not None and self.padding is not None:
            corners = torch.randint(2 * self.padding + 1, (2, n), generator=generator)
            mirrored = torch.rand(n, generator=generator) < 0.5
            crops = corners.to(device), mirrored.to(device)
        order = order.to(device)
        for begin in range(0, n, batch_size):
            rows = order[begin : begin + batch_size]
            images = self.images[rows]
            if crops is not None:
                corners, mirrored = crops
                images = self._cropped(
                    images, corners[:, begin : begin + batch_size], mirrored[begin : begin + batch_size]
                )
            normalised = (images.permute(0, 3, 1, 2).float() - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1)
            yield (normalised,), {task: classes[rows] for task, classes in self.targets.items()}

    def _cropped(self, images: Tensor, corners: Tensor, mirrored: Tensor) -> Tensor:
        """Crop each padded image from its corner (2, B), and mirror some (B,): one indexing for the whole batch."""
        n, height, width, _ = images.shape
        border = self.padding or 0
        across = torch.arange(width, device=images.device)
        y = corners[0].view(n, 1) + torch.arange(height, device=images.device)
        x = corners[1].view(n, 1) + torch.where(mirrored.view(n, 1), across.flip(0), across)
        padded = pad(images, (0, 0, border, border, border, border))
        return padded[torch.arange(n, device=images.device).view(n, 1, 1), y.unsqueeze(2), x.unsqueeze(1)]


@dataclass(frozen=True)
class ImageData:
    """A data set of labelled images, split and on a device.

    Attributes:
        train: What the model learns from; may be augmented.
        validation: Held out of the training images, or of the test images, stratified by class.
        test: The test images.
        class_names: Name of each original class; where tasks have classes of their own, one task's after another's.
        n_classes: Task name -> number of classes.
        description: What the run record says of it.
    """

    train: ImageSplit
    validation: ImageSplit
    test: ImageSplit
    class_names: list[str]
    n_classes: dict[str, int]
    description: records.Data
