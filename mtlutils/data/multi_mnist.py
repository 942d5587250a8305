"""Pairs of MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017) images, one task an image of the pair."""

import gzip
import hashlib
import math
import zlib
from http.client import HTTPException
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from mtlutils import folders, records
from mtlutils.data import multi_mnist_standin
from mtlutils.data.images import ImageData, ImageSplit
from mtlutils.data.multi_mnist_standin import Labelled
from mtlutils.errors import InputError

Name = Literal["mnist", "fashion_mnist"]
Pairs = Literal["mnist", "fashion", "fashion_and_mnist"]

N_CLASSES = {"top-left": 10, "bottom-right": 10}
"""The tasks of Lee & Son 2020."""

SETS: dict[Pairs, tuple[Name, Name]] = {
    "mnist": ("mnist", "mnist"),
    "fashion": ("fashion_mnist", "fashion_mnist"),
    # The paper does not say which stands where. But its top-left task is by far the easier one, as MNIST is.
    "fashion_and_mnist": ("mnist", "fashion_mnist"),
}
"""The sets that the images top-left and bottom-right are from."""

CLASS_NAMES = {
    "mnist": [str(digit) for digit in range(10)],
    "fashion_mnist": (
        ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
    ),
}

OFFICIAL = {
    "MNIST/train-images-idx3-ubyte": "sha256:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "MNIST/train-labels-idx1-ubyte": "sha256:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "MNIST/t10k-images-idx3-ubyte": "sha256:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "MNIST/t10k-labels-idx1-ubyte": "sha256:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    "FashionMNIST/train-images-idx3-ubyte": "sha256:c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "FashionMNIST/train-labels-idx1-ubyte": "sha256:bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "FashionMNIST/t10k-images-idx3-ubyte": "sha256:5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "FashionMNIST/t10k-labels-idx1-ubyte": "sha256:0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""Digests of the published files, unpacked from archives of the MD5 that torchvision lists."""

_FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}  # and torchvision's classes
_TITLES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
_NAMES = {"mnist": "Multi-MNIST", "fashion": "Multi-fashion", "fashion_and_mnist": "Multi-fashion and MNIST"}
_SHIFT = 8


def load(
    kind: Literal["real", "stand-in"],
    pairs: Pairs = "mnist",
    train_pairs: int = 120_000,
    validation_pairs: int = 10_000,
    test_pairs: int = 10_000,
    device: torch.device | str = "cpu",
) -> ImageData:
    """Compose pairs of images, or of the stand-in's, on a canvas of 36x36 pixels, and put them onto a device.

    Training pairs are made of training images only. The test images are cut in two halves, at random but with the same
    share of each class; validation pairs are made of one half, test pairs of the other. Pairs are drawn at random and
    independently, so that one may occur twice; no image is paired with itself. They are the same for every run, and a
    smaller number of pairs is the beginning of a larger one.

    Pixels are divided by 255. ``class_names`` has the ten of the top-left image, then the ten of the bottom-right one.

    Args:
        kind: ``"real"`` reads those of ``MNIST/raw`` and ``FashionMNIST/raw`` below :func:`mtlutils.folders.data` that
            the pairs need.
        pairs: What is paired; in ``"fashion_and_mnist"``, MNIST is top-left, see :data:`SETS`.
        train_pairs: Number of training pairs.
        validation_pairs: Number of validation pairs.
        test_pairs: Number of test pairs.
        device: Where the tensors are put.

    Raises:
        InputError: the files are missing or broken, or a number of pairs is not positive.
    """
    if pairs not in get_args(Pairs):
        raise InputError(f"pairs must be one of {', '.join(get_args(Pairs))}, got {pairs!r}")
    sizes = {"train": train_pairs, "validation": validation_pairs, "test": test_pairs}
    for split, n in sizes.items():
        if n < 1:
            raise InputError(f"{split}_pairs must be at least 1, got {n:,}")
    sets: dict[str, dict[str, Labelled]] = {}
    sums: dict[str, str] = {}
    if kind == "real":
        record_name, class_names = _NAMES[pairs], CLASS_NAMES
        for name in dict.fromkeys(SETS[pairs]):
            sets[name], digests = read(name)
            sums |= digests
    else:
        record_name, class_names = "scikit-learn's digits in pairs", multi_mnist_standin.CLASS_NAMES
        sets, sums = multi_mnist_standin.digits()
    first_set, second_set = (_with_halves(sets[name]) for name in SETS[pairs])
    is_one_set = len(set(SETS[pairs])) == 1

    def composed(split: str, seed: int) -> ImageSplit:
        (images, classes), (other_images, other_classes) = first_set[split], second_set[split]
        first, second = _draw(sizes[split], len(classes), len(other_classes), is_one_set, seed)
        canvases = torch.from_numpy(compose(images[first], other_images[second])[..., None]).to(device)
        drawn = zip(N_CLASSES, (classes[first], other_classes[second]), strict=True)
        targets = {task: torch.from_numpy(of_image).to(device) for task, of_image in drawn}
        return ImageSplit(canvases, targets, torch.zeros(1, device=device), torch.full((1,), 255.0, device=device))

    train, validation, test = (composed(split, seed) for seed, split in enumerate(sizes))
    described = _describe(kind, {name: sets[name] for name in SETS[pairs]}, sums)
    description = records.Data(name=record_name, kind=kind, description=described, checksums=sums, sizes=sizes)
    names = [each for name in SETS[pairs] for each in class_names[name]]
    return ImageData(train, validation, test, names, dict(N_CLASSES), description)


def compose(top_left: np.ndarray, bottom_right: np.ndarray) -> np.ndarray:
    """Put two images (N, S, S) each on a black canvas (N, S + 8, S + 8), the second 8 pixels lower and to the right.

    Where they overlap, the brighter pixel counts. Lee & Son do not say so; they used the files of Lin et al. 2019, and
    the code published with those only reads them.
    """
    n, side, _ = top_left.shape
    canvases = np.zeros((n, side + _SHIFT, side + _SHIFT), dtype=np.uint8)
    canvases[:, :side, :side] = top_left
    corner = canvases[:, _SHIFT:, _SHIFT:]
    np.maximum(corner, bottom_right, out=corner)
    return canvases


def folder(name: Name) -> Path:
    """Folder of a set's published files."""
    return folders.data() / _FOLDERS[name] / "raw"


def download(name: Name) -> Path:
    """Download a set's published files to :func:`folder` by torchvision, and unpack them; official files are kept.

    MNIST is 12 MB and Fashion-MNIST 31 MB; unpacked, each is 55 MB.

    Raises:
        InputError: no network, a wrong checksum or no room; or other files are in the place.
    """
    from torchvision import datasets  # only to download: it takes seconds to import

    if other := [_path(key) for key in _keys(name) if _is_other(key)]:
        raise InputError(f"{other[0]}: there is a file that is not the official one; move it away first")
    dataset = getattr(datasets, _FOLDERS[name])
    try:
        dataset(str(folders.data()), download=True)
    except (OSError, EOFError, HTTPException, RuntimeError) as error:  # RuntimeError: torchvision's, of several lines
        reason = [type(error).__name__, *str(error).strip().splitlines()][-1]
        raise InputError(
            f"{dataset.mirrors[0]} could not be downloaded from ({reason}); check the network and try again, or put "
            f"the four .gz files into {folder(name)} yourself"
        ) from error
    return folder(name)


def is_there(pairs: Pairs = "fashion_and_mnist") -> bool:
    """Return whether all files that the pairs need are in place, packed or not; by default those of both sets."""
    return all(_path(key).is_file() for name in SETS[pairs] for key in _keys(name))


def checksums(pairs: Pairs = "fashion_and_mnist") -> dict[str, str]:
    """Return file -> digest of its unpacked content, for the files that the pairs need; by default those of both sets.

    Raises:
        InputError: a file is missing or cannot be unpacked.
    """
    return {key: _digest(_content(key)) for name in dict.fromkeys(SETS[pairs]) for key in _keys(name)}


def read(name: Name) -> tuple[dict[str, Labelled], dict[str, str]]:
    """Read a set in the published layout; an unpacked file goes before a packed one, as for torchvision.

    Returns:
        ``"train"`` and ``"t10k"`` -> images (N, 28, 28) and classes (N,); and file -> digest of its unpacked content.

    Raises:
        InputError: a file is missing or broken; names it.
    """
    contents = {key: _content(key) for key in _keys(name)}
    splits = {}
    for split in ("train", "t10k"):
        of_images, of_labels = (key for key in contents if split in key)
        images = _parse(of_images, contents[of_images], (28, 28))
        classes = _parse(of_labels, contents[of_labels], ()).astype(np.int64)
        counts = np.bincount(classes)
        if len(classes) != len(images):
            raise InputError(
                f"{_path(of_labels)}: has {len(classes):,} labels for {len(images):,} images; get both files again"
            )
        if len(counts) != 10 or counts.min() < 2:
            raise InputError(f"{_path(of_labels)}: labels are not 0 to 9, each more than once; get the file again")
        splits[split] = images, classes
    return splits, {key: _digest(content) for key, content in contents.items()}


def _keys(name: str) -> list[str]:
    return [key for key in OFFICIAL if key.startswith(f"{_FOLDERS[name]}/")]


def _path(key: str) -> Path:
    unpacked = folders.data() / key.replace("/", "/raw/")
    packed = unpacked.with_name(f"{unpacked.name}.gz")
    return packed if packed.is_file() and not unpacked.is_file() else unpacked


def _content(key: str) -> bytes:
    path = _path(key)
    try:
        content = path.read_bytes()
    except OSError as error:
        name = next(name for name in _FOLDERS if key in _keys(name))
        raise InputError(
            f"{path}: {error.strerror}; `python -m mtlutils data get {name}` downloads it, or set MTLUTILS_DATA to the "
            f"folder that holds {_FOLDERS[name]}"
        ) from error
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not a readable gzip file ({error}); get the file again") from error


def _parse(key: str, content: bytes, item: tuple[int, ...]) -> np.ndarray:
    """Parse an idx file of bytes: 0, 0, 8 for bytes, the number of dimensions; the size of each; the bytes."""
    n = int.from_bytes(content[4:8])
    header = bytes([0, 0, 8, 1 + len(item)]) + b"".join(size.to_bytes(4) for size in (n, *item))
    if not content.startswith(header):
        what = "images of 28x28 bytes" if item else "labels of one byte"
        raise InputError(f"{_path(key)}: not an idx file of {what}; get the file again")
    expected = len(header) + n * math.prod(item)
    if len(content) != expected:
        raise InputError(f"{_path(key)}: {len(content):,} bytes instead of {expected:,}; get the file again")
    return np.frombuffer(content, dtype=np.uint8, offset=len(header)).reshape(n, *item)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _is_other(key: str) -> bool:
    """Whether a file is in the place of an official one. A broken archive does not count: torchvision replaces it."""
    path = _path(key)
    try:
        return path.is_file() and _digest(_content(key)) != OFFICIAL[key]
    except InputError:
        return path.suffix != ".gz"


def _with_halves(files: dict[str, Labelled]) -> dict[str, Labelled]:
    """Cut the images of t10k in two at random, the same way each time, with as many of each class in either half."""
    images, classes = files["t10k"]
    rows = train_test_split(np.arange(len(classes)), test_size=0.5, random_state=0, stratify=classes)
    validation, test = ((images[half], classes[half]) for half in map(np.sort, rows))
    return {"train": files["train"], "validation": validation, "test": test}


def _draw(n_pairs: int, n_first: int, n_second: int, is_one_set: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the numbers of two images, ``n_pairs`` times; of one set, the second is any but the first."""
    drawn = np.random.default_rng(seed).integers([0, is_one_set], [n_first, n_second], size=(n_pairs, 2))
    first, second = drawn.T
    return first, (first + second) % n_first if is_one_set else second


def _describe(kind: str, sets: dict[str, dict[str, Labelled]], sums: dict[str, str]) -> str:
    parts = []
    for name, files in sets.items():
        numbers = " + ".join(f"{len(classes):,}" for _, classes in files.values())
        if kind == "stand-in":
            parts.append(f"{multi_mnist_standin.TITLES[name]} ({numbers})")
        else:
            is_official = all(sums[key] == OFFICIAL[key] for key in _keys(name))
            files_are = "official" if is_official else "not the official files"
            parts.append(f"{_TITLES[name]} ({numbers} images, {files_are})")
    return f"{'stand-in: ' if kind == 'stand-in' else ''}pairs of {' and '.join(parts)}"
