"""CityScapes' official download, made into the layout of MTAN's authors."""

import sys
import zipfile
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from mtlutils.data.cityscapes import CLASS_NAMES
from mtlutils.data.dense import UNLABELLED, resized
from mtlutils.data.packed import first_line, picture, preparing
from mtlutils.errors import InputError

# The official ids of each category; those from 0 to 6 are void. A licence plate, -1, is not in the files.
_IDS = {
    **{"flat": range(7, 11), "construction": range(11, 17), "object": range(17, 21), "nature": range(21, 23)},
    **{"sky": range(23, 24), "human": range(24, 26), "vehicle": range(26, 34)},
}
_FRAME = (1024, 2048)
_AGAIN = "get the official archive again from https://www.cityscapes-dataset.com"


def prepare_official(
    images: Path, labels: Path, disparities: Path, out_folder: Path, size: tuple[int, int] = (128, 256)
) -> Path:
    """Make a set in the layout of MTAN's authors from the official archives, which need a registration.

    It may differ from MTAN's set, whose code is not published. Images are made smaller by antialiased linear
    interpolation, classes and disparities by the nearest pixel. All ids of a category count, those that the official
    evaluation leaves out too; void is -1. Images are in the order of their names.

    Disparities are the official files' 16-bit numbers divided by 65,535, and 0 where there is none. That is inferred: a
    user of MTAN's set reports 0.4922 as the greatest value, and 32,257 as that of the official files
    (https://github.com/lorenmt/mtan/issues/25), which makes this ratio; MTAN's author says there only that they are the
    official disparities. An official number p stands for (p - 1) / 256 pixels of the original width, so that 1 is about
    256 pixels.

    Args:
        images: ``leftImg8bit_trainvaltest.zip`` (11 GB), or the folder ``leftImg8bit`` of it.
        labels: ``gtFine_trainvaltest.zip`` (241 MB), or the folder ``gtFine`` of it.
        disparities: ``disparity_trainvaltest.zip`` (3.5 GB), or the folder ``disparity`` of it.
        out_folder: Where ``{train,val}/{image,label_7,depth}/N.npy`` go, 2.3 GB; :func:`mtlutils.data.cityscapes.load`
            reads :func:`mtlutils.data.cityscapes.folder`. It gets its name only once it is complete.
        size: Height and width of the images.

    Returns:
        ``out_folder``.

    Raises:
        InputError: a file is missing or broken, or the folder is there already or cannot be written.
    """
    classes = np.full(max(map(max, _IDS.values())) + 1, UNLABELLED)
    for name, ids in _IDS.items():
        classes[ids] = CLASS_NAMES.index(name)
    with preparing(out_folder, "prepared from the official images, labels and disparities") as temporary:
        sources = (
            ("image", _root(images, "leftImg8bit"), "leftImg8bit.png"),
            ("label_7", _root(labels, "gtFine"), "gtFine_labelIds.png"),
            ("depth", _root(disparities, "disparity"), "disparity.png"),
        )
        for split in ("train", "val"):
            found = {part: _files(root / split, ending) for part, root, ending in sources}
            for part, root, ending in sources:
                (temporary / split / part).mkdir(parents=True)
                if lacking := sorted(found["image"].keys() - found[part].keys()):
                    name = f"{lacking[0]}_{ending}"
                    raise InputError(f"{root / split}: has no {name}, though there is such an image; {_AGAIN}")
            names = sorted(found["image"])
            bar = tqdm(names, desc=f"preparing {split}", unit="image", delay=2, leave=False, file=sys.stderr)
            for i, name in enumerate(bar):
                frames = {
                    "image": _image(found["image"][name], size),
                    "label_7": _labels(found["label_7"][name], classes, size),
                    "depth": _disparity(found["depth"][name], size),
                }
                for part, array in frames.items():
                    np.save(temporary / split / part / f"{i}.npy", array)
    return out_folder


def _root(source: Path, name: str) -> Traversable:
    if source.is_dir():
        return source
    try:
        return zipfile.Path(source) / name
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{source}: neither a folder nor a readable zip file ({first_line(error)}); {_AGAIN}"
        ) from error


def _files(place: Traversable, ending: str) -> dict[str, Traversable]:
    """Return the beginning of a file's name, CITY_SEQUENCE_FRAME -> the file."""
    if not place.is_dir():
        raise InputError(f"{place}: no such folder; {_AGAIN}")
    cities = [city for city in place.iterdir() if city.is_dir()]
    files = {
        file.name.removesuffix(f"_{ending}"): file
        for city in cities
        for file in city.iterdir()
        if file.name.endswith(f"_{ending}") and not file.name.startswith(".")
    }
    if not files:
        raise InputError(f"{place}: has no CITY/CITY_..._{ending}; {_AGAIN}")
    return files


def _image(file: Traversable, size: tuple[int, int]) -> np.ndarray:
    image = picture(file, np.uint8, (*_FRAME, 3), _AGAIN).transpose(2, 0, 1) / np.float32(255)
    return resized(torch.from_numpy(image), size, smooth=True).permute(1, 2, 0).contiguous().numpy()


def _labels(file: Traversable, classes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    ids = picture(file, np.uint8, _FRAME, _AGAIN)
    if ids.max() >= len(classes):
        raise InputError(f"{file}: has the id {ids.max()}, expected 0 to {len(classes) - 1}; {_AGAIN}")
    return resized(torch.from_numpy(classes[ids][None]), size)[0].numpy()


def _disparity(file: Traversable, size: tuple[int, int]) -> np.ndarray:
    numbers = picture(file, np.uint16, _FRAME, _AGAIN)
    return resized(torch.from_numpy(numbers / np.float32(65535))[None], size)[0, :, :, None].numpy()
