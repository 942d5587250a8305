"""NYUv2: indoor photographs with classes, depths and normals (Silberman et al. 2012), as MTAN has it (Liu et al. 2019).

The data set has 1,449 images; the official split has 795 for training and 654 for testing. (Liu 2022 writes "694" of
the validation images, which is a slip: 795 and 654 make 1,449, and are what their files have.)
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from mtlutils.data import packed
from mtlutils.data.dense import DenseData
from mtlutils.errors import InputError

N_OUTPUTS = {"segmentation": 13, "depth": 1, "normal": 3}
"""Task -> channels of its output: classes, metres, and the components of a normal."""

CLASS_NAMES = [
    *("bed", "books", "ceiling", "chair", "floor", "furniture", "objects"),
    *("picture", "sofa", "table", "tv", "wall", "window"),
]
"""The 13 classes, in the order of ``class13Mapping.mat``."""

PUBLISHED = {"train": 795, "val": 654}
"""Images of the official split, by the folders' names."""

_FILES = packed.Files(
    name="NYUv2",
    folder="nyuv2",
    published=PUBLISHED,
    image=packed.IMAGE,
    targets={
        "segmentation": ("label", packed.labels(len(CLASS_NAMES))),
        "depth": ("depth", packed.Part(1, np.float16, 0, 100, "metres from 0 to 100")),
        "normal": ("normal", packed.Part(3, np.float16, -1.5, 1.5, "numbers from -1 to 1")),
    },
    class_names=CLASS_NAMES,
    n_outputs=N_OUTPUTS,
)


def load(tasks: Iterable[str] = N_OUTPUTS, augment: bool = False, device: torch.device | str = "cpu") -> DenseData:
    """Load the images, and the targets of the tasks, onto a device.

    The files are read, checked and packed once, which takes minutes, into memory-mapped files in the cache folder (all
    tasks: 2.4 GB). A change of a file's name, size or time makes new ones; old ones may be deleted. Numbers are packed
    in half precision: a depth moves by at most 0.05 %, a normal by 0.03 degrees.

    There is no validation split: MTAN has none.

    Args:
        tasks: Those to load, of :data:`N_OUTPUTS`.
        augment: Whether shuffled training images are augmented. The paper did not.
        device: Where the tensors are put; needs 2.4 GB for all tasks.

    Raises:
        InputError: the files are missing or broken, or cannot be packed.
    """
    tasks = _FILES.known(tasks)
    _require(tasks)
    return packed.load(_FILES, tasks, augment, device)


def folder() -> Path:
    """Folder of the files: ``{train,val}/{image,label,depth,normal}/N.npy``, N from 0."""
    return _FILES.place


def is_there(tasks: Iterable[str] = N_OUTPUTS) -> bool:
    """Return whether the folders that the tasks need are in place."""
    return not _FILES.missing(tasks)


def _require(tasks: Iterable[str]) -> None:
    if not (missing := _FILES.missing(tasks)):
        return
    if not _FILES.missing(["segmentation", "depth"]):
        raise InputError(
            f"{missing[0]}: no such folder; the official file has no normals, so a set prepared from it has the tasks "
            "segmentation and depth only: leave out normal, or use MTAN's set (README of "
            "https://github.com/lorenmt/mtan, 8.5 GB)"
        )
    raise InputError(
        f"{missing[0]}: no such folder; download the pre-processed NYUv2 (nyuv2.zip, 8.5 GB) from the README of "
        f"https://github.com/lorenmt/mtan and unpack it so that {folder() / 'train' / 'image' / '0.npy'} is there, or "
        "prepare it, without normals, with mtlutils.data.nyuv2_official.prepare_official from nyu_depth_v2_labeled.mat "
        "(2.8 GB) of https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html, the three small files of "
        "https://github.com/ankurhanda/nyuv2-meta-data and the package h5py; MTLUTILS_DATA changes the place"
    )
