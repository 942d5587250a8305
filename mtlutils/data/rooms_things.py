"""The things that scenes are put together of, for many scenes at a time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtlutils.data import ray_caster
from mtlutils.data.dense import UNLABELLED
from mtlutils.data.ray_caster import BOX
from mtlutils.data.ray_caster_shading import CHECKER, NOISE, PLAIN, STRIPES, Looks

Pose = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Of the cameras: position (n, 3), yaw, pitch and view (n,), as :func:`mtlutils.data.ray_caster.cameras` takes them."""

_ANY = (PLAIN, CHECKER, STRIPES, NOISE)


@dataclass(frozen=True)
class Look:
    """Of c things in each of n scenes."""

    colours: np.ndarray  # (n, c, 2, 3)
    texture: np.ndarray  # (n, c)
    size: np.ndarray  # (n, c)
    glow: np.ndarray  # (n, c)


@dataclass(frozen=True)
class Place:
    """c things in each of n scenes, every field (n, c): their own x and y are turned by ``yaw``, their z is up.

    What stands at a wall has its own x along the wall and its y into the room.
    """

    x: np.ndarray
    y: np.ndarray
    yaw: np.ndarray
    there: np.ndarray
    z: np.ndarray | float = 0.0

    def shifted(self, x: Any, y: Any, z: Any = 0.0, yaw: Any = 0.0, there: Any = True) -> "Place":
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        return Place(
            self.x + cos * x - sin * y, self.y + sin * x + cos * y, self.yaw + yaw, self.there & there, self.z + z
        )


Range = tuple[Any, Any]


class Things:
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
    ) -> Look:
        """Two colours, ``tint`` from grey, of which the second is darker or lighter; ``green`` is a share of looks."""
        first = self.uniform(*level, c, 1) + self.uniform(-tint, tint, c, 3)
        leafy = self.uniform(0.15, 0.55, c, 1) * np.array([0.75, 1, 0.45])
        first = np.where(self.chance(green, c, 1), leafy, first)
        second = first * self.uniform(0.4, 1.5, c, 1) + self.uniform(-0.06, 0.06, c, 3)
        texture = np.asarray(textures)[(self.uniform(0, len(textures), c)).astype(int)]
        colours = np.stack([first, second], axis=2).clip(0.02, 1)
        return Look(colours, texture, self.uniform(*size, c), np.broadcast_to(glow, texture.shape))

    def add(
        self,
        name: str,
        place: Place,
        x: Range,
        y: Range,
        z: Range,
        look: Look,
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

    def looks(self) -> Looks:
        return Looks(self._column(9), self._column(10).long(), self._column(11), self._column(12))

    def sides(self, half: Any, thickness: Any) -> tuple[Range, Range]:
        """Two parts, at the left and at the right end."""
        return (-half, -half + thickness), (half - thickness, half)

    def legs(self, name: str, place: Place, w: Any, y: Range, height: Any, look: Look, part_of: int) -> None:
        """Four, under something that is 2 ``w`` wide."""
        for x in self.sides(w, 0.05):
            for ends in ((y[0], y[0] + 0.05), (y[1] - 0.05, y[1])):
                self.add(name, place, x, ends, (0, height), look, part_of=part_of)

    def stack(self, place: Place, there: Any) -> None:
        """Three books that lie on each other."""
        z, number = np.asarray(0.0), None
        for _ in range(3):
            w, d, top = self.uniform(0.08, 0.13, 1), self.uniform(0.1, 0.17, 1), z + self.uniform(0.02, 0.05, 1)
            turned = place.shifted(0, 0, yaw=self.uniform(-0.4, 0.4, 1))
            look = self.look(textures=(PLAIN, NOISE))
            number = self.add("books", turned, (-w, w), (-d, d), (z, top), look, there=there, part_of=number)
            z = top
