"""NYUv2: indoor photographs with classes, depths and normals (Silberman et al. 2012), as MTAN has it (Liu et al. 2019).

The data set has 1,449 images; the official split has 795 for training and 654 for testing. (Liu et al. write "694" of
the validation images, which is a slip: 795 and 654 make 1,449, and are what their files have.)

In this file: MTAN's files, the official file, and the sample images.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy.io import loadmat
from torch import Tensor
from torch.nn.functional import interpolate
from tqdm import tqdm

from mtlutils import folders, records
from mtlutils.data.dense import DenseData, DenseSplit
from mtlutils.errors import InputError

N_OUTPUTS = {"segmentation": 13, "depth": 1, "normal": 3}
"""Task -> channels of its output: classes, metres, and the components of a normal."""

CLASS_NAMES = [
    *("bed", "books", "ceiling", "chair", "floor", "furniture", "objects"),
    *("picture", "sofa", "table", "tv", "wall", "window"),
]
"""The 13 classes, in the order of ``class13Mapping.mat``."""

UNLABELLED = -1
PUBLISHED = {"train": 795, "val": 654}
"""Images of the official split, by the folders' names."""


class _Part(NamedTuple):
    """What a folder's files hold."""

    channels: int | None  # None: no axis for them
    dtype: type[np.generic]  # as packed
    low: float
    high: float
    what: str


# Interpolated images may leave 0 to 1 a little. The bounds are there to tell bytes, millimetres and the like.
_PARTS = {
    "image": _Part(3, np.float16, -0.5, 1.5, "numbers from 0 to 1"),
    "label": _Part(None, np.int8, UNLABELLED, 12, "whole numbers from -1 to 12"),
    "depth": _Part(1, np.float16, 0, 100, "metres from 0 to 100"),
    "normal": _Part(3, np.float16, -1.5, 1.5, "numbers from -1 to 1"),
}
_FOLDERS = {"segmentation": "label", "depth": "depth", "normal": "normal"}
_LAYOUT = 1  # of the packed files; part of their names
_ORIGIN = "origin.txt"  # in the folder of a prepared set

# The official frames have a white border and, within it, one without depth. This is the toolbox's valid region, rows 45
# to 471 and columns 41 to 601, less the 7 rows and the column that a shape of 3 to 4 leaves over.
_CROP = (slice(47, 467), slice(40, 600))
_OFFICIAL = {"images": ("u", (3, 640, 480)), "depths": ("f", (640, 480)), "labels": ("u", (640, 480))}
_SPLITS = {"train": "trainNdxs", "val": "testNdxs"}


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
    tasks = list(dict.fromkeys(tasks))
    if unknown := set(tasks) - set(N_OUTPUTS):
        raise InputError(f"tasks must be of {', '.join(N_OUTPUTS)}, got {min(unknown)!r}")
    _require(tasks)
    splits, sums = {}, {}
    for split in PUBLISHED:
        files = {part: _files(split, part) for part in ["image", *(_FOLDERS[task] for task in tasks)]}
        for part, paths in files.items():
            if len(paths) != len(files["image"]):
                raise InputError(
                    f"{folder() / split / part}: has {len(paths):,} files for {len(files['image']):,} images; unpack "
                    "the archive again"
                )
        arrays = {}
        for part, paths in files.items():
            arrays[part], sums[f"{split}/{part}"] = _packed(split, part, paths)
            if (size := arrays[part].shape[-2:]) != (expected := arrays["image"].shape[-2:]):
                raise InputError(
                    f"{paths[0].parent}: is of {size[0]}x{size[1]} pixels, the images of {expected[0]}x{expected[1]}; "
                    "unpack the archive again"
                )
        tensors = {part: torch.from_numpy(array).to(device) for part, array in arrays.items()}
        targets = {task: tensors[_FOLDERS[task]] for task in tasks}
        splits[split] = DenseSplit(tensors["image"], targets, augment and split == "train")
    train, test = splits.values()
    description = records.Data(
        name="NYUv2",
        kind="real",
        description=_describe(train, test),
        checksums=sums,
        sizes={"train": len(train), "test": len(test)},
    )
    return DenseData(train, test, list(CLASS_NAMES), {task: N_OUTPUTS[task] for task in tasks}, description)


