"""13 real images of NYUv2's official test split, to look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mtlutils import folders
from mtlutils.data.dense import UNLABELLED
from mtlutils.data.nyuv2 import CLASS_NAMES
from mtlutils.data.nyuv2_official import cropped
from mtlutils.data.packed import picture
from mtlutils.errors import InputError


@dataclass(frozen=True)
class Sample:
    """One image of the official test split, to look at.

    Attributes:
        number: From 1, in the official set of 1,449.
        image: (3, H, W) float32, from 0 to 1.
        targets: Task name -> what there is: ``"segmentation"`` (H, W) int64, -1 where unlabelled; ``"depth"``
            (1, H, W) float32, metres, 0 where not known; ``"normal"`` (3, H, W) float32, x right, y down, z forward,
            zero where not known.
    """

    number: int
    image: Tensor
    targets: dict[str, Tensor]


def samples(size: tuple[int, int] | None = (288, 384)) -> list[Sample]:
    """Read the 13 sample images: all have classes, two have depths, one has normals; those with more targets first.

    They are for looking at, not for training or numbers. Depths and normals are those of another source than MTAN's
    (``DrSleep/multi-task-refinenet``): holes are not filled. The normals' axes, of which the third points up in the
    files, are turned to those of the rooms.

    Args:
        size: Height and width to which they are cut and made smaller, as
            :func:`mtlutils.data.nyuv2_official.prepare_official` does; None leaves them as they are, 480x640.

    Raises:
        InputError: the files are missing or broken.
    """
    place = _folder()
    if not (paths := _images()):
        raise InputError(
            f"{place / 'rgb'}: has no sample images; set MTLUTILS_DATA to the folder that holds nyuv2_samples"
        )

    def fitted(frames: np.ndarray, smooth: bool = False) -> Tensor:
        return torch.from_numpy(frames) if size is None else cropped(frames, size, smooth)

    found = []
    for path in paths:
        image = _picture(path, np.uint8, 3).transpose(2, 0, 1) / np.float32(255)
        name = f"{path.stem}.png"
        labels = _picture(place / "label13" / name, np.uint8)
        if labels.max() > len(CLASS_NAMES):
            raise InputError(f"{place / 'label13' / name}: has the class {labels.max()}, expected 0 to 13")
        targets = {"segmentation": fitted(labels.astype(np.int64)[None] + UNLABELLED)[0].long()}
        if (of_depth := place / "depth" / name).exists():
            targets["depth"] = fitted(_picture(of_depth, np.uint16)[None] / np.float32(5000))
        if (of_normal := place / "normal" / name).exists():
            x, y, z = _picture(of_normal, np.uint8, 3).transpose(2, 0, 1) / np.float32(127.5) - 1
            normal = np.stack([x, -z, y])  # the files' axes are x right, y forward, z up
            # A length near 0 is what bytes have for 0; all others are near 1.
            targets["normal"] = fitted(normal * (np.linalg.norm(normal, axis=0) > 0.5))
        found.append(Sample(int(path.stem), fitted(image, smooth=True), targets))
    return sorted(found, key=lambda sample: -len(sample.targets))


def as_arrays(shown: Sequence[Sample]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return samples of one size as :func:`mtlutils.figures.dense` takes them.

    Returns:
        The images (N, H, W, 3) uint8; and the targets, with none in any pixel where a sample lacks them.
    """
    images = torch.stack([sample.image for sample in shown])
    height, width = images.shape[-2:]
    blank = {"depth": torch.zeros(1, height, width), "normal": torch.zeros(3, height, width)}
    targets = {
        task: torch.stack([(blank | sample.targets)[task] for sample in shown]).numpy()
        for task in ("segmentation", "depth", "normal")
    }
    pixels = (255 * images).round().byte().permute(0, 2, 3, 1).numpy()
    return pixels, targets | {"depth": targets["depth"][:, 0]}


def is_there() -> bool:
    """Return whether there are sample images."""
    return bool(_images())


def _folder() -> Path:
    return folders.data() / "nyuv2_samples"


def _images() -> list[Path]:
    return sorted((_folder() / "rgb").glob("[0-9][0-9][0-9][0-9].webp"))


def _picture(path: Path, dtype: type[np.generic], *channels: int) -> np.ndarray:
    return picture(path, dtype, (480, 640, *channels), "get the samples again")
