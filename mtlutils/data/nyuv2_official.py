"""NYUv2's official file, made into the layout of MTAN's authors."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.io import loadmat
from torch import Tensor
from tqdm import tqdm

from mtlutils.data.dense import UNLABELLED, resized
from mtlutils.data.packed import first_line, preparing
from mtlutils.errors import InputError

# The official frames have a white border and, within it, one without depth. This is the toolbox's valid region, rows 45
# to 471 and columns 41 to 601, less the 7 rows and the column that a shape of 3 to 4 leaves over.
_CROP = (slice(47, 467), slice(40, 600))
_OFFICIAL = {"images": ("u", (3, 640, 480)), "depths": ("f", (640, 480)), "labels": ("u", (640, 480))}
_SPLITS = {"train": "trainNdxs", "val": "testNdxs"}


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
        out_folder: Where ``{train,val}/{image,label,depth}/N.npy`` go, 3.2 GB; :func:`mtlutils.data.nyuv2.load`
            reads :func:`mtlutils.data.nyuv2.folder`. It gets its name only once it is complete.
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
    origin = f"prepared from the official {mat_file.name}, cropped to 420x560, holes in depths filled, no normals"
    with preparing(out_folder, origin) as temporary:
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
                f"{mat_file}: not a readable HDF5 file ({first_line(error)}); download it (2.8 GB) from "
                "https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html"
            ) from error
        with file:
            fields = _fields(mat_file, file)
            n = len(fields["images"])
            if sorted(np.concatenate(list(numbers.values())).tolist()) != list(range(1, n + 1)):
                raise InputError(
                    f"{splits_file}: is not a split of the {n:,} images of {mat_file}; get the files again"
                )
            for split, chosen in numbers.items():
                for part in ("image", "label", "depth"):
                    (temporary / split / part).mkdir(parents=True)
                bar = tqdm(chosen, desc=f"preparing {split}", unit="image", delay=2, leave=False, file=sys.stderr)
                for i, number in enumerate(bar):
                    for part, array in _prepared(mat_file, fields, int(number), classes, size).items():
                        np.save(temporary / split / part / f"{i}.npy", array)
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
        raise InputError(f"{path}: has no readable {name} ({first_line(error)}); get the file again") from error
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
        raise InputError(
            f"{path}: image {number} cannot be read ({first_line(error)}); download the file again"
        ) from error
    if label.max() >= len(classes):
        raise InputError(f"{path}: image {number} has the class {label.max()}, but there are {len(classes) - 1}")
    return {
        "image": cropped(image / np.float32(255), size, smooth=True).permute(1, 2, 0).contiguous().numpy(),
        "label": cropped(classes[label][None], size)[0].numpy(),
        "depth": cropped(depth[None], size)[0, :, :, None].numpy(),
    }


def cropped(frames: np.ndarray, size: tuple[int, int], smooth: bool = False) -> Tensor:
    """Cut off the border of frames (C, 480, 640), and return them in another size (C, H, W), float32.

    Args:
        frames: Numbers from 0 to 1, where they are interpolated.
        size: Height and width.
        smooth: Whether to interpolate; otherwise, the nearest pixel.
    """
    return resized(torch.from_numpy(np.ascontiguousarray(frames[(slice(None), *_CROP)])), size, smooth)