def folder() -> Path:
    """Folder of the files: ``{train,val}/{image,label,depth,normal}/N.npy``, N from 0."""
    return folders.data() / "nyuv2"


def is_there(tasks: Iterable[str] = N_OUTPUTS) -> bool:
    """Return whether the folders that the tasks need are in place."""
    return not _missing(tasks)


def _missing(tasks: Iterable[str]) -> list[Path]:
    parts = ["image", *(_FOLDERS[task] for task in tasks)]
    return [path for split in PUBLISHED for part in parts if not (path := folder() / split / part).is_dir()]


def _require(tasks: Iterable[str]) -> None:
    if not (missing := _missing(tasks)):
        return
    if not _missing(["segmentation", "depth"]):
        raise InputError(
            f"{missing[0]}: no such folder; the official file has no normals, so a set prepared from it has the tasks "
            "segmentation and depth only: leave out normal, or use MTAN's set (README of "
            "https://github.com/lorenmt/mtan, 8.5 GB)"
        )
    raise InputError(
        f"{missing[0]}: no such folder; download the pre-processed NYUv2 (nyuv2.zip, 8.5 GB) from the README of "
        f"https://github.com/lorenmt/mtan and unpack it so that {folder() / 'train' / 'image' / '0.npy'} is there, or "
        "prepare it, without normals, with mtlutils.data.nyuv2.prepare_official from nyu_depth_v2_labeled.mat (2.8 GB) "
        "of https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html; MTLUTILS_DATA changes the place"
    )


def _files(split: str, part: str) -> list[Path]:
    place = folder() / split / part
    names = {path.name for path in place.glob("[!.]*.npy") if path.is_file()}
    paths = [place / f"{i}.npy" for i in range(len(names))]
    for path in paths:
        if path.name not in names:
            raise InputError(f"{path}: missing, with {len(names):,} files beside it; unpack the archive again")
    if not paths:
        raise InputError(f"{place / '0.npy'}: missing; unpack the archive again")
    return paths


def _packed(split: str, part: str, paths: list[Path]) -> tuple[np.ndarray, str]:
    """Return all files as one memory-mapped array, packed first where need be, and the digest of its content."""
    try:
        stats = [(path.name, (stat := path.stat()).st_size, stat.st_mtime_ns) for path in paths]
        key = hashlib.sha256(json.dumps([_LAYOUT, split, part, stats]).encode()).hexdigest()[:16]
        path = folders.cache() / "nyuv2" / f"{split}-{part}-{key}.npy"
        of_digest = path.with_suffix(".sha256")
        if not (path.is_file() and of_digest.is_file()):
            # Both, or neither; whoever packs at the same time writes the same.
            with folders.replacing(of_digest) as temporary_digest, folders.replacing(path) as temporary:
                temporary_digest.write_text(_pack(temporary, f"{split}/{part}", paths))
        # Copy on write: PyTorch warns of arrays that cannot be written to. The file never changes.
        return np.load(path, mmap_mode="c"), of_digest.read_text()
    except (OSError, ValueError, EOFError) as error:  # the last two are numpy's, for a file that was cut
        raise InputError(
            f"{folders.cache() / 'nyuv2'}: the packed files cannot be written or read ({error}); free space, or set "
            "MTLUTILS_CACHE to a folder with room, or delete this one"
        ) from error


