"""Images with a target for every pixel, held and augmented on a device."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mtlutils import records

SCALES = (1.0, 1.2, 1.5)
"""Magnifications of the augmentation, as published."""

UNLABELLED = -1
"""Of a pixel without a class."""


@dataclass(frozen=True)
class DenseSplit:
    """N images with a target for every pixel.

    Attributes:
        images: (N, 3, H, W) float16, from 0 to 1, on the device, or where :func:`home` has them. Of files, on the CPU,
            memory-mapped.
        targets: Task name -> ``"segmentation"`` (N, H, W) int8, -1 where unlabelled; ``"depth"`` (N, 1, H, W) float16,
            metres or inverse, 0 where not known; ``"normal"`` (N, 3, H, W) float16, zero where not known.
        augment: Whether shuffled images are magnified and mirrored at random, see :func:`augmented`.
        is_inverse: Whether ``"depth"`` has inverse depths, as disparities are.
        device: Where batches go; None: they stay where the images are.
    """

    images: Tensor
    targets: dict[str, Tensor]
    augment: bool = False
    is_inverse: bool = False
    device: torch.device | None = None

    def __len__(self) -> int:
        return len(self.images)

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[tuple[tuple[Tensor], dict[str, Tensor]]]:
        """Yield every image once: shuffled and augmented by draws from ``generator``, or as they lie.

        All draws of an epoch are made at once on the CPU, so that they are the same for every device.

        Yields:
            ``(images (B, 3, H, W),)``, float32, and task name -> ``"segmentation"`` (B, H, W) int64, ``"depth"``
            (B, 1, H, W) and ``"normal"`` (B, 3, H, W) float32.
        """
        device, n = self.device or self.images.device, len(self)
        order = torch.arange(n) if generator is None else torch.randperm(n, generator=generator)
        views = None
        if generator is not None and self.augment:
            scales = torch.tensor(SCALES, dtype=torch.float64)[torch.randint(len(SCALES), (n,), generator=generator)]
            corners = torch.rand(2, n, dtype=torch.float64, generator=generator)
            mirrored = torch.rand(n, generator=generator) < 0.5
            views = scales.to(device), corners.to(device), mirrored.to(device)
        order = order.to(self.images.device)
        for begin in range(0, n, batch_size):
            rows = order[begin : begin + batch_size]
            images = self.images[rows].to(device)
            targets = {task: target[rows].to(device) for task, target in self.targets.items()}
            if views is not None:
                scales, corners, mirrored = (each[..., begin : begin + batch_size] for each in views)
                images, targets = augmented(images, targets, scales, corners, mirrored, self.is_inverse)
            converted = {
                task: target.long() if task == "segmentation" else target.float() for task, target in targets.items()
            }
            yield (images.float(),), converted


def home(n_bytes: int, device: torch.device | str) -> torch.device:
    """Return where data of so many bytes are to lie: on the device, or on the CPU where they and as much again for
    training have no room there.
    """
    device = torch.device(device)
    fits = device.type != "cuda" or 2 * n_bytes <= torch.cuda.mem_get_info(device)[0]
    return device if fits else torch.device("cpu")


def augmented(
    images: Tensor,
    targets: Mapping[str, Tensor],
    scales: Tensor,
    corners: Tensor,
    mirrored: Tensor,
    is_inverse: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cut a part out of each image, magnify it to the image's size, and mirror some.

    As in the code of MTAN's authors, which has this as an option that their paper did not use: images and normals are
    interpolated linearly between the corners, classes and depths are those of the nearest pixel. Depths are divided by
    the scale, since what is seen larger is nearer. A mirrored normal has the sign of its x turned.

    Args:
        images: (B, 3, H, W).
        targets: Task name -> targets, as :class:`DenseSplit` has them.
        scales: (B,) float64; 1 keeps the whole image.
        corners: (2, B) float64 in [0, 1): where the part's upper left corner lies among its possible rows and columns.
        mirrored: (B,) bool.
        is_inverse: Whether ``"depth"`` has inverse depths, which are multiplied by the scale. (Published code for
            CityScapes divides them too, as if nearer things had smaller disparities.)
    """
    n, _, *size = images.shape
    smooth, nearest = [], []
    for length, drawn in zip(size, corners, strict=True):
        across = torch.arange(length, device=images.device)
        kept = (length / scales).long()
        first = (drawn * (length - kept + 1)).long().view(n, 1)
        nearest.append(first + across * kept.view(n, 1) // length)
        smooth.append(first + across * ((kept - 1) / max(length - 1, 1)).view(n, 1))
    for places in (smooth, nearest):
        places[1] = torch.where(mirrored.view(n, 1), places[1].flip(1), places[1])

    def interpolated(maps: Tensor) -> Tensor:
        maps = maps.float()
        for axis, places in zip((2, 3), smooth, strict=True):
            places = places.view(n, 1, *((-1, 1) if axis == 2 else (1, -1)))
            below = places.floor().long()
            above = (below + 1).clamp(max=maps.shape[axis] - 1)
            pair = [maps.take_along_dim(at, dim=axis) for at in (below, above)]
            maps = torch.lerp(pair[0], pair[1], (places - below).float())
        return maps

    def picked(maps: Tensor) -> Tensor:
        rows, columns = nearest
        return maps.take_along_dim(rows.view(n, 1, -1, 1), dim=2).take_along_dim(columns.view(n, 1, 1, -1), dim=3)

    changed = {}
    for task, target in targets.items():
        if task == "segmentation":
            changed[task] = picked(target.unsqueeze(1)).squeeze(1)
        elif task == "depth":
            factors = scales.float().view(n, 1, 1, 1)
            changed[task] = picked(target).float() * factors if is_inverse else picked(target).float() / factors
        else:
            x, rest = interpolated(target).split([1, 2], dim=1)
            changed[task] = torch.cat([torch.where(mirrored.view(n, 1, 1, 1), -x, x), rest], dim=1)
    return interpolated(images), changed


def resized(maps: Tensor, size: tuple[int, int], smooth: bool = False) -> Tensor:
    """Return maps (C, H, W) in another size, float32.

    Args:
        maps: Numbers from 0 to 1, where they are interpolated.
        size: Height and width.
        smooth: Whether to interpolate linearly, antialiased; otherwise, the nearest pixel.
    """
    maps = maps.float().unsqueeze(0)
    if smooth:
        # Rounding may lead a little above 1.
        return interpolate(maps, size, mode="bilinear", antialias=True).squeeze(0).clamp(0, 1)
    return interpolate(maps, size, mode="nearest-exact").squeeze(0)


@dataclass(frozen=True)
class DenseData:
    """A data set for dense prediction, split and on a device.

    Attributes:
        train: What the model learns from; may be augmented.
        validation: Held out; None where the published set has no such split, as MTAN's have not.
        test: The test images, which MTAN calls validation images.
        class_names: Names of the classes of ``"segmentation"``.
        n_outputs: Task name -> channels of its output.
        description: What the run record says of it.
    """

    train: DenseSplit
    validation: DenseSplit | None
    test: DenseSplit
    class_names: list[str]
    n_outputs: dict[str, int]
    description: records.Data
