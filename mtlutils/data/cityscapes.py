"""CityScapes: photographs of streets with classes and disparities (Cordts et al. 2016), as MTAN has it (Liu et al.).

The official training and validation sets, 2,975 and 500 images of 1024x2048 pixels; those of MTAN's authors have
128x256. Their "depth" is inverse: a disparity.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from mtlutils.data import packed
from mtlutils.data.dense import DenseData
from mtlutils.errors import InputError

N_OUTPUTS = {"segmentation": 7, "depth": 1}
"""Task -> channels of its output: classes, and disparities."""

CLASS_NAMES = ["flat", "construction", "object", "nature", "sky", "human", "vehicle"]
"""The official categories, less void, in their order."""

PUBLISHED = {"train": 2975, "val": 500}
"""Images of the official split, by the folders' names."""

_FILES = packed.Files(
    name="CityScapes",
    folder="cityscapes",
    published=PUBLISHED,
    image=packed.IMAGE,
    targets={
        "segmentation": ("label_7", packed.labels(len(CLASS_NAMES))),
        # The greatest that is known of MTAN's is 0.49. Metres and pixels are greater.
        "depth": ("depth", packed.Part(1, np.float16, 0, 1, "disparities from 0 to 1")),
    },
    class_names=CLASS_NAMES,
    n_outputs=N_OUTPUTS,
    is_inverse=True,
)


def load(tasks: Iterable[str] = N_OUTPUTS, augment: bool = False, device: torch.device | str = "cpu") -> DenseData:
    """Load the images, and the targets of the tasks, onto a device.

    The files are read, checked and packed once, which takes minutes, into memory-mapped files in the cache folder (all
    tasks: 1.0 GB). A change of a file's name, size or time makes new ones; old ones may be deleted. Numbers are packed
    in half precision: a disparity moves by at most 0.05 %, or by 3e-8 where it is below 6e-5.

    There is no validation split: MTAN has none, and tests on the official validation set. Disparities have no unit, see
    :func:`mtlutils.data.cityscapes_official.prepare_official`; they are valid where they are greater than 0.

    CityScapes may be used for research after a registration at https://www.cityscapes-dataset.com, and may not be
    passed on; that holds for what is made of it too.

    Args:
        tasks: Those to load, of :data:`N_OUTPUTS`.
        augment: Whether shuffled training images are augmented. The paper did not.
        device: Where the tensors are put; needs 1.0 GB for all tasks.

    Raises:
        InputError: the files are missing or broken, or cannot be packed.
    """
    tasks = _FILES.known(tasks)
    if missing := _FILES.missing(tasks):
        raise InputError(
            f"{missing[0]}: no such folder; download the pre-processed CityScapes of 128x256 pixels (cityscapes2.zip, "
            "651 MB) from the README of https://github.com/lorenmt/mtan and unpack it so that "
            f"{folder() / 'train' / 'image' / '0.npy'} is there, or register at https://www.cityscapes-dataset.com and "
            "prepare it with mtlutils.data.cityscapes_official.prepare_official from leftImg8bit_trainvaltest.zip "
            "(11 GB), gtFine_trainvaltest.zip (241 MB) and disparity_trainvaltest.zip (3.5 GB); it may not be passed "
            "on; MTLUTILS_DATA changes the place"
        )
    return packed.load(_FILES, tasks, augment, device)


def folder() -> Path:
    """Folder of the files: ``{train,val}/{image,label_7,depth}/N.npy``, N from 0."""
    return _FILES.place


def is_there(tasks: Iterable[str] = N_OUTPUTS) -> bool:
    """Return whether the folders that the tasks need are in place."""
    return not _FILES.missing(tasks)