def _pack(target: Path, name: str, paths: list[Path]) -> str:
    part = _PARTS[paths[0].parent.name]
    digest = hashlib.sha256()
    shape: tuple[int, ...] = ()
    bar = tqdm(paths, desc=f"packing NYUv2 {name}", unit="file", delay=2, leave=False, file=sys.stderr)
    # Written in order: a full disk is then an error, which it would not be by way of a memory map.
    with target.open("wb") as file:
        for path in bar:
            array = _read(path, part)
            if not shape:
                shape = array.shape
                descr = np.lib.format.dtype_to_descr(np.dtype(part.dtype))
                header = {"descr": descr, "fortran_order": False, "shape": (len(paths), *shape)}
                np.lib.format.write_array_header_1_0(file, header)
            if array.shape != shape:
                (height, width), (other, another) = array.shape[-2:], shape[-2:]
                raise InputError(
                    f"{path}: {height}x{width} pixels, {paths[0].name} beside it has {other}x{another}; unpack the "
                    "archive again"
                )
            packed = array.astype(part.dtype).tobytes()
            digest.update(packed)
            file.write(packed)
    return f"sha256:{digest.hexdigest()}"


def _read(path: Path, part: _Part) -> np.ndarray:
    """Return a file's array, channels first."""
    again = "unpack the archive again"
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # whatever a cut or foreign file raises
        raise InputError(f"{path}: not a readable .npy file ({_line(error)}); {again}") from error
    is_label = part.channels is None
    tail = () if is_label else (part.channels,)
    has_shape = array.size and array.ndim == 2 + len(tail) and array.shape[2:] == tail
    if not has_shape or array.dtype.kind not in ("fiu" if is_label else "f"):
        expected = "numbers (H, W)" if is_label else f"floats (H, W, {part.channels})"
        raise InputError(f"{path}: {array.dtype} {array.shape}, expected {expected}; {again}")
    low, high = array.min(), array.max()  # nan where one is
    is_whole = not is_label or np.array_equal(array, np.rint(array))
    if not (part.low <= low and high <= part.high and is_whole):
        raise InputError(f"{path}: numbers from {low:g} to {high:g}, expected {part.what}; {again}")
    return array if is_label else np.moveaxis(array, 2, 0)


def _line(error: Exception) -> str:
    return [*str(error).splitlines(), type(error).__name__][0]


def _describe(train: DenseSplit, test: DenseSplit) -> str:
    height, width = train.images.shape[-2:]
    is_published = [len(train), len(test)] == list(PUBLISHED.values())
    numbers = "the published number" if is_published else "not the published number"
    origin = folder() / _ORIGIN
    source = origin.read_text().strip() if origin.is_file() else "files in the layout of MTAN's authors"
    return f"NYUv2 ({len(train):,} + {len(test):,} images of {height}x{width} pixels, {numbers}; {source})"


