"""CIFAR-100: 100 classes of small photographs (Krizhevsky 2009), and the tasks made of its labels."""

import hashlib
import io
import pickle
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from mtlutils import folders, records
from mtlutils.data import cifar100_standin
from mtlutils.data.images import ImageData, ImageSplit
from mtlutils.errors import InputError

OFFICIAL_MD5 = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "meta": "7973b15100ade9c7d40fb424638fde48",
}
"""Digests of the published files, as torchvision lists them."""

N_CLASSES = {"2-class": 2, "3-class": 3, "4-class": 4, "5-class": 5, "100-class": 100}
"""The tasks of Huq & Pervin 2022."""

Grouping = Literal["contiguous", "superclass", "random"]
Images = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Images (N, 32, 32, 3) uint8, fine labels (N,) and coarse labels (N,)."""

_PADDING = 4


def groups(n_groups: int, grouping: Grouping, coarse: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the group (100,) of each fine label.

    100 labels do not split into 3 equal groups: those of ``contiguous`` and ``random`` then have 34, 33 and 33, those
    of ``superclass``, which keeps the 20 superclasses whole, 35, 35 and 30. The 2, 4 and 5 groups are equal.

    Args:
        n_groups: Number of groups; 100 leaves the labels as they are.
        grouping: ``"contiguous"`` cuts the labels in the order of their index, which is alphabetical;
            ``"superclass"`` does so with the superclasses; ``"random"`` with labels in an order drawn by ``seed``, the
            same one for every number of groups.
        coarse: (100,) Superclass of each fine label.
        seed: Of ``"random"``.
    """
    labels = np.arange(100)
    if n_groups == 100:
        return labels
    if grouping == "superclass":
        return coarse * n_groups // 20
    if grouping == "random":
        labels = np.random.default_rng(seed).permutation(100)
    return labels * n_groups // 100


def load(
    kind: Literal["real", "stand-in"],
    grouping: Grouping = "contiguous",
    seed: int = 0,
    validation_fraction: float = 0.2,
    augment: bool = True,
    device: torch.device | str = "cpu",
) -> ImageData:
    """Load CIFAR-100, or its stand-in, onto a device.

    Images are put in an order of their own (by label, then by their bytes) first, so that files that hold the same
    images in another order give the same runs. The validation images are the same for every run.

    Args:
        kind: ``"real"`` reads ``cifar-100-python/{train,test,meta}`` below :func:`mtlutils.folders.data`.
        grouping: See :func:`groups`; the paper does not say.
        seed: Of the grouping ``"random"``.
        validation_fraction: Share of the training images that is held out.
        augment: Whether shuffled training images are padded by 4, cropped at random and mirrored half of the time.
        device: Where the tensors are put.

    Raises:
        InputError: the files are missing or broken.
    """
    if grouping not in get_args(Grouping):
        raise InputError(f"grouping must be one of {', '.join(get_args(Grouping))}, got {grouping!r}")
    if kind == "real":
        name, class_names = "CIFAR-100", _names(folder() / "meta")
        arrays = {split: read(folder() / split) for split in ("train", "test")}
    else:
        name, class_names = "generated textured shapes", list(cifar100_standin.CLASS_NAMES)
        arrays = cifar100_standin.generate(n_train=600, n_test=300)
    arrays = {split: _in_order(images) for split, images in arrays.items()}
    sums = {split: _digest(images) for split, images in arrays.items()}

    pixels, fine, coarse = arrays["train"]
    superclass = np.zeros(100, dtype=np.int64)
    superclass[fine] = coarse
    held_in, held_out = _split_by_class(fine, validation_fraction)
    mean, std = _moments(pixels[held_in])
    tasks = {task: torch.from_numpy(groups(n, grouping, superclass, seed)) for task, n in N_CLASSES.items()}

    def split(pixels: np.ndarray, fine: np.ndarray, padding: int | None = None) -> ImageSplit:
        targets = {task: group[torch.from_numpy(fine)].to(device) for task, group in tasks.items()}
        return ImageSplit(torch.from_numpy(pixels).to(device), targets, mean.to(device), std.to(device), padding)

    train = split(pixels[held_in], fine[held_in], _PADDING if augment else None)
    validation = split(pixels[held_out], fine[held_out])
    test = split(*arrays["test"][:2])
    sizes = {"train": len(train), "validation": len(validation), "test": len(test)}
    described = _describe(kind, len(fine), len(test))
    description = records.Data(name=name, kind=kind, description=described, checksums=sums, sizes=sizes)
    return ImageData(train, validation, test, class_names, dict(N_CLASSES), description)


def folder() -> Path:
    """Folder of the published files."""
    return folders.data() / "cifar-100-python"


def download() -> Path:
    """Download the published files to :func:`folder`, about 170 MB, by torchvision; official files are kept.

    Raises:
        InputError: no network, a wrong checksum or no room; or other files are in the place.
    """
    # Only to download: it takes seconds to import, and refuses files in another order.
    from torchvision.datasets import CIFAR100

    there = [name for name in OFFICIAL_MD5 if (folder() / name).is_file()]
    if other := [name for name in there if not is_official(folder() / name)]:
        raise InputError(f"{folder() / other[0]}: there is a file that is not the official one; move it away first")
    try:
        CIFAR100(str(folder().parent), download=True)
    except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: torchvision's, for a wrong checksum
        reason = [*str(error).splitlines(), type(error).__name__][0]
        raise InputError(
            f"{CIFAR100.url} could not be downloaded ({reason}); check the network and try again, or unpack it into "
            f"{folder().parent} yourself"
        ) from error
    return folder()


