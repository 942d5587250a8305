"""Generated rooms and streets in the place of NYUv2 and CityScapes, as a data set: split, cached and on a device."""

import hashlib
import json
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from tqdm import tqdm

from mtlutils import folders, records
from mtlutils.data import rooms
from mtlutils.data.dense import DenseData, DenseSplit
from mtlutils.errors import InputError

N_OUTPUTS = {
    "room": {"segmentation": len(rooms.CLASS_NAMES["room"]), "depth": 1, "normal": 3},
    "street": {"segmentation": len(rooms.CLASS_NAMES["street"]), "depth": 1},
}
"""Scene -> task -> channels of its output: those of NYUv2 and of CityScapes, which has no normals."""

_NAMES = {"room": "rooms", "street": "streets"}
_SEEDS = {"train": 0, "validation": 1, "test": 2}
_CHUNK = 16  # images generated at a time
_GENERATORS = ("rooms*.py", "ray_caster*.py")


def load(
    scene: Literal["room", "street"],
    train: int,
    validation: int,
    test: int,
    size: tuple[int, int],
    tasks: Iterable[str],
    augment: bool = False,
    device: torch.device | str = "cpu",
) -> DenseData:
    """Load generated scenes and the targets of the tasks, see :func:`mtlutils.data.rooms.generate`, onto a device.

    Each split has a seed of its own, and a smaller split is the beginning of a larger one. Depths are metres in rooms,
    and disparities, in 1/metre, in streets. 1,000 images of 96x128 pixels take about 20 seconds; they are kept in the
    cache folder, and made again where the generator's code changes. Old files may be deleted.

    Args:
        scene: Which.
        train: Number of training images, at least 1, as the others.
        validation: Number of validation images.
        test: Number of test images.
        size: Height and width of the images, in pixels.
        tasks: Those to load, of :data:`N_OUTPUTS`.
        augment: Whether shuffled training images are augmented.
        device: Where the tensors are put.

    Raises:
        InputError: an argument is not one of those above, or the cache folder cannot be written.
    """
    if scene not in N_OUTPUTS:
        raise InputError(f"scene must be one of {', '.join(N_OUTPUTS)}, got {scene!r}")
    tasks = list(dict.fromkeys(tasks))
    if unknown := set(tasks) - set(N_OUTPUTS[scene]):
        raise InputError(f"tasks of {_NAMES[scene]} must be of {', '.join(N_OUTPUTS[scene])}, got {min(unknown)!r}")
    sizes = {"train": train, "validation": validation, "test": test}
    for split, n in sizes.items():
        if n < 1:
            raise InputError(f"{split} must be at least 1, got {n:,}")
    splits, sums = {}, {}
    for split, n in sizes.items():
        arrays = _cached(scene, n, size, _SEEDS[split])
        for part in ("image", *tasks):
            sums[f"{split}/{part}"] = f"sha256:{hashlib.sha256(arrays[part].data).hexdigest()}"
        targets = {task: torch.from_numpy(arrays[task]).to(device) for task in tasks}
        images = torch.from_numpy(arrays["image"]).to(device).half() / 255
        splits[split] = DenseSplit(images, targets, augment and split == "train", is_inverse=scene == "street")
    numbers = " + ".join(f"{n:,}" for n in sizes.values())
    description = records.Data(
        name=_NAMES[scene],
        kind="stand-in",
        description=f"stand-in: {numbers} generated {_NAMES[scene]} of {size[0]}x{size[1]} pixels",
        checksums=sums,
        sizes=sizes,
    )
    n_outputs = {task: N_OUTPUTS[scene][task] for task in tasks}
    return DenseData(**splits, class_names=list(rooms.CLASS_NAMES[scene]), n_outputs=n_outputs, description=description)


def _cached(scene: Literal["room", "street"], n: int, size: tuple[int, int], seed: int) -> dict[str, np.ndarray]:
    """Return images (N, 3, H, W) uint8 and all targets, read from the cache folder where they are whole."""
    place = Path(__file__).parent
    code = [path.read_text() for pattern in _GENERATORS for path in sorted(place.glob(pattern))]
    key = hashlib.sha256(json.dumps([Path(__file__).read_text(), *code]).encode()).hexdigest()[:12]
    path = folders.cache() / _NAMES[scene] / f"{size[0]}x{size[1]}-{n}-seed{seed}-{key}.npz"
    try:
        with np.load(path) as file:
            return {part: file[part] for part in ("image", *N_OUTPUTS[scene])}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        pass  # not there, or cut, or damaged, which the archive's checksums show
    arrays = _generated(scene, n, size, seed)
    try:
        with folders.replacing(path) as temporary, temporary.open("wb") as opened:
            np.savez(opened, allow_pickle=False, **arrays)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); free space, or set MTLUTILS_CACHE to a folder "
            "with room"
        ) from error
    return arrays


def _generated(scene: Literal["room", "street"], n: int, size: tuple[int, int], seed: int) -> dict[str, np.ndarray]:
    chunks: dict[str, list[np.ndarray]] = {part: [] for part in ("image", *N_OUTPUTS[scene])}
    with tqdm(total=n, desc=f"generating {scene}s", unit="image", delay=2, leave=False, file=sys.stderr) as bar:
        for first in range(0, n, _CHUNK):
            count = min(_CHUNK, n - first)
            scenes = rooms.generate(scene, count, *size, seed=seed, first=first)
            depth = scenes.disparity if scene == "street" else scenes.depth
            parts = {
                "image": scenes.images.permute(0, 3, 1, 2),
                "segmentation": scenes.labels,
                "depth": depth.unsqueeze(1).half(),
                "normal": scenes.normals.permute(0, 3, 1, 2).half(),
            }
            for part, arrays in chunks.items():
                arrays.append(parts[part].numpy())
            bar.update(count)
    return {part: np.ascontiguousarray(np.concatenate(arrays)) for part, arrays in chunks.items()}
