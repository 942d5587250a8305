"""Generated rooms and streets in the place of NYUv2 and CityScapes: no file, no network, exact targets.

Scenes are put together of boxes, ellipsoids and cylinders at random, and drawn by :mod:`mtlutils.data.ray_caster`.
Class, depth and normal of a pixel are those of the surface it sees. All sizes are in metres.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mtlutils.data import ray_caster
from mtlutils.data.ray_caster import BOX, CHECKER, CYLINDER, ELLIPSOID, EVERYWHERE, GRID, NOISE, PLAIN, STRIPES
from mtlutils.errors import InputError

CLASS_NAMES = {
    "room": (
        *("bed", "books", "ceiling", "chair", "floor", "furniture", "objects"),
        *("picture", "sofa", "table", "tv", "wall", "window"),
    ),
    "street": ("flat", "construction", "object", "nature", "sky", "human", "vehicle"),
}
"""Scene -> names of the labels, from 0: the 13 classes of NYUv2, and the 7 categories of CityScapes in its order."""

UNLABELLED = 255
FAR = 150.0
"""Metres beyond which a street has only sky."""

_NUMBERS = 4096  # drawn for each image; a room needs 1,976, a street 3,184
_PIXELS = 1 << 16  # drawn at the same time
_ANY = (PLAIN, CHECKER, STRIPES, NOISE)


@dataclass(frozen=True)
class Scenes:
    """N images of generated scenes, with targets for every pixel, on a device.

    The camera's frame is x right, y down, z forward. Depth and normals are missing at the same pixels.

    Attributes:
        images: (N, H, W, 3) uint8.
        labels: (N, H, W) uint8, see :data:`CLASS_NAMES`; 255 where unlabelled, along the borders of objects and in
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
    scene: Literal["room", "street"], n: int, height: int, width: int, seed: int, device: torch.device | str = "cpu"
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

    Raises:
        InputError: an argument is not one of those above.
    """
    if scene not in CLASS_NAMES:
        raise InputError(f"scene must be one of {', '.join(CLASS_NAMES)}, got {scene!r}")
    for name, value, least in (("n", n, 1), ("height", height, 8), ("width", width, 8), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {str(device)!r} cannot be used: {str(error).splitlines()[0]}") from error
    code = list(CLASS_NAMES).index(scene)
    generators = [np.random.default_rng([seed, code, i]) for i in range(n)]
    things = _Things(np.stack([generator.random(_NUMBERS) for generator in generators]), CLASS_NAMES[scene])
    pose, lights = (_room if scene == "room" else _street)(things)
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
        images = ray_caster.shade(hits, _rows(looks, rows), _rows(lights, rows), here)
        grain = np.stack([g.standard_normal((height, width, 3), dtype=np.float32) for g in generators[rows]])
        tones = torch.from_numpy(cast_of_colour[rows]).float().to(device).view(-1, 1, 1, 3) * 255
        rough = torch.from_numpy(roughness[rows]).float().to(device).view(-1, 1, 1, 1)
        images = images * tones + rough * torch.from_numpy(grain).to(device)
        parts.append((images.round().clamp(0, 255).byte(), *_targets(things, hits, blots[rows], rows)))
    pictures, labels, depth, normals = (torch.cat(columns) for columns in zip(*parts, strict=True))
    return Scenes(pictures, labels, depth, normals, cameras)


def _rows(batch: Any, rows: slice) -> Any:
    return type(batch)(**{name: values[rows] for name, values in vars(batch).items()})


def _targets(things: "_Things", hits: ray_caster.Hits, blots: np.ndarray, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
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
        torch.where(unlabelled, UNLABELLED, labels).byte(),
        torch.where(holes, 0, hits.depth),
        torch.where(holes[..., None], 0, hits.normal),
    )


@dataclass(frozen=True)
class _Look:
    """Of c things in each of n scenes."""

    colours: np.ndarray  # (n, c, 2, 3)
    texture: np.ndarray  # (n, c)
    size: np.ndarray  # (n, c)
    glow: np.ndarray  # (n, c)


@dataclass(frozen=True)
class _Place:
    """c things in each of n scenes, every field (n, c): their own x and y are turned by ``yaw``, their z is up.

    What stands at a wall has its own x along the wall and its y into the room.
    """

    x: np.ndarray
    y: np.ndarray
    yaw: np.ndarray
    there: np.ndarray
    z: np.ndarray | float = 0.0

    def shifted(self, x: Any, y: Any, z: Any = 0.0, yaw: Any = 0.0, there: Any = True) -> "_Place":
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        return _Place(
            self.x + cos * x - sin * y, self.y + sin * x + cos * y, self.yaw + yaw, self.there & there, self.z + z
        )


_Range = tuple[Any, Any]


class _Things:
    """Collects the shapes of n scenes at a time; every image has its own row of random numbers."""

    def __init__(self, numbers: np.ndarray, names: Sequence[str]) -> None:
        self.numbers, self.names, self._next = numbers, names, 0
        self.sky = names.index("sky") if "sky" in names else UNLABELLED
        self.labels: list[int] = []
        self.objects: list[int] = []
        self.blank: list[np.ndarray] = []
        self._added: list[tuple[np.ndarray, ...]] = []

    def uniform(self, low: Any, high: Any, *shape: int) -> np.ndarray:
        """(n, *shape) numbers."""
        begin, self._next = self._next, self._next + math.prod(shape)
        assert self._next <= self.numbers.shape[1]
        drawn: np.ndarray = self.numbers[:, begin : self._next].reshape(-1, *shape)
        return low + (high - low) * drawn

    def chance(self, share: float, *shape: int) -> np.ndarray:
        return np.asarray(self.uniform(0, 1, *shape) < share)

    def look(
        self,
        c: int = 1,
        textures: Sequence[int] = _ANY,
        level: tuple[float, float] = (0.1, 0.95),
        size: tuple[float, float] = (0.1, 0.6),
        glow: float = 0.0,
        green: float = 0.0,
        tint: float = 0.13,
    ) -> _Look:
        """Two colours, ``tint`` from grey, of which the second is darker or lighter; ``green`` is a share of looks."""
        first = self.uniform(*level, c, 1) + self.uniform(-tint, tint, c, 3)
        leafy = self.uniform(0.15, 0.55, c, 1) * np.array([0.75, 1, 0.45])
        first = np.where(self.chance(green, c, 1), leafy, first)
        second = first * self.uniform(0.4, 1.5, c, 1) + self.uniform(-0.06, 0.06, c, 3)
        texture = np.asarray(textures)[(self.uniform(0, len(textures), c)).astype(int)]
        colours = np.stack([first, second], axis=2).clip(0.02, 1)
        return _Look(colours, texture, self.uniform(*size, c), np.broadcast_to(glow, texture.shape))

    def add(
        self,
        name: str,
        place: _Place,
        x: _Range,
        y: _Range,
        z: _Range,
        look: _Look,
        kind: int = BOX,
        there: Any = True,
        blank: Any = False,
        part_of: int | None = None,
    ) -> int:
        """Add a shape to each of the places, which reaches from ... to ... along the place's own axes.

        Args:
            name: Of the class.
            place: Where.
            x: From, to; numbers, (n, 1) or (n, c).
            y: As x.
            z: As x.
            look: Of one or c things.
            kind: Of shape.
            there: Whether, for each.
            blank: Whether its depth is missing, for each.
            part_of: What it is a part of: an object for each of the places, from this number on. None makes new ones.

        Returns:
            The number of the first object. No border is drawn within an object.
        """
        n = len(self.numbers)
        middle = [np.asarray(low + high) / 2 for low, high in (x, y, z)]
        half = [np.asarray(high - low) / 2 for low, high in (x, y, z)]
        at = place.shifted(middle[0], middle[1], middle[2], there=there)
        shape = np.broadcast_shapes(
            (n, 1), *(np.shape(e) for e in (at.x, at.y, at.z, at.there, look.size)), *(e.shape for e in half)
        )
        c = shape[1]
        number = max(self.objects, default=-1) + 1 if part_of is None else part_of
        self.labels += [self.names.index(name)] * c
        self.objects += range(number, number + c) if c == place.x.shape[1] else [number] * c
        self.blank.append(np.broadcast_to(blank, shape))
        columns = (*(at.x, at.y, at.z), *half, at.yaw, at.there, np.asarray(kind))
        textures = (np.broadcast_to(look.colours, (*shape, 2, 3)), look.texture, look.size, look.glow)
        self._added.append(
            tuple(np.broadcast_to(column, (*shape, *np.shape(column)[2:])) for column in (*columns, *textures))
        )
        return number

    def _column(self, *which: int) -> Tensor:
        columns = [np.concatenate([added[i] for added in self._added], axis=1) for i in which]
        return torch.from_numpy(columns[0] if len(which) == 1 else np.stack(columns, axis=-1))

    def shapes(self) -> ray_caster.Shapes:
        kind, turn, there = self._column(8).long(), self._column(6), self._column(7)
        return ray_caster.Shapes(kind, self._column(0, 1, 2), self._column(3, 4, 5), turn, there)

    def looks(self) -> ray_caster.Looks:
        return ray_caster.Looks(self._column(9), self._column(10).long(), self._column(11), self._column(12))

    def sides(self, half: Any, thickness: Any) -> tuple[_Range, _Range]:
        """Two parts, at the left and at the right end."""
        return (-half, -half + thickness), (half - thickness, half)

    def legs(self, name: str, place: _Place, w: Any, y: _Range, height: Any, look: _Look, part_of: int) -> None:
        """Four, under something that is 2 ``w`` wide."""
        for x in self.sides(w, 0.05):
            for ends in ((y[0], y[0] + 0.05), (y[1] - 0.05, y[1])):
                self.add(name, place, x, ends, (0, height), look, part_of=part_of)

    def stack(self, place: _Place, there: Any) -> None:
        """Three books that lie on each other."""
        z, number = np.asarray(0.0), None
        for _ in range(3):
            w, d, top = self.uniform(0.08, 0.13, 1), self.uniform(0.1, 0.17, 1), z + self.uniform(0.02, 0.05, 1)
            turned = place.shifted(0, 0, yaw=self.uniform(-0.4, 0.4, 1))
            look = self.look(textures=(PLAIN, NOISE))
            number = self.add("books", turned, (-w, w), (-d, d), (z, top), look, there=there, part_of=number)
            z = top


_Pose = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _room(t: _Things) -> tuple[_Pose, ray_caster.Lights]:
    """A room, furnished along three of its walls, seen from the fourth."""
    n = len(t.numbers)
    width, length, height = t.uniform(3.4, 5.6, 1), t.uniform(4.2, 6.6, 1), t.uniform(2.35, 3.1, 1)
    zero = np.zeros((n, 1))
    middle = _Place(zero, zero, zero, zero == 0)
    all_over, on = (-EVERYWHERE, EVERYWHERE), (0.0, 0.0)
    t.add("floor", middle, all_over, all_over, on, t.look(level=(0.15, 0.75), size=(0.15, 0.9)))
    t.add("ceiling", middle, all_over, all_over, (height, height), t.look(textures=(PLAIN, NOISE), level=(0.35, 0.95)))
    look = t.look(textures=(PLAIN, PLAIN, NOISE, STRIPES), level=(0.3, 0.95), size=(0.2, 0.8), tint=0.1)
    far, back = middle.shifted(0, length / 2, yaw=math.pi), middle.shifted(0, -length / 2)
    left, right = (middle.shifted(side * width / 2, 0, yaw=side * math.pi / 2) for side in (-1, 1))
    for wall in (far, left, right, back):
        t.add("wall", wall, all_over, on, all_over, look)

    # Two places along each of three walls, and six kinds of furniture that are put there in any order.
    near, deep = -0.2 * length, 0.14 * length  # along y; the far corners are left to the far wall
    slots = [far.shifted(width / 4, 0), far.shifted(-width / 4, 0)]
    slots += [left.shifted(-near, 0), left.shifted(-deep, 0), right.shifted(near, 0), right.shifted(deep, 0)]
    spaces = np.concatenate([width / 4] * 2 + [0.165 * length] * 4, axis=1) - 0.05  # half of the width of each
    order, present = np.argsort(t.uniform(0, 1, 6), axis=1), t.chance(0.85, 6)
    x, y, yaw = (np.concatenate([getattr(slot, name) for slot in slots], axis=1) for name in ("x", "y", "yaw"))
    for i, furnish in enumerate((_bed, _sofa, _wardrobe, _bookcase, _tv, _desk)):
        slot = order[:, i, None]
        at_x, at_y, turn, space = (np.take_along_axis(values, slot, axis=1) for values in (x, y, yaw, spaces))
        furnish(t, _Place(at_x, at_y, turn, present[:, i, None]), space)
    # Nothing hangs above a wardrobe, a bookcase or a television.
    tall = np.zeros((n, 6), dtype=bool)
    np.put_along_axis(tall, order[:, 2:5], present[:, 2:5], axis=1)
    for i, place in enumerate(slots):
        _on_wall(t, place.shifted(0, 0, there=~tall[:, i, None]), spaces[:, i, None])
    _table(t, middle.shifted(t.uniform(-0.12, 0.12, 1) * width, t.uniform(-0.08, 0.1, 1) * length))
    lamp = middle.shifted(t.uniform(-0.5, 0.5, 1), t.uniform(0, 1.2, 1), height, there=t.chance(0.6, 1))
    _lamp(t, lamp)
    _on_floor(t, middle, width, length)

    # The camera, with its back to the fourth wall, and two lights.
    x, y = t.uniform(-0.25, 0.25) * width[:, 0], t.uniform(0.15, 0.6) - length[:, 0] / 2
    position = np.stack([x, y, t.uniform(1.1, 1.8)], axis=1)
    yaw = t.uniform(-0.45, 0.45) + 0.5 * np.arctan2(x, length[:, 0] / 2)
    pose = position, yaw, t.uniform(-0.38, 0.08), t.uniform(math.radians(52), math.radians(72))
    first = np.concatenate([lamp.x, lamp.y, height - t.uniform(0.2, 0.9, 1)], axis=1)
    second = np.concatenate([t.uniform(-0.4, 0.4, 1) * width, t.uniform(-0.4, 0.3, 1) * length, 0.8 * height], axis=1)
    lights = ray_caster.Lights(
        position=torch.from_numpy(np.stack([first, second], axis=1)),
        strength=torch.from_numpy(t.uniform(0.25, 0.8, 2)),
        reach=torch.from_numpy(t.uniform(3, 9, 2)),
        ambient=torch.from_numpy(t.uniform(0.3, 0.55)),
        sky=torch.zeros(n, 3),
        clear=torch.full((n,), 1e9),
    )
    return pose, lights


# Furniture that stands at a wall, in a ``space`` of half that width.


def _bed(t: _Things, place: _Place, space: np.ndarray) -> None:
    w = np.minimum(t.uniform(0.45, 0.9, 1), space)
    length, frame, cloth = t.uniform(1.85, 2.1, 1), t.look(), t.look(textures=(PLAIN, STRIPES, NOISE, CHECKER))
    number = t.add("bed", place, (-w, w), (0, length), (0.08, 0.28), frame)
    t.add("bed", place, (-w, w), (0, 0.06), (0, t.uniform(0.75, 1.2, 1)), frame, part_of=number)
    t.add("bed", place, (0.03 - w, w - 0.03), (0.06, length - 0.02), (0.28, 0.5), t.look(), part_of=number)
    t.add("bed", place, (-0.02 - w, w + 0.02), (0.65, length + 0.01), (0.3, 0.55), cloth, part_of=number)
    pillow, wide = t.look(), 0.42 * w
    for x in (-0.48 * w, 0.48 * w):
        t.add("objects", place, (x - wide, x + wide), (0.12, 0.5), (0.47, 0.63), pillow, ELLIPSOID)


def _sofa(t: _Things, place: _Place, space: np.ndarray) -> None:
    w = np.minimum(t.uniform(0.65, 1.1, 1), space)
    deep, seat, arm, look = t.uniform(0.75, 0.95, 1), t.uniform(0.36, 0.44, 1), t.uniform(0.12, 0.22, 1), t.look()
    number = t.add("sofa", place, (-w, w), (0.05, deep), (0.06, seat - 0.12), look)
    t.add("sofa", place, (-w, w), (0.05, 0.27), (0.06, t.uniform(0.7, 0.95, 1)), look, part_of=number)
    for x in t.sides(w, arm):
        t.add("sofa", place, x, (0.05, deep + 0.02), (0.06, seat + t.uniform(0.1, 0.24, 1)), look, part_of=number)
    soft = t.look(textures=(PLAIN, STRIPES, NOISE))
    for x in ((arm - w, -0.01), (0.01, w - arm)):
        t.add("sofa", place, x, (0.27, deep + 0.03), (seat - 0.12, seat + 0.03), soft, part_of=number)
    x = t.uniform(-0.5, 0.5, 1) * w
    cushion = (x - 0.2, x + 0.2), (0.25, 0.42), (seat, seat + 0.4)
    t.add("objects", place, *cushion, t.look(), ELLIPSOID, there=t.chance(0.6, 1))


def _wardrobe(t: _Things, place: _Place, space: np.ndarray) -> None:
    w = np.minimum(t.uniform(0.4, 0.8, 1), space)
    deep, top, look = t.uniform(0.4, 0.6, 1), t.uniform(0.8, 2.1, 1), t.look()
    number = t.add("furniture", place, (-w, w), (0, deep), (0, top), look)
    door = t.look()
    for x, knob in (((0.02 - w, -0.006), -0.05), ((0.006, w - 0.02), 0.05)):
        t.add("furniture", place, x, (deep, deep + 0.02), (0.08, top - 0.03), door, part_of=number)
        handle = (knob - 0.012, knob + 0.012), (deep, deep + 0.05), (top / 2 - 0.07, top / 2 + 0.07)
        t.add("furniture", place, *handle, look, part_of=number)
    x, r, high = t.uniform(-0.3, 0.3, 1) * w, t.uniform(0.08, 0.2, 1), t.uniform(0.1, 0.3, 1)
    t.add("objects", place, (x - r, x + r), (0.05, 0.35), (top, top + high), t.look(), there=t.chance(0.6, 1))


def _bookcase(t: _Things, place: _Place, space: np.ndarray) -> None:
    w = np.minimum(t.uniform(0.4, 0.65, 1), space)
    n, (top, look) = len(w), (t.uniform(1.5, 2.1, 1), t.look())
    number = t.add("furniture", place, (-w, w), (0, 0.02), (0, top), look)
    for x in t.sides(w, 0.03):
        t.add("furniture", place, x, (0, 0.3), (0, top), look, part_of=number)
    shelves = top * np.array([0.03, 0.27, 0.51, 0.75, 0.99])
    t.add("furniture", place, (0.03 - w, w - 0.03), (0.02, 0.29), (shelves - 0.025, shelves), look, part_of=number)
    thick, high = t.uniform(0.035, 0.1, 4, 8), t.uniform(0.6, 0.95, 4, 8) * (0.24 * top - 0.03)[..., None]
    ends = 0.035 - w[..., None] + thick.cumsum(axis=2)
    there = (ends < w[..., None] - 0.04) & t.chance(0.9, 4, 8)
    feet = np.broadcast_to(shelves[:, :4, None], ends.shape)
    x0, x1, z0, z1, there = (e.reshape(n, 32) for e in (ends - thick, ends - 0.003, feet, feet + high, there))
    t.add(
        "books",
        place,
        (x0, x1),
        (0.03, t.uniform(0.18, 0.28, 32)),
        (z0, z1),
        t.look(32),
        there=there,
        part_of=number + 1,
    )


def _tv(t: _Things, place: _Place, space: np.ndarray) -> None:
    w = np.minimum(t.uniform(0.5, 0.85, 1), space)
    deep, top, look = t.uniform(0.35, 0.5, 1), t.uniform(0.4, 0.65, 1), t.look()
    number = t.add("furniture", place, (-w, w), (0, deep), (0.05, top), look)
    t.add("furniture", place, (0.02 - w, w - 0.02), (deep, deep + 0.02), (0.1, top - 0.05), t.look(), part_of=number)
    half = np.minimum(t.uniform(0.4, 0.62, 1), w)
    low, high = top + 0.06, top + 0.06 + 1.15 * half
    number = t.add("tv", place, (-half, half), (0.14, 0.19), (low, high), t.look(textures=(PLAIN,), level=(0.05, 0.5)))
    t.add("tv", place, (-0.15, 0.15), (0.1, 0.24), (top, top + 0.06), look, part_of=number)
    half, shown = half - 0.03, t.look(textures=(PLAIN, NOISE, NOISE), glow=0.6)
    screen = (-half, half), (0.19, 0.195), (low + 0.03, high - 0.03)
    t.add("tv", place, *screen, shown, part_of=number, blank=t.chance(0.4, 1))


def _desk(t: _Things, place: _Place, space: np.ndarray) -> None:
    w, d, top = np.minimum(t.uniform(0.5, 0.75, 1), space), t.uniform(0.55, 0.75, 1), t.uniform(0.7, 0.78, 1)
    look = t.look()
    number = t.add("table", place, (-w, w), (0.02, d), (top - 0.04, top), look)
    t.legs("table", place, w, (0.02, d), top - 0.04, look, number)
    _on_top(t, place.shifted(0, d / 2, top), w - 0.15, 0.1)
    screen = place.shifted(0, 0.15, top, yaw=t.uniform(-0.3, 0.3, 1), there=t.chance(0.5, 1))
    dark = t.look(textures=(PLAIN,), level=(0.05, 0.5))
    number = t.add("tv", screen, (-0.27, 0.27), (0, 0.03), (0.08, 0.42), dark)
    t.add("tv", screen, (-0.05, 0.05), (0, 0.02), (0, 0.08), dark, part_of=number)
    glow = t.look(textures=(PLAIN, NOISE), glow=0.6)
    t.add("tv", screen, (-0.25, 0.25), (0.03, 0.035), (0.1, 0.4), glow, part_of=number, blank=t.chance(0.4, 1))
    _chair(t, place.shifted(t.uniform(-0.2, 0.2, 1), 0.75, yaw=math.pi))


def _on_wall(t: _Things, place: _Place, space: np.ndarray) -> None:
    """A window, or one or two pictures, or nothing."""
    kind = t.uniform(0, 1, 1)
    w, low, high = np.minimum(t.uniform(0.4, 0.9, 1), space), t.uniform(0.85, 1.05, 1), t.uniform(1.9, 2.25, 1)
    window = place.shifted(0, 0, there=kind < 0.45)
    number = t.add("window", window, (-w, w), (0, 0.05), (low, high), t.look(textures=(PLAIN,)))
    glass, blank = t.look(textures=(NOISE, PLAIN), glow=0.7, size=(0.5, 2.0)), t.chance(0.5, 1)
    for x in ((0.06 - w, -0.03), (0.03, w - 0.06)):
        t.add("window", window, x, (0.05, 0.056), (low + 0.06, high - 0.06), glass, blank=blank, part_of=number)
    pictures = place.shifted(0, 0, there=kind > 0.5)
    for at, there in ((t.uniform(-0.5, -0.1, 1), True), (t.uniform(0.3, 0.6, 1), t.chance(0.4, 1))):
        picture = pictures.shifted(at, 0, t.uniform(1.45, 1.75, 1), there=there)
        w, h = t.uniform(0.12, 0.34, 1), t.uniform(0.12, 0.32, 1)
        number = t.add("picture", picture, (-w, w), (0, 0.03), (-h, h), t.look())
        w, h, look = w - 0.035, h - 0.035, t.look(textures=(NOISE, NOISE, CHECKER, STRIPES))
        t.add("picture", picture, (-w, w), (0.03, 0.034), (-h, h), look, part_of=number)


def _table(t: _Things, place: _Place) -> None:
    """A table, square or round, in the middle of the room, with chairs."""
    place = place.shifted(0, 0, yaw=t.uniform(-0.6, 0.6, 1), there=t.chance(0.75, 1))
    w, d, top, look = t.uniform(0.35, 0.65, 1), t.uniform(0.3, 0.5, 1), t.uniform(0.4, 0.76, 1), t.look()
    disc = t.chance(0.35, 1)
    number = t.add("table", place, (-w, w), (-d, d), (top - 0.04, top), look, there=~disc)
    t.legs("table", place.shifted(0, 0, there=~disc), w, (-d, d), top - 0.04, look, number)
    for r, z in ((w, (top - 0.04, top)), (0.05, (0.03, top - 0.04)), (0.25, (0.0, 0.03))):
        t.add("table", place, (-r, r), (-r, r), z, look, CYLINDER, there=disc, part_of=number)
    _on_top(t, place.shifted(0, 0, top), 0.75 * w, 0.4 * d)
    for side in (-1, 1):
        _chair(t, place.shifted(side * (w + 0.25), 0, yaw=side * math.pi / 2))
    _chair(t, place.shifted(0, d + 0.25, yaw=math.pi))


def _lamp(t: _Things, place: _Place) -> None:
    """A lamp that hangs down."""
    r, drop = t.uniform(0.12, 0.25, 1), t.uniform(0.3, 0.7, 1)
    number = t.add("objects", place, (-0.012, 0.012), (-0.012, 0.012), (-drop, 0), t.look(), CYLINDER)
    shade = -drop - 1.2 * r, 0.1 * r - drop
    t.add("objects", place, (-r, r), (-r, r), shade, t.look(glow=0.5), ELLIPSOID, part_of=number)


def _on_floor(t: _Things, middle: _Place, width: np.ndarray, length: np.ndarray) -> None:
    """A rug, a plant in a corner, and boxes, bins and balls."""
    w, d = t.uniform(0.6, 1.3, 1), t.uniform(0.5, 1.2, 1)
    rug = middle.shifted(t.uniform(-0.5, 0.5, 1), t.uniform(-0.5, 1, 1), there=t.chance(0.6, 1))
    t.add("floor", rug, (-w, w), (-d, d), (0, 0.015), t.look())
    side = np.where(t.chance(0.5, 1), 1, -1)
    plant = middle.shifted(side * (width / 2 - 0.35), length / 2 - 0.35, there=t.chance(0.5, 1))
    number = t.add("objects", plant, (-0.16, 0.16), (-0.16, 0.16), (0, 0.35), t.look(), CYLINDER)
    r, leaves = t.uniform(0.2, 0.32, 1), t.look(green=0.5, size=(0.1, 0.2))
    t.add("objects", plant, (-r, r), (-r, r), (0.3, 0.4 + 2.5 * r), leaves, ELLIPSOID, part_of=number)
    x, y = t.uniform(-0.45, 0.45, 5) * width, t.uniform(-0.3, 0.4, 5) * length
    things = _Place(x, y, t.uniform(0, 3, 5), t.chance(0.5, 5))
    r, h, which = t.uniform(0.1, 0.25, 5), t.uniform(0.15, 0.5, 5), t.uniform(0, 1, 5)
    t.add("objects", things, (-r, r), (-r, r), (0, h), t.look(5), BOX, there=which < 0.5)
    t.add("objects", things, (-r, r), (-r, r), (0, h), t.look(5), CYLINDER, there=(which >= 0.5) & (which < 0.8))
    t.add("objects", things, (-r, r), (-r, r), (0, 2 * r), t.look(5), ELLIPSOID, there=which >= 0.8)


def _on_top(t: _Things, place: _Place, w: Any, d: Any) -> None:
    """Books and other things on a table, that is 2 ``w`` wide."""
    t.stack(place.shifted(-w + t.uniform(0, 0.15, 1), t.uniform(-1, 1, 1) * d), t.chance(0.7, 1))
    at = place.shifted(t.uniform(0.2, 0.6, 1) * w, t.uniform(-1, 1, 1) * d)
    r, high, bowl = t.uniform(0.035, 0.09, 1), t.uniform(0.1, 0.3, 1), t.chance(0.4, 1)
    t.add("objects", at, (-r, r), (-r, r), (0, high), t.look(), CYLINDER, there=~bowl)
    t.add("objects", at, (-r, r), (-r, r), (0, 2 * r), t.look(), ELLIPSOID, there=bowl)
    lamp = place.shifted(w, 0.0, there=t.chance(0.5, 1))
    number = t.add("objects", lamp, (-0.02, 0.02), (-0.02, 0.02), (0, 0.3), t.look(), CYLINDER)
    t.add("objects", lamp, (-0.12, 0.12), (-0.12, 0.12), (0.28, 0.48), t.look(glow=0.4), CYLINDER, part_of=number)


def _chair(t: _Things, place: _Place) -> None:
    """A chair that looks along its y, if there is one."""
    place = place.shifted(0, 0, yaw=t.uniform(-0.4, 0.4, 1), there=t.chance(0.7, 1))
    w, top, back = t.uniform(0.19, 0.25, 1), t.uniform(0.42, 0.48, 1), t.uniform(0.8, 1.05, 1)
    look, soft = t.look(), t.look()
    number = t.add("chair", place, (-w, w), (-w, w), (top - 0.05, top), soft)
    t.legs("chair", place, w, (-w, w), top - 0.05, look, number)
    t.add("chair", place, (-w, w), (-w, 0.04 - w), (back - 0.28, back), soft, part_of=number)
    for x in t.sides(w, 0.04):
        t.add("chair", place, x, (-w, 0.04 - w), (top, back - 0.28), look, part_of=number)


def _street(t: _Things) -> tuple[_Pose, ray_caster.Lights]:
    """A street along y, with pavements and houses at both sides, seen from a car."""
    n = len(t.numbers)
    zero, always = np.zeros((n, 1)), np.ones((n, 1), dtype=bool)
    middle = _Place(zero, zero, zero, always)
    kerb, pavement = t.uniform(4.0, 7.0, 1), t.uniform(2.0, 5.0, 1)
    all_over = (-EVERYWHERE, EVERYWHERE)
    t.add(
        "flat",
        middle,
        all_over,
        all_over,
        (0.0, 0.0),
        t.look(textures=(PLAIN, NOISE), level=(0.15, 0.7), size=(1, 4), tint=0.05),
    )
    dashes = t.uniform(0, 6, 1) + 6 * np.arange(14)
    paint = t.look(textures=(PLAIN,), tint=0.05)
    t.add("flat", middle, (-0.07, 0.07), (dashes, dashes + 3), (0, 0.01), paint, there=t.chance(0.7, 1), part_of=0)
    for side in (-1, 1):
        # Its own x runs along the street, its y into it.
        edge = _Place(side * kerb, zero, zero + side * math.pi / 2, always)
        t.add("flat", edge, all_over, (-pavement - 30, 0), (0, 0.13), t.look(size=(0.4, 1.5), tint=0.06))
        grass = t.chance(0.4, 1)
        t.add(
            "nature", edge, all_over, (-1.2, -0.15), (0, 0.15), t.look(green=0.5, textures=(NOISE, PLAIN)), there=grass
        )
        _houses(t, edge.shifted(0, -pavement), side)
        along = side * (t.uniform(4, 14, 1) + t.uniform(10, 14, 1) * np.arange(7))
        _trees(t, edge.shifted(along, -0.7, there=t.chance(0.4, 7)))
        along = side * (t.uniform(5, 16, 1) + t.uniform(12, 17, 1) * np.arange(5))
        _poles(t, edge.shifted(along, -0.4, there=t.chance(0.75, 5)))
        parked = edge.shifted(side * (t.uniform(4, 9, 1) + 6.3 * np.arange(6)), 1.1, there=t.chance(0.5, 6))
        _cars(t, _Place(parked.x, parked.y, parked.yaw * 0 + t.uniform(-0.04, 0.04, 6), parked.there, 0.0))
        walk = edge.shifted(side * (4 + 28 * t.uniform(0, 1, 6) ** 2), -t.uniform(0.1, 1, 6) * pavement, z=0.13)
        _people(t, walk.shifted(0, 0, yaw=t.uniform(0, 6, 6), there=t.chance(0.6, 6)))
    crossing = middle.shifted(t.uniform(-0.6, 0.6, 2) * kerb, t.uniform(6, 25, 2), yaw=t.uniform(0, 6, 2))
    _people(t, crossing.shifted(0, 0, there=t.chance(0.25, 2)))
    lanes = np.array([-1, 1, -1]) * t.uniform(1.4, 2.0, 3)
    driving = middle.shifted(lanes, t.uniform(9, 45, 3), yaw=t.uniform(-0.05, 0.05, 3), there=t.chance(0.55, 3))
    _cars(t, driving)
    _lorry(
        t,
        middle.shifted(
            t.uniform(1.6, 2.4, 1) * np.where(t.chance(0.5, 1), 1, -1), t.uniform(14, 50, 1), there=t.chance(0.4, 1)
        ),
    )
    closing = middle.shifted(0, t.uniform(85, 130, 1), there=t.chance(0.5, 1))
    look = t.look(textures=(GRID, NOISE), size=(2.5, 4))
    t.add("construction", closing, (-60, 60), (0, 10), (0, t.uniform(6, 20, 1)), look)

    position = np.stack([t.uniform(-1.5, 1.5), np.zeros(n), t.uniform(1.2, 1.7)], axis=1)
    pose = position, t.uniform(-0.22, 0.22), t.uniform(-0.1, 0.03), t.uniform(math.radians(50), math.radians(75))
    around, up = t.uniform(0, math.tau), t.uniform(0.4, 1.2)
    sun = 1e4 * np.stack([np.cos(around) * np.cos(up), np.sin(around) * np.cos(up), np.sin(up)], axis=1)
    sky = (t.uniform(0.35, 0.95, 1) + np.array([-1, 0, 1]) * t.uniform(-0.05, 0.14, 1)).clip(0, 1)
    lights = ray_caster.Lights(
        position=torch.from_numpy(sun[:, None]),
        strength=torch.from_numpy(t.uniform(0.2, 0.8, 1)),
        reach=torch.full((n, 1), 1e9),
        ambient=torch.from_numpy(t.uniform(0.4, 0.7)),
        sky=torch.from_numpy(sky),
        clear=torch.from_numpy(t.uniform(60, 400)),
    )
    return pose, lights


def _houses(t: _Things, edge: _Place, side: int) -> None:
    wide, gap = t.uniform(8, 22, 8), np.where(t.chance(0.25, 8), t.uniform(3, 9, 8), 0.0)
    begin = (wide + gap).cumsum(axis=1) - (wide + gap) - t.uniform(0, 15, 1)
    at, back = edge.shifted(side * (begin + wide / 2), 0), t.uniform(0, 1.5, 8)
    tall = t.uniform(5, 19, 8)
    look = t.look(8, textures=(GRID, GRID, GRID, NOISE), size=(1.8, 3.5), tint=0.1)
    t.add("construction", at, (-wide / 2, wide / 2), (-15, -back), (0, tall), look)
    # A ground floor of another look, a cornice, and a wall in front of the gaps.
    t.add(
        "construction",
        at,
        (-wide / 2, wide / 2),
        (-15, 0.1 - back),
        (0, 3.2),
        t.look(8, textures=(GRID, STRIPES, PLAIN), size=(1, 3)),
    )
    fence = edge.shifted(side * (begin + wide + gap / 2), 0)
    t.add(
        "construction", fence, (-gap / 2, gap / 2), (-0.5, -0.3), (0, t.uniform(0.9, 2.2, 8)), t.look(8), there=gap > 0
    )
    _trees(t, fence.shifted(0, -3, there=(gap > 0) & t.chance(0.7, 8)))


def _trees(t: _Things, place: _Place) -> None:
    c = place.x.shape[1]
    r, bole, trunk = t.uniform(0.9, 2.0, c), t.uniform(1.6, 3, c), t.uniform(0.08, 0.2, c)
    number = t.add(
        "nature", place, (-trunk, trunk), (-trunk, trunk), (0, bole + 0.5), t.look(c, level=(0.1, 0.5)), CYLINDER
    )
    look = t.look(c, textures=(NOISE,), green=0.65, size=(0.5, 1.2))
    t.add("nature", place, (-r, r), (-r, r), (bole, bole + 2.4 * r), look, ELLIPSOID, part_of=number)
    s = 0.75 * r
    t.add(
        "nature", place, (-s - r / 2, s - r / 2), (-s, s), (bole - 0.2, bole + 1.5 * r), look, ELLIPSOID, part_of=number
    )


def _poles(t: _Things, place: _Place) -> None:
    """Lamps, signs and traffic lights."""
    c = place.x.shape[1]
    kind, high, look = t.uniform(0, 1, c), t.uniform(4.5, 7, c), t.look(c, textures=(PLAIN, STRIPES))
    lamp, sign = kind < 0.4, kind > 0.7
    top = np.where(lamp, high, 2.9)
    number = t.add("object", place, (-0.08, 0.08), (-0.08, 0.08), (0, top), look, CYLINDER)
    t.add("object", place, (-0.08, 0.08), (-0.08, 1.5), (high - 0.1, high), look, there=lamp, part_of=number)
    plate, r = t.look(c, glow=0.2), t.uniform(0.25, 0.42, c)
    disc, wide = t.chance(0.5, c), place.shifted(0, 0, yaw=t.uniform(1.3, 1.8, c))
    t.add("object", wide, (0.06, 0.09), (-r, r), (2.3, 2.3 + 2 * r), plate, there=sign & ~disc, part_of=number)
    t.add(
        "object", wide, (0.05, 0.09), (-r, r), (2.3, 2.3 + 2 * r), plate, ELLIPSOID, there=sign & disc, part_of=number
    )
    t.add("object", place, (-0.2, 0.2), (-0.15, 0.15), (2.1, 3), t.look(c), there=~lamp & ~sign, part_of=number)


def _cars(t: _Things, place: _Place) -> None:
    """Their own y is along the street."""
    c = place.x.shape[1]
    w, half, belt, top = t.uniform(0.8, 0.95, c), t.uniform(1.8, 2.4, c), t.uniform(0.8, 1, c), t.uniform(1.35, 1.8, c)
    paint, glass = t.look(c, textures=(PLAIN, PLAIN, NOISE)), t.look(c, textures=(PLAIN, GRID), size=(0.8, 1.2))
    number = t.add("vehicle", place, (-w, w), (-half, half), (0.28, belt), paint)
    t.add("vehicle", place, (0.08 - w, w - 0.08), (-0.75 * half, 0.4 * half), (belt, top - 0.06), glass, part_of=number)
    t.add("vehicle", place, (0.1 - w, w - 0.1), (-0.7 * half, 0.35 * half), (top - 0.06, top), paint, part_of=number)
    _wheels(t, place, w, half, 0.32, number)


def _wheels(t: _Things, place: _Place, w: Any, half: Any, r: float, number: int) -> None:
    tyre = t.look(textures=(PLAIN,), level=(0.08, 0.3), tint=0.03)
    for x in (-w, w):
        for y in (-0.62 * half, 0.62 * half):
            t.add("vehicle", place, (x - 0.09, x + 0.09), (y - r, y + r), (0, 2 * r), tyre, ELLIPSOID, part_of=number)


def _lorry(t: _Things, place: _Place) -> None:
    """A lorry or a bus."""
    half, top, cab = t.uniform(3.0, 5.5, 1), t.uniform(2.6, 3.6, 1), t.uniform(0.8, 1, 1)
    number = t.add(
        "vehicle", place, (-1.2, 1.2), (-half, half), (0.5, top), t.look(textures=(PLAIN, GRID, STRIPES), size=(1, 2))
    )
    t.add("vehicle", place, (-1.15, 1.15), (-half - 1.6, 0.1 - half), (0.4, top * cab), t.look(), part_of=number)
    t.add(
        "vehicle",
        place,
        (-1.1, 1.1),
        (-half - 1.62, -half - 1.5),
        (0.65 * top * cab, 0.95 * top * cab),
        t.look(),
        part_of=number,
    )
    _wheels(t, place, 1.1, half, 0.5, number)


def _people(t: _Things, place: _Place) -> None:
    c = place.x.shape[1]
    s, step = t.uniform(0.82, 1.08, c), t.uniform(0, 0.2, c)
    trousers, shirt, skin = t.look(c, size=(0.1, 0.3)), t.look(c, size=(0.1, 0.3)), t.look(c, textures=(PLAIN,))
    legs = ((-0.1, -step), (0.1, step))
    number = None
    for x, y in legs:
        leg = ((x - 0.085) * s, (x + 0.085) * s), (y - 0.085, y + 0.085), (0, 0.85 * s)
        number = t.add("human", place, *leg, trousers, CYLINDER, part_of=number)
    t.add("human", place, (-0.2 * s, 0.2 * s), (-0.13, 0.13), (0.78 * s, 1.42 * s), shirt, CYLINDER, part_of=number)
    for x, y in ((-0.26, step / 2), (0.26, -step / 2)):
        arm = ((x - 0.055) * s, (x + 0.055) * s), (y - 0.055, y + 0.055), (0.75 * s, 1.4 * s)
        t.add("human", place, *arm, shirt, CYLINDER, part_of=number)
    t.add("human", place, (-0.1 * s, 0.1 * s), (-0.12, 0.12), (1.44 * s, 1.74 * s), skin, ELLIPSOID, part_of=number)
