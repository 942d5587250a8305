"""A data set of one ``.npy`` file an image and target, as MTAN's authors publish theirs, packed into a few files."""

import hashlib
import json
import os
import shutil
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from mtlutils import folders, records
from mtlutils.data.dense import UNLABELLED, DenseData, DenseSplit, home
from mtlutils.errors import InputError

_LAYOUT = 1  # of the packed files; part of their names
_ORIGIN = "origin.txt"  # in the folder of a prepared set


@dataclass(frozen=True)
class Part:
    """What a folder's files hold.

    Attributes:
        channels: Size of the last axis of a file's array; None where it has none.
        dtype: As packed.
        low: Least number that a file may hold.
        high: Greatest number.
        what: Both, in words.
    """

    channels: int | None
    dtype: type[np.generic]
    low: float
    high: float
    what: str


# Interpolated images may leave 0 to 1 a little. The bounds are there to tell bytes, millimetres and the like.
IMAGE = Part(3, np.float16, -0.5, 1.5, "numbers from 0 to 1")


def labels(n_classes: int) -> Part:
    """Return what files of classes hold."""
    return Part(None, np.int8, UNLABELLED, n_classes - 1, f"whole numbers from {UNLABELLED} to {n_classes - 1}")


@dataclass(frozen=True)
class Files:
    """A set in the layout ``{train,val}/PART/N.npy``, N from 0.

    Attributes:
        name: Of the set.
        folder: Name of its folder, below those of data and of caches.
        published: Images of the published split, by the folders' names: ``"train"`` and ``"val"``.
        image: What ``image`` holds.
        targets: Task -> name of its folder, and what that holds.
        class_names: Names of the classes of ``"segmentation"``.
        n_outputs: Task -> channels of its output.
        is_inverse: Whether depths are inverse.
    """

    name: str
    folder: str
    published: Mapping[str, int]
    image: Part
    targets: Mapping[str, tuple[str, Part]]
    class_names: list[str]
    n_outputs: Mapping[str, int]
    is_inverse: bool = False

    @property
    def place(self) -> Path:
        """Where the files are."""
        return folders.data() / self.folder

    @property
    def cache(self) -> Path:
        """Where the packed files are."""
        return folders.cache() / self.folder

    def parts(self, tasks: Iterable[str]) -> dict[str, Part]:
        """Return the folders that the tasks need, and what they hold."""
        return {"image": self.image, **dict(self.targets[task] for task in tasks)}

    def missing(self, tasks: Iterable[str]) -> list[Path]:
        """Return the folders that the tasks need and that are not in place."""
        parts = self.parts(tasks)
        return [path for split in self.published for part in parts if not (path := self.place / split / part).is_dir()]

    def known(self, tasks: Iterable[str]) -> list[str]:
        """Return the tasks, each once.

        Raises:
            InputError: there is no such task.
        """
        tasks = list(dict.fromkeys(tasks))
        if unknown := set(tasks) - set(self.targets):
            raise InputError(f"tasks must be of {', '.join(self.targets)}, got {min(unknown)!r}")
        return tasks


def load(files: Files, tasks: list[str], augment: bool, device: torch.device | str) -> DenseData:
    """Load a set whose folders are in place.

    The files are read, checked and packed once into memory-mapped files in the cache folder. A change of a file's name,
    size or time makes new ones; old ones may be deleted. Numbers are packed in half precision.

    Args:
        files: The set.
        tasks: Those to load, see :meth:`Files.known`.
        augment: Whether shuffled training images are augmented.
        device: Where batches go, and the data too where they fit.

    Raises:
        InputError: files are missing or broken, or cannot be packed.
    """
    arrays: dict[str, dict[str, np.ndarray]] = {}
    sums = {}
    for split in files.published:
        paths = {part: _paths(files.place / split / part) for part in files.parts(tasks)}
        for part, of_part in paths.items():
            if len(of_part) != len(paths["image"]):
                raise InputError(
                    f"{files.place / split / part}: has {len(of_part):,} files for {len(paths['image']):,} images; "
                    "unpack the archive again"
                )
        of_split = arrays.setdefault(split, {})
        for name, part_ in files.parts(tasks).items():
            of_split[name], sums[f"{split}/{name}"] = _packed(files, split, name, part_, paths[name])
            if (size := of_split[name].shape[-2:]) != (expected := of_split["image"].shape[-2:]):
                raise InputError(
                    f"{files.place / split / name}: is of {size[0]}x{size[1]} pixels, the images of "
                    f"{expected[0]}x{expected[1]}; unpack the archive again"
                )
    place = home(sum(array.nbytes for of_split in arrays.values() for array in of_split.values()), device)
    splits = []
    for split, of_split in arrays.items():
        tensors = {part: torch.from_numpy(array).to(place) for part, array in of_split.items()}
        targets = {task: tensors[files.targets[task][0]] for task in tasks}
        augments = augment and split == "train"
        splits.append(DenseSplit(tensors["image"], targets, augments, files.is_inverse, torch.device(device)))
    train, test = splits
    description = records.Data(
        name=files.name,
        kind="real",
        description=_describe(files, train, test),
        checksums=sums,
        sizes={"train": len(train), "test": len(test)},
    )
    n_outputs = {task: files.n_outputs[task] for task in tasks}
    return DenseData(train, None, test, list(files.class_names), n_outputs, description)