def prepare_official(
    mat_file: Path,
    splits_file: Path,
    mapping13_file: Path,
    out_folder: Path,
    mapping40_file: Path | None = None,
    size: tuple[int, int] = (288, 384),
) -> Path:
    """Make a set in the layout of MTAN's authors, but without normals, from the official file.

    It is not MTAN's set: how its authors cropped the frames is not known, as they lost their code, and their normals
    were computed by others and are not in the official file. Here the invalid border of the frames is cut off, which
    leaves 420x560 pixels, and these are made smaller: images by antialiased linear interpolation, classes and depths by
    the nearest pixel. Depths are the official ones, in which holes are filled. The 894 classes become 40, and these 13,
    by the published maps; what has no class is -1. Images are in the order of the official split.

    Args:
        mat_file: ``nyu_depth_v2_labeled.mat`` (2.8 GB) of
            https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html; reading it needs the package h5py.
        splits_file: ``splits.mat`` of https://github.com/ankurhanda/nyuv2-meta-data.
        mapping13_file: ``class13Mapping.mat`` of the same repository.
        out_folder: Where ``{train,val}/{image,label,depth}/N.npy`` go, 3.2 GB; :func:`load` reads :func:`folder`. It
            gets its name only once it is complete.
        mapping40_file: ``classMapping40.mat`` of the same repository; by default the one beside ``mapping13_file``.
        size: Height and width of the images.

    Returns:
        ``out_folder``.

    Raises:
        InputError: h5py or a file is missing, a file is broken, or the folder is there already or cannot be written.
    """
    try:
        import h5py  # type: ignore[import, unused-ignore]  # not one of the package's own: only this needs it
    except ImportError as error:
        raise InputError("h5py is missing, which reads the official file: `pip install h5py`") from error
    if out_folder.exists():
        raise InputError(f"{out_folder}: is there already; move it away first")
    numbers = {split: _matlab(splits_file, name) for split, name in _SPLITS.items()}
    to_40 = _matlab(mapping40_file or mapping13_file.with_name("classMapping40.mat"), "mapClass", 40)
    to_13 = _matlab(mapping13_file, "classMapping13", 13)
    if len(to_13) != 40:
        raise InputError(f"{mapping13_file}: has {len(to_13)} classes instead of 40; get the file again")
    classes = np.concatenate([[UNLABELLED], to_13[to_40 - 1] - 1])
    try:
        file = h5py.File(mat_file, "r")
    except OSError as error:
        raise InputError(
            f"{mat_file}: not a readable HDF5 file ({_line(error)}); download it (2.8 GB) from "
            "https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html"
        ) from error
    temporary = out_folder.with_name(f".{out_folder.name}.{os.getpid()}.part")
    with file:
        fields = _fields(mat_file, file)
        n = len(fields["images"])
        if sorted(np.concatenate(list(numbers.values())).tolist()) != list(range(1, n + 1)):
            raise InputError(f"{splits_file}: is not a split of the {n:,} images of {mat_file}; get the files again")
        try:
            for split, chosen in numbers.items():
                for part in ("image", "label", "depth"):
                    (temporary / split / part).mkdir(parents=True)
                bar = tqdm(chosen, desc=f"preparing {split}", unit="image", delay=2, leave=False, file=sys.stderr)
                for i, number in enumerate(bar):
                    for part, array in _prepared(mat_file, fields, int(number), classes, size).items():
                        np.save(temporary / split / part / f"{i}.npy", array)
            origin = (
                f"prepared from the official {mat_file.name}, cropped to 420x560, holes in depths filled, no normals"
            )
            (temporary / _ORIGIN).write_text(f"{origin}\n")
            temporary.replace(out_folder)
        except OSError as error:
            raise InputError(f"{out_folder}: cannot be written ({error.strerror or error}); free space") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return out_folder


def _matlab(path: Path, name: str, highest: int | None = None) -> np.ndarray:
    """Return the numbers (N,), from 1, under a name of a small .mat file."""
    try:
        with path.open("rb") as file:
            value = loadmat(file)[name]
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: {error.strerror}; get it from https://github.com/ankurhanda/nyuv2-meta-data"
        ) from error
    except Exception as error:  # whatever a cut or foreign file raises
        raise InputError(f"{path}: has no readable {name} ({_line(error)}); get the file again") from error
    if value.dtype.names and "labels13" in value.dtype.names and value.size == 1:
        value = value["labels13"].item()
    numbers = np.asarray(value).ravel()
    is_good = numbers.dtype.kind in "iuf" and numbers.size and np.array_equal(numbers, np.rint(numbers))
    if not is_good or numbers.min() < 1 or (highest is not None and numbers.max() > highest):
        to = "" if highest is None else f" to {highest}"
        raise InputError(f"{path}: {name} is not numbers from 1{to}; get the file again")
    return numbers.astype(np.int64)


def _fields(path: Path, file: Any) -> dict[str, Any]:
    fields = {}
    for name, (kind, shape) in _OFFICIAL.items():
        field = file.get(name)
        found = getattr(field, "shape", None)
        if found is None or found[1:] != shape or field.dtype.kind != kind:
            raise InputError(
                f"{path}: {name} is {'missing' if found is None else f'{field.dtype} {found}'}, expected (N, "
                f"{', '.join(map(str, shape))}) as in nyu_depth_v2_labeled.mat; download the file again"
            )
        fields[name] = field
    if len({len(field) for field in fields.values()}) != 1:
        raise InputError(f"{path}: images, depths and labels are not of one number; download the file again")
    return fields


