"""Generated rooms and streets in the place of NYUv2 and CityScapes: no file, no network, exact targets.

Scenes are put together of boxes, ellipsoids and cylinders at random, by :mod:`mtlutils.data.rooms_indoor` and
:mod:`mtlutils.data.rooms_street`, and drawn by :mod:`mtlutils.data.ray_caster`. Class, depth and normal of a pixel are
those of the surface it sees. All sizes are in metres.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mtlutils.data import ray_caster
from mtlutils.data.dense import UNLABELLED
from mtlutils.data.ray_caster_shading import shade
from mtlutils.data.rooms_indoor import room
from mtlutils.data.rooms_street import street
from mtlutils.data.rooms_things import Things
from mtlutils.errors import InputError

CLASS_NAMES = {
    "room": (
        *("bed", "books", "ceiling", "chair", "floor", "furniture", "objects"),
        *("picture", "sofa", "table", "tv", "wall", "window"),
    ),
    "street": ("flat", "construction", "object", "nature", "sky", "human", "vehicle"),
}
"""Scene -> names of the labels, from 0: the 13 classes of NYUv2, and the 7 categories of CityScapes in its order."""

FAR = 150.0
"""Metres beyond which a street has only sky."""

_NUMBERS = 4096  # drawn for each image; a room needs 1,976, a street 3,184
_PIXELS = 1 << 16  # drawn at the same time


@dataclass(frozen=True)
class Scenes:
    """N images of generated scenes, with targets for every pixel, on a device.

    The camera's frame is x right, y down, z forward. Depth and normals are missing at the same pixels.

    Attributes:
        images: (N, H, W, 3) uint8.
        labels: (N, H, W) int8, see :data:`CLASS_NAMES`; -1 where unlabelled, along the borders of objects and in
            blots. The sky is a class.
        depth: (N, H, W) float32, metres along the optical axis, as in NYUv2, not along the ray. 0 where there is none:
            in blots, in the sky, and on some windows and screens.
        normals: (N, H, W, 3) float32, in the camera's frame, of length 1, towards the camera; zero where there is none.
        cameras: On the CPU.
    """

    images: Tensor
    labels: Tensor
    depth: Tensor
    normals: Tensor
    cameras: ray_caster.Cameras

    @property
    def disparity(self) -> Tensor:
        """Inverse depth (N, H, W), float32, in 1/metre, and 0 where there is no depth, as in the sky.

        CityScapes' own disparities are this times focal length and baseline, about 500 pixels * metres.
        """
        return torch.where(self.depth > 0, 1 / self.depth, 0)


def generate(
    scene: Literal["room", "street"],
    n: int,
    height: int,
    width: int,
    seed: int,
    device: torch.device | str = "cpu",
    first: int = 0,
) -> Scenes:
    """Generate scenes.

    Image i is drawn from ``seed`` and i alone. Another size shows the same scene (at another ratio of height to width,
    more or less of it above and below). What is at random: room or street, things and their sizes, places, colours,
    textures, the lights, the camera and the noise of the pixels.

    Args:
        scene: Which.
        n: Number of images.
        height: Of the images, in pixels, at least 8.
        width: Of the images, in pixels, at least 8.
        seed: At least 0.
        device: Where images are drawn. The bytes differ between kinds of devices by rounding.
        first: Number of the first image.

    Raises:
        InputError: an argument is not one of those above.
    """
    if scene not in CLASS_NAMES:
        raise InputError(f"scene must be one of {', '.join(CLASS_NAMES)}, got {scene!r}")
    numbers = (("n", n, 1), ("height", height, 8), ("width", width, 8), ("seed", seed, 0), ("first", first, 0))
    for name, value, least in numbers:
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {str(device)!r} cannot be used: {str(error).splitlines()[0]}") from error
    code = list(CLASS_NAMES).index(scene)
    generators = [np.random.default_rng([seed, code, i]) for i in range(first, first + n)]
    things = Things(np.stack([generator.random(_NUMBERS) for generator in generators]), CLASS_NAMES[scene])
    pose, lights = (room if scene == "room" else street)(things)
    cast_of_colour = things.uniform(0.88, 1.08, 3)
    roughness = things.uniform(2, 9)
    blots = things.uniform(0, 1, 2, 4, 5)
    position, yaw, pitch, view = (torch.from_numpy(values) for values in pose)
    cameras = ray_caster.cameras(position, yaw, pitch, view, height, width)
    shapes, looks = things.shapes(), things.looks()
    far = FAR if scene == "street" else math.inf

    parts: list[tuple[Tensor, ...]] = []
    step = max(1, _PIXELS // (height * width))
    for rows in (slice(i, i + step) for i in range(0, n, step)):
        here = _rows(cameras, rows)
        hits = ray_caster.cast(_rows(shapes, rows), here, height, width, far, device)
        images = shade(hits, _rows(looks, rows), _rows(lights, rows), here)
        grain = np.stack([g.standard_normal((height, width, 3), dtype=np.float32) for g in generators[rows]])
        tones = torch.from_numpy(cast_of_colour[rows]).float().to(device).view(-1, 1, 1, 3) * 255
        rough = torch.from_numpy(roughness[rows]).float().to(device).view(-1, 1, 1, 1)
        images = images * tones + rough * torch.from_numpy(grain).to(device)
        parts.append((images.round().clamp(0, 255).byte(), *_targets(things, hits, blots[rows], rows)))
    pictures, labels, depth, normals = (torch.cat(columns) for columns in zip(*parts, strict=True))
    return Scenes(pictures, labels, depth, normals, cameras)


def _rows(batch: Any, rows: slice) -> Any:
    return type(batch)(**{name: values[rows] for name, values in vars(batch).items()})


def _targets(things: Things, hits: ray_caster.Hits, blots: np.ndarray, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Return labels, depth and normals, with what real ones lack left out."""
    device, (n, height, width) = hits.depth.device, hits.depth.shape
    # The last entry, -1, is the sky's.
    labels = torch.tensor([*things.labels, things.sky], device=device)[hits.shape]
    numbers = torch.tensor([*things.objects, -1], device=device)[hits.shape]
    blank = torch.from_numpy(np.concatenate([*things.blank, np.zeros((len(things.numbers), 1), dtype=bool)], axis=1))
    images = torch.arange(n, device=device).view(n, 1, 1)
    holes = blank[rows].to(device)[images, hits.shape] | (hits.shape < 0)

    # Blots: ellipses, half of them not there.
    x, y, across, down, there = torch.from_numpy(blots).float().to(device)[..., None, None].unbind(3)
    right = (torch.arange(width, device=device) + 0.5) / width
    below = ((torch.arange(height, device=device) + 0.5) / height)[:, None]
    u, v = (right - x) / (0.01 + 0.06 * across), (below - y) / (0.01 + 0.06 * down)
    unlabelled, missing = ((u * u + v * v < 1) & (there < 0.5)).any(dim=2).unbind(1)

    # Along a border, what is farther away, so that thin things keep their pixels.
    depth, reach = torch.where(hits.shape < 0, math.inf, hits.depth), max(1, height // 144)
    for axis, size in ((1, height), (2, width)):
        ends = [depth.narrow(axis, first, size - reach) for first in (0, reach)]
        other = numbers.narrow(axis, 0, size - reach) != numbers.narrow(axis, reach, size - reach)
        unlabelled.narrow(axis, 0, size - reach).logical_or_(other & (ends[0] > ends[1]))
        unlabelled.narrow(axis, reach, size - reach).logical_or_(other & (ends[1] > ends[0]))
    holes = holes | missing
    return (
        torch.where(unlabelled, UNLABELLED, labels).to(torch.int8),
        torch.where(holes, 0, hits.depth),
        torch.where(holes[..., None], 0, hits.normal),
    )