def _paths(place: Path) -> list[Path]:
    names = {path.name for path in place.glob("[!.]*.npy") if path.is_file()}
    paths = [place / f"{i}.npy" for i in range(len(names))]
    for path in paths:
        if path.name not in names:
            raise InputError(f"{path}: missing, with {len(names):,} files beside it; unpack the archive again")
    if not paths:
        raise InputError(f"{place / '0.npy'}: missing; unpack the archive again")
    return paths


def _packed(files: Files, split: str, name: str, part: Part, paths: list[Path]) -> tuple[np.ndarray, str]:
    """Return all files as one memory-mapped array, packed first where need be, and the digest of its content."""
    try:
        stats = [(path.name, (stat := path.stat()).st_size, stat.st_mtime_ns) for path in paths]
        key = hashlib.sha256(json.dumps([_LAYOUT, split, name, stats]).encode()).hexdigest()[:16]
        path = files.cache / f"{split}-{name}-{key}.npy"
        of_digest = path.with_suffix(".sha256")
        if not (path.is_file() and of_digest.is_file()):
            # Both, or neither; whoever packs at the same time writes the same.
            with folders.replacing(of_digest) as temporary_digest, folders.replacing(path) as temporary:
                temporary_digest.write_text(_pack(temporary, f"{files.name} {split}/{name}", part, paths))
        # Copy on write: PyTorch warns of arrays that cannot be written to. The file never changes.
        return np.load(path, mmap_mode="c"), of_digest.read_text()
    except (OSError, ValueError, EOFError) as error:  # the last two are numpy's, for a file that was cut
        raise InputError(
            f"{files.cache}: the packed files cannot be written or read ({error}); free space, or set MTLUTILS_CACHE "
            "to a folder with room, or delete this one"
        ) from error


def _pack(target: Path, name: str, part: Part, paths: list[Path]) -> str:
    digest = hashlib.sha256()
    shape: tuple[int, ...] = ()
    bar = tqdm(paths, desc=f"packing {name}", unit="file", delay=2, leave=False, file=sys.stderr)
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


def _read(path: Path, part: Part) -> np.ndarray:
    """Return a file's array, channels first."""
    again = "unpack the archive again"
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # whatever a cut or foreign file raises
        raise InputError(f"{path}: not a readable .npy file ({first_line(error)}); {again}") from error
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


def first_line(error: Exception) -> str:
    """Return an error's first line, or its type's name where it has none."""
    return [*str(error).splitlines(), type(error).__name__][0]


def _describe(files: Files, train: DenseSplit, test: DenseSplit) -> str:
    height, width = train.images.shape[-2:]
    is_published = [len(train), len(test)] == list(files.published.values())
    numbers = "the published number" if is_published else "not the published number"
    origin = files.place / _ORIGIN
    source = origin.read_text().strip() if origin.is_file() else "files in the layout of MTAN's authors"
    return f"{files.name} ({len(train):,} + {len(test):,} images of {height}x{width} pixels, {numbers}; {source})"


@contextmanager
def preparing(out_folder: Path, origin: str) -> Iterator[Path]:
    """Yield the name of a folder for the files of a set; it becomes ``out_folder`` only once the block has ended well.

    Args:
        out_folder: What it becomes.
        origin: What the files are made of, in words, for the runs' records.

    Raises:
        InputError: ``out_folder`` is there already or cannot be written.
    """
    if out_folder.exists():
        raise InputError(f"{out_folder}: is there already; move it away first")
    temporary = out_folder.with_name(f".{out_folder.name}.{os.getpid()}.part")
    try:
        yield temporary
        (temporary / _ORIGIN).write_text(f"{origin}\n")
        temporary.replace(out_folder)
    except OSError as error:
        raise InputError(f"{out_folder}: cannot be written ({error.strerror or error}); free space") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def picture(path: Traversable, dtype: type[np.generic], shape: tuple[int, ...], advice: str) -> np.ndarray:
    """Read an image file.

    Args:
        path: Of the file, which may be within an archive.
        dtype: Expected.
        shape: Expected.
        advice: What to do where the file is missing, broken or another one.

    Raises:
        InputError: it is.
    """
    try:
        with path.open("rb") as opened, Image.open(opened) as file:
            found = np.asarray(file)
    # SyntaxError is Pillow's, for broken PNG files; the last two are the archive's.
    except (OSError, SyntaxError, ValueError, BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not a readable image ({first_line(error)}); {advice}") from error
    if found.dtype != dtype or found.shape != shape:
        raise InputError(f"{path}: {found.dtype} {found.shape}, expected {np.dtype(dtype)} {shape}; {advice}")
    return found