def _prepared(
    path: Path, fields: dict[str, Any], number: int, classes: np.ndarray, size: tuple[int, int]
) -> dict[str, np.ndarray]:
    try:
        # MATLAB's order of axes is the other way round.
        image, depth, label = (np.ascontiguousarray(field[number - 1].swapaxes(-1, -2)) for field in fields.values())
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path}: image {number} cannot be read ({_line(error)}); download the file again") from error
    if label.max() >= len(classes):
        raise InputError(f"{path}: image {number} has the class {label.max()}, but there are {len(classes) - 1}")
    return {
        "image": _small(image / np.float32(255), size, smooth=True).permute(1, 2, 0).contiguous().numpy(),
        "label": _small(classes[label][None], size)[0].numpy(),
        "depth": _small(depth[None], size)[0, :, :, None].numpy(),
    }


def _small(frames: np.ndarray, size: tuple[int, int], smooth: bool = False) -> Tensor:
    """Cut off the border of frames (C, 480, 640), and return them in another size (C, H, W), float32.

    Args:
        frames: Numbers from 0 to 1, where they are interpolated.
        size: Height and width.
        smooth: Whether to interpolate; otherwise, the nearest pixel.
    """
    cut = torch.from_numpy(np.ascontiguousarray(frames[(slice(None), *_CROP)])).float().unsqueeze(0)
    if smooth:
        # Rounding may lead a little above 1.
        return interpolate(cut, size, mode="bilinear", antialias=True).squeeze(0).clamp(0, 1)
    return interpolate(cut, size, mode="nearest-exact").squeeze(0)


@dataclass(frozen=True)
class Sample:
    """One image of the official test split, to look at.

    Attributes:
        number: From 1, in the official set of 1,449.
        image: (3, H, W) float32, from 0 to 1.
        targets: Task name -> what there is: ``"segmentation"`` (H, W) int64, -1 where unlabelled; ``"depth"``
            (1, H, W) float32, metres, 0 where not known; ``"normal"`` (3, H, W) float32, zero where not known.
    """

    number: int
    image: Tensor
    targets: dict[str, Tensor]


def samples(size: tuple[int, int] | None = (288, 384)) -> list[Sample]:
    """Read the 13 sample images, in the order of their numbers: all have classes, two have depths, one has normals.

    They are for looking at, not for training or numbers. Depths and normals are those of another source than MTAN's
    (``DrSleep/multi-task-refinenet``): holes are not filled, and the axes of the normals may not be MTAN's.

    Args:
        size: Height and width to which they are cut and made smaller, as :func:`prepare_official` does; None leaves
            them as they are, 480x640.

    Raises:
        InputError: the files are missing or broken.
    """
    place = folders.data() / "nyuv2_samples"
    paths = sorted((place / "rgb").glob("[0-9][0-9][0-9][0-9].webp"))
    if not paths:
        raise InputError(
            f"{place / 'rgb'}: has no sample images; set MTLUTILS_DATA to the folder that holds nyuv2_samples"
        )

    def fitted(frames: np.ndarray, smooth: bool = False) -> Tensor:
        return torch.from_numpy(frames) if size is None else _small(frames, size, smooth)

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
            normal = _picture(of_normal, np.uint8, 3).transpose(2, 0, 1) / np.float32(127.5) - 1
            # A length near 0 is what bytes have for 0; all others are near 1.
            targets["normal"] = fitted(normal * (np.linalg.norm(normal, axis=0) > 0.5))
        found.append(Sample(int(path.stem), fitted(image, smooth=True), targets))
    return found


def _picture(path: Path, dtype: type[np.generic], *channels: int) -> np.ndarray:
    try:
        with Image.open(path) as file:
            picture = np.asarray(file)
    except (OSError, SyntaxError, ValueError) as error:  # SyntaxError: Pillow's, for broken PNG files
        raise InputError(f"{path}: not a readable image ({_line(error)}); get the samples again") from error
    if picture.dtype != dtype or picture.shape != (480, 640, *channels):
        raise InputError(
            f"{path}: {picture.dtype} {picture.shape}, expected {np.dtype(dtype)} {(480, 640, *channels)}; get the "
            "samples again"
        )
    return picture