def is_there() -> bool:
    """Return whether all files are in :func:`folder`."""
    return all((folder() / name).is_file() for name in OFFICIAL_MD5)


def is_official(path: Path) -> bool:
    """Return whether a file is the published one, byte for byte."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest() == OFFICIAL_MD5[path.name]


def checksums() -> dict[str, str]:
    """Return split -> digest of the images and labels in :func:`folder`, whatever their order.

    Raises:
        InputError: a file is missing or broken.
    """
    return {split: _digest(_in_order(read(folder() / split))) for split in ("train", "test")}


def read(path: Path) -> Images:
    """Read ``train`` or ``test`` in the published layout: a pickled dict with data, fine_labels and coarse_labels.

    Raises:
        InputError: the file is missing or broken; names it.
    """
    stored = _unpickled(path)
    try:
        rows, fine, coarse = (np.asarray(stored[name]) for name in ("data", "fine_labels", "coarse_labels"))
    except KeyError as error:
        raise InputError(f"{path}: has no {error}, which CIFAR-100's files have; get the file again") from error
    except ValueError as error:  # lists of unequal lengths
        raise InputError(f"{path}: data, fine_labels or coarse_labels is no array; get the file again") from error
    if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != 3072 or not len(rows):
        raise InputError(f"{path}: data is {rows.dtype} {rows.shape}, expected uint8 (N, 3072); get the file again")
    for name, labels, n in (("fine_labels", fine, 100), ("coarse_labels", coarse, 20)):
        is_good = labels.shape == (len(rows),) and labels.dtype.kind in "iu" and set(np.unique(labels)) == set(range(n))
        if not is_good:
            raise InputError(f"{path}: {name} is not one label of 0 to {n - 1} an image; get the file again")
    fine, coarse = fine.astype(np.int64), coarse.astype(np.int64)
    if len(np.unique(fine * 20 + coarse)) != 100:
        raise InputError(f"{path}: a fine label has several coarse ones; get the file again")
    images = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), fine, coarse


class _Unpickler(pickle.Unpickler):
    """Reads arrays and plain containers only: a pickle could otherwise run any code."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"}
        if (module.split(".")[0] == "numpy" and name in allowed) or (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"refers to {module}.{name}")


def _unpickled(path: Path) -> dict[str, Any]:
    try:
        # The published files were pickled by Python 2, whose byte strings hold the pixels.
        stored = _Unpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}; `python -m mtlutils data get cifar100` downloads it, or set MTLUTILS_DATA to "
            "the folder that holds cifar-100-python"
        ) from error
    except Exception as error:  # whatever a cut or foreign file raises
        reason = [*str(error).splitlines(), type(error).__name__][0]
        raise InputError(f"{path}: not a readable pickle ({reason}); get the file again") from error
    if not isinstance(stored, dict):
        raise InputError(f"{path}: holds a {type(stored).__name__}, not CIFAR-100's dict; get the file again")
    return stored


def _names(path: Path) -> list[str]:
    names = _unpickled(path).get("fine_label_names")
    if not isinstance(names, list) or len(names) != 100:
        raise InputError(f"{path}: has no 100 fine_label_names; get the file again")
    return names


def _in_order(images: Images) -> Images:
    pixels, fine, coarse = images
    rows = np.concatenate([fine.astype(np.uint8)[:, None], pixels.reshape(len(pixels), -1)], axis=1)
    order = np.argsort(rows.view(f"V{rows.shape[1]}").ravel(), kind="stable")
    return pixels[order], fine[order], coarse[order]


def _digest(images: Images) -> str:
    digest = hashlib.sha256()
    for array in images:
        digest.update(np.ascontiguousarray(array).tobytes())
    return f"sha256:{digest.hexdigest()}"


def _moments(pixels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (3,) of the channels, exactly: from how often each of the 256 values occurs."""
    values = np.arange(256)
    counts = np.stack([np.bincount(pixels[..., channel].ravel(), minlength=256) for channel in range(3)])
    mean = counts @ values / counts.sum(axis=1)
    std = np.sqrt(counts @ values**2 / counts.sum(axis=1) - mean**2)
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32)


def _split_by_class(fine: np.ndarray, validation_fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Split image numbers in two at random, the same way each time, but for the balance of classes in either part."""
    try:
        held_in, held_out = train_test_split(
            np.arange(len(fine)), random_state=0, stratify=fine, test_size=validation_fraction
        )
    except ValueError as error:
        raise InputError(
            f"{len(fine):,} images cannot be split by class ({error}); change validation_fraction"
        ) from error
    return np.sort(held_in), np.sort(held_out)


def _describe(kind: str, n_train: int, n_test: int) -> str:
    if kind == "stand-in":
        return f"stand-in: {n_train:,} + {n_test:,} generated images"

    def name(file: str, n: int) -> str:
        order = "official" if is_official(folder() / file) else "not the official file or its order"
        return f"{file}: {n:,} images, {order}"

    return f"CIFAR-100 ({name('train', n_train)}; {name('test', n_test)})"
