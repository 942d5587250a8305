"""Streets: what stands and goes in them."""

import math
from typing import Any

import numpy as np
import torch

from mtlutils.data.ray_caster import CYLINDER, ELLIPSOID, EVERYWHERE
from mtlutils.data.ray_caster_shading import GRID, NOISE, PLAIN, STRIPES, Lights
from mtlutils.data.rooms_things import Place, Pose, Things


def street(t: Things) -> tuple[Pose, Lights]:
    """Add a street along y, with pavements and houses at its sides, and return poses, in a car, and lights."""
    n = len(t.numbers)
    zero, always = np.zeros((n, 1)), np.ones((n, 1), dtype=bool)
    middle = Place(zero, zero, zero, always)
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
        edge = Place(side * kerb, zero, zero + side * math.pi / 2, always)
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
        _cars(t, Place(parked.x, parked.y, parked.yaw * 0 + t.uniform(-0.04, 0.04, 6), parked.there, 0.0))
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
    lights = Lights(
        position=torch.from_numpy(sun[:, None]),
        strength=torch.from_numpy(t.uniform(0.2, 0.8, 1)),
        reach=torch.full((n, 1), 1e9),
        ambient=torch.from_numpy(t.uniform(0.4, 0.7)),
        sky=torch.from_numpy(sky),
        clear=torch.from_numpy(t.uniform(60, 400)),
    )
    return pose, lights


def _houses(t: Things, edge: Place, side: int) -> None:
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


def _trees(t: Things, place: Place) -> None:
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


def _poles(t: Things, place: Place) -> None:
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


def _cars(t: Things, place: Place) -> None:
    """Their own y is along the street."""
    c = place.x.shape[1]
    w, half, belt, top = t.uniform(0.8, 0.95, c), t.uniform(1.8, 2.4, c), t.uniform(0.8, 1, c), t.uniform(1.35, 1.8, c)
    paint, glass = t.look(c, textures=(PLAIN, PLAIN, NOISE)), t.look(c, textures=(PLAIN, GRID), size=(0.8, 1.2))
    number = t.add("vehicle", place, (-w, w), (-half, half), (0.28, belt), paint)
    t.add("vehicle", place, (0.08 - w, w - 0.08), (-0.75 * half, 0.4 * half), (belt, top - 0.06), glass, part_of=number)
    t.add("vehicle", place, (0.1 - w, w - 0.1), (-0.7 * half, 0.35 * half), (top - 0.06, top), paint, part_of=number)
    _wheels(t, place, w, half, 0.32, number)


def _wheels(t: Things, place: Place, w: Any, half: Any, r: float, number: int) -> None:
    tyre = t.look(textures=(PLAIN,), level=(0.08, 0.3), tint=0.03)
    for x in (-w, w):
        for y in (-0.62 * half, 0.62 * half):
            t.add("vehicle", place, (x - 0.09, x + 0.09), (y - r, y + r), (0, 2 * r), tyre, ELLIPSOID, part_of=number)


def _lorry(t: Things, place: Place) -> None:
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


def _people(t: Things, place: Place) -> None:
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
