"""Fingers: photographs of hands that hold up 0 to 5 fingers (Koryakin 2019), and the tasks made of their labels."""

import hashlib
import json
import re
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate
from tqdm import tqdm

from mtlutils import folders, records
from mtlutils.data import fingers_standin
from mtlutils.data.images import ImageData, ImageSplit
from mtlutils.errors import InputError

N_CLASSES = {"count": 6, "hand": 2, "joint": 12}
"""The tasks of Liu: number of fingers and hand, or both in one; see :func:`load`."""

HANDS = ("left", "right")
CLASS_NAMES = {
    "count": [str(count) for count in range(6)],
    "hand": list(HANDS),
    "joint": [f"{count} {hand}" for count in range(6) for hand in HANDS],
}

PUBLISHED = {"train": 18_000, "test": 3_600}
"""Images in the published folders; a twelfth of them is of each joint class."""

PAGE = "https://www.kaggle.com/datasets/koryakinp/fingers"

_STANDIN = {"train": 2_400, "test": 600}
_LAYOUT = 1  # of the packed files; part of their names
_LABEL = re.compile(r"_([0-5])([LR])$")

Labelled = tuple[np.ndarray, np.ndarray]
"""Images (N, S, S) uint8 and their joint classes (N,) int64."""


def load(
    kind: Literal["real", "stand-in"],
    tasks: Iterable[str] = ("count", "hand"),
    size: int = 64,
    train_images: int | None = None,
    validation_images: int = 1_200,
    test_images: int | None = None,
    device: torch.device | str = "cpu",
) -> ImageData:
    """Load Fingers, or its stand-in, onto a device.

    ``count`` is the number of fingers, ``hand`` is 0 for left and 1 for right, and ``joint`` is 2 × count + hand.
    Pixels are divided by 255. Validation images are training images that are held out. Whatever is held out or left out
    is drawn at random, with as many images of each joint class as of any other, and is the same for every run; a
    smaller number of training or test images is the beginning of a larger one.

    Args:
        kind: ``"real"`` reads ``fingers/{train,test}/*_{0-5}{L,R}.png`` below :func:`mtlutils.folders.data`. They are
            read and packed once, which takes seconds, into the cache folder.
        tasks: Those to load, of :data:`N_CLASSES`; the stand-in's images are the same for all.
        size: Height and width of the images. Larger files are reduced by averaging areas.
        train_images: Number of training images; None: all that are left (real), or 2,400.
        validation_images: Number of validation images.
        test_images: Number of test images; None: all (real), or 600.
        device: Where the tensors are put.

    Raises:
        InputError: the files are missing, broken, too few or too small, or a number of images is not positive.
    """
    tasks = list(dict.fromkeys(tasks))
    if not tasks or set(tasks) - set(N_CLASSES):
        raise InputError(f"tasks must be one or more of {', '.join(N_CLASSES)}, got {', '.join(tasks) or 'none'}")
    wanted = {"train": train_images, "validation": validation_images, "test": test_images}
    for each, number in wanted.items():
        if number is not None and number < 1:
            raise InputError(f"{each}_images must be at least 1, got {number:,}")
    if kind == "real":
        name = "Fingers"
        arrays, sums, described = _real(wanted, size)
    else:
        name = "drawn hands"
        arrays = fingers_standin.generate({each: n or _STANDIN[each] for each, n in wanted.items()}, size)
        sums = {each: _digest(*labelled) for each, labelled in arrays.items()}
        described = f"stand-in: drawn hands of {size}x{size} pixels"

    def split(images: np.ndarray, joint: np.ndarray) -> ImageSplit:
        classes = {"count": joint // 2, "hand": joint % 2, "joint": joint}
        targets = {task: torch.from_numpy(classes[task]).to(device) for task in tasks}
        pixels = torch.from_numpy(images[..., None]).to(device)
        return ImageSplit(pixels, targets, torch.zeros(1, device=device), torch.full((1,), 255.0, device=device))

    train, validation, test = (split(*arrays[each]) for each in wanted)
    sizes = {"train": len(train), "validation": len(validation), "test": len(test)}
    description = records.Data(name=name, kind=kind, description=described, checksums=sums, sizes=sizes)
    names = [each for task in tasks for each in CLASS_NAMES[task]]
    return ImageData(train, validation, test, names, {task: N_CLASSES[task] for task in tasks}, description)


def folder() -> Path:
    """Folder of the published files, ``{train,test}/NAME_{0-5}{L,R}.png``."""
    return folders.data() / "fingers"


def is_there() -> bool:
    """Return whether both folders of images are in place."""
    return all((folder() / split).is_dir() for split in PUBLISHED)


def checksums() -> dict[str, str]:
    """Return split -> digest of its images and classes, in the order of the files' names.

    Raises:
        InputError: a file is missing or broken.
    """
    return {split: read(split)[1] for split in PUBLISHED}


def read(split: str) -> tuple[Labelled, str]:
    """Read a folder of images, ``"train"`` or ``"test"``; packs them first where need be.

    Returns:
        Images, as large as the files have them, and joint classes, in the order of the files' names; and their digest.

    Raises:
        InputError: the folder is missing; a file is broken, has no label in its name, or is of another size than the
            others; or a class has no image.
    """
    paths = _files(folder() / split)
    joint = np.array([_joint(path) for path in paths], dtype=np.int64)
    if missing := set(range(N_CLASSES["joint"])) - set(joint.tolist()):
        count, hand = divmod(min(missing), 2)
        raise InputError(
            f"{folder() / split}: has {len(paths):,} images, but none whose name ends with _{count}{'LR'[hand]}; "
            f"get the files of {PAGE} again"
        )
    stats = [(path.name, (stat := path.stat()).st_size, stat.st_mtime_ns) for path in paths]
    key = hashlib.sha256(json.dumps([_LAYOUT, split, stats]).encode()).hexdigest()[:16]
    packed = folders.cache() / "fingers" / f"{split}-{key}.npz"
    try:
        with np.load(packed) as stored:
            return (stored["images"], joint), str(stored["digest"])
    # Not there yet, or broken in any of the ways that zip files are: made again.
    except (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile):
        images = _stacked(paths, split)
    digest = _digest(images, joint)
    try:
        with folders.replacing(packed) as temporary, temporary.open("wb") as file:
            np.savez(file, images=images, digest=np.array(digest))
    except OSError as error:
        print(f"{packed}: not cached ({error.strerror}); images are read again next time", file=sys.stderr)
    return (images, joint), digest


def _files(place: Path) -> list[Path]:
    # Hidden files are some systems' own.
    paths = sorted(path for path in place.glob("[!.]*.png") if path.is_file())
    if not paths:
        raise InputError(
            f"{place}: no such folder, or no PNG files in it; download Fingers (21,600 files of 128x128 pixels, about "
            f"170 MB) from {PAGE} and unpack it so that its folders train and test are in {folder()}; MTLUTILS_DATA "
            "changes the place"
        )
    return paths


def _joint(path: Path) -> int:
    label = _LABEL.search(path.stem)
    if label is None:
        raise InputError(
            f"{path}: its name does not end with a label, as in _3L.png for three fingers of a left hand; rename it or "
            "move it away"
        )
    return 2 * int(label[1]) + "LR".index(label[2])


def _stacked(paths: list[Path], split: str) -> np.ndarray:
    images: list[np.ndarray] = []
    for path in tqdm(paths, f"reading Fingers, {split}", unit="file", delay=2, leave=False, file=sys.stderr):
        try:
            with Image.open(path, formats=["PNG"]) as image:
                mode = image.mode
                images.append(np.asarray(image))
        except Exception as error:  # whatever a cut or foreign file raises
            reason = [*str(error).splitlines(), type(error).__name__][0]
            raise InputError(f"{path}: not a readable PNG file ({reason}); get the file again") from error
        if mode != "L":
            raise InputError(f"{path}: its pixels are {mode}, not 8-bit grey (L); get the file again")
        height, width = images[-1].shape
        side = len(images[0])
        if (height, width) != (side, side):
            expected = f"{side}x{side} as {paths[0].name} beside it" if len(images) > 1 else "a square"
            raise InputError(f"{path}: {height}x{width} pixels, expected {expected}; get the file again")
    return np.stack(images)


def _digest(images: np.ndarray, joint: np.ndarray) -> str:
    digest = hashlib.sha256(json.dumps(images.shape).encode())
    digest.update(joint.astype(np.uint8).tobytes())
    digest.update(np.ascontiguousarray(images).tobytes())
    return f"sha256:{digest.hexdigest()}"


def _real(wanted: dict[str, int | None], size: int) -> tuple[dict[str, Labelled], dict[str, str], str]:
    """Choose and reduce the images of the three splits; return them, the files' digests, and what the files are."""
    files: dict[str, Labelled] = {}
    sums: dict[str, str] = {}
    for split in PUBLISHED:
        files[split], sums[split] = read(split)
    n_train, n_test = (len(joint) for _, joint in files.values())
    n_validation = wanted["validation"] or 0
    order = {split: _balanced(joint) for split, (_, joint) in files.items()}
    rows = {
        "train": order["train"][n_validation:][: wanted["train"]],
        "validation": order["train"][:n_validation],
        "test": order["test"][: wanted["test"]],
    }
    if n_validation >= n_train or len(rows["train"]) < (wanted["train"] or 0):
        asked = "" if wanted["train"] is None else f"{wanted['train']:,} training and "
        raise InputError(
            f"{folder() / 'train'}: has {n_train:,} images, too few for {asked}{n_validation:,} validation images; ask "
            "for fewer"
        )
    if n_test < (wanted["test"] or 0):
        raise InputError(f"{folder() / 'test'}: has {n_test:,} images, fewer than {wanted['test']:,}; ask for fewer")
    side, of_test = (images.shape[1] for images, _ in files.values())
    if side != of_test:
        raise InputError(
            f"{folder() / 'test'}: the images are of {of_test}x{of_test} pixels, those of train of {side}x{side}; get "
            "either folder again"
        )
    arrays: dict[str, Labelled] = {}
    for split, chosen in rows.items():
        images, joint = files["test" if split == "test" else "train"]
        arrays[split] = _reduced(images[np.sort(chosen)], size), joint[np.sort(chosen)]
    is_published = [n_train, n_test] == list(PUBLISHED.values()) and side == 128
    what = "as published" if is_published else "published: 18,000 + 3,600 of 128x128"
    return arrays, sums, f"Fingers ({n_train:,} + {n_test:,} images of {side}x{side} pixels; {what})"


def _balanced(joint: np.ndarray) -> np.ndarray:
    """Return image numbers in a random order, the same each time, whose every beginning has as many of each class."""
    order = np.random.default_rng(0).permutation(len(joint))
    turn = np.empty(len(joint), dtype=np.int64)
    for each in range(N_CLASSES["joint"]):
        of_class = joint[order] == each
        turn[of_class] = np.arange(of_class.sum())
    shuffled: np.ndarray = order[np.argsort(turn, kind="stable")]
    return shuffled


def _reduced(images: np.ndarray, size: int) -> np.ndarray:
    """Reduce images (N, S, S) to (N, size, size) by averaging areas, and round halves up."""
    side = images.shape[1]
    if not 1 <= size <= side:
        raise InputError(f"{folder()}: the images are of {side}x{side} pixels; size must be 1 to {side}, got {size}")
    if size == side:
        return images
    # In parts, since an image in float32 takes four times its bytes.
    parts = torch.from_numpy(images).unsqueeze(1).split(1024)
    reduced = [(interpolate(part.float(), size=size, mode="area") + 0.5).byte().squeeze(1) for part in parts]
    return torch.cat(reduced).numpy()
