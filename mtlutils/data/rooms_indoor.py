"""Rooms: how they are furnished."""

import math
from typing import Any

import numpy as np
import torch

from mtlutils.data.ray_caster import BOX, CYLINDER, ELLIPSOID, EVERYWHERE
from mtlutils.data.ray_caster_shading import CHECKER, NOISE, PLAIN, STRIPES, Lights
from mtlutils.data.rooms_things import Place, Pose, Things


def room(t: Things) -> tuple[Pose, Lights]:
    """Add a room, furnished along three of its walls, and return the camera's poses, at the fourth, and the lights."""
    n = len(t.numbers)
    width, length, height = t.uniform(3.4, 5.6, 1), t.uniform(4.2, 6.6, 1), t.uniform(2.35, 3.1, 1)
    zero = np.zeros((n, 1))
    middle = Place(zero, zero, zero, zero == 0)
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
        furnish(t, Place(at_x, at_y, turn, present[:, i, None]), space)
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
    lights = Lights(
        position=torch.from_numpy(np.stack([first, second], axis=1)),
        strength=torch.from_numpy(t.uniform(0.25, 0.8, 2)),
        reach=torch.from_numpy(t.uniform(3, 9, 2)),
        ambient=torch.from_numpy(t.uniform(0.3, 0.55)),
        sky=torch.zeros(n, 3),
        clear=torch.full((n,), 1e9),
    )
    return pose, lights


# Furniture that stands at a wall, in a ``space`` of half that width.


def _bed(t: Things, place: Place, space: np.ndarray) -> None:
    w = np.minimum(t.uniform(0.45, 0.9, 1), space)
    length, frame, cloth = t.uniform(1.85, 2.1, 1), t.look(), t.look(textures=(PLAIN, STRIPES, NOISE, CHECKER))
    number = t.add("bed", place, (-w, w), (0, length), (0.08, 0.28), frame)
    t.add("bed", place, (-w, w), (0, 0.06), (0, t.uniform(0.75, 1.2, 1)), frame, part_of=number)
    t.add("bed", place, (0.03 - w, w - 0.03), (0.06, length - 0.02), (0.28, 0.5), t.look(), part_of=number)
    t.add("bed", place, (-0.02 - w, w + 0.02), (0.65, length + 0.01), (0.3, 0.55), cloth, part_of=number)
    pillow, wide = t.look(), 0.42 * w
    for x in (-0.48 * w, 0.48 * w):
        t.add("objects", place, (x - wide, x + wide), (0.12, 0.5), (0.47, 0.63), pillow, ELLIPSOID)


def _sofa(t: Things, place: Place, space: np.ndarray) -> None:
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


def _wardrobe(t: Things, place: Place, space: np.ndarray) -> None:
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


def _bookcase(t: Things, place: Place, space: np.ndarray) -> None:
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


def _tv(t: Things, place: Place, space: np.ndarray) -> None:
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


def _desk(t: Things, place: Place, space: np.ndarray) -> None:
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


def _on_wall(t: Things, place: Place, space: np.ndarray) -> None:
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


def _table(t: Things, place: Place) -> None:
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


def _lamp(t: Things, place: Place) -> None:
    """A lamp that hangs down."""
    r, drop = t.uniform(0.12, 0.25, 1), t.uniform(0.3, 0.7, 1)
    number = t.add("objects", place, (-0.012, 0.012), (-0.012, 0.012), (-drop, 0), t.look(), CYLINDER)
    shade = -drop - 1.2 * r, 0.1 * r - drop
    t.add("objects", place, (-r, r), (-r, r), shade, t.look(glow=0.5), ELLIPSOID, part_of=number)


def _on_floor(t: Things, middle: Place, width: np.ndarray, length: np.ndarray) -> None:
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
    things = Place(x, y, t.uniform(0, 3, 5), t.chance(0.5, 5))
    r, h, which = t.uniform(0.1, 0.25, 5), t.uniform(0.15, 0.5, 5), t.uniform(0, 1, 5)
    t.add("objects", things, (-r, r), (-r, r), (0, h), t.look(5), BOX, there=which < 0.5)
    t.add("objects", things, (-r, r), (-r, r), (0, h), t.look(5), CYLINDER, there=(which >= 0.5) & (which < 0.8))
    t.add("objects", things, (-r, r), (-r, r), (0, 2 * r), t.look(5), ELLIPSOID, there=which >= 0.8)


def _on_top(t: Things, place: Place, w: Any, d: Any) -> None:
    """Books and other things on a table, that is 2 ``w`` wide."""
    t.stack(place.shifted(-w + t.uniform(0, 0.15, 1), t.uniform(-1, 1, 1) * d), t.chance(0.7, 1))
    at = place.shifted(t.uniform(0.2, 0.6, 1) * w, t.uniform(-1, 1, 1) * d)
    r, high, bowl = t.uniform(0.035, 0.09, 1), t.uniform(0.1, 0.3, 1), t.chance(0.4, 1)
    t.add("objects", at, (-r, r), (-r, r), (0, high), t.look(), CYLINDER, there=~bowl)
    t.add("objects", at, (-r, r), (-r, r), (0, 2 * r), t.look(), ELLIPSOID, there=bowl)
    lamp = place.shifted(w, 0.0, there=t.chance(0.5, 1))
    number = t.add("objects", lamp, (-0.02, 0.02), (-0.02, 0.02), (0, 0.3), t.look(), CYLINDER)
    t.add("objects", lamp, (-0.12, 0.12), (-0.12, 0.12), (0.28, 0.48), t.look(glow=0.4), CYLINDER, part_of=number)


def _chair(t: Things, place: Place) -> None:
    """A chair that looks along its y, if there is one."""
    place = place.shifted(0, 0, yaw=t.uniform(-0.4, 0.4, 1), there=t.chance(0.7, 1))
    w, top, back = t.uniform(0.19, 0.25, 1), t.uniform(0.42, 0.48, 1), t.uniform(0.8, 1.05, 1)
    look, soft = t.look(), t.look()
    number = t.add("chair", place, (-w, w), (-w, w), (top - 0.05, top), soft)
    t.legs("chair", place, w, (-w, w), top - 0.05, look, number)
    t.add("chair", place, (-w, w), (-w, 0.04 - w), (back - 0.28, back), soft, part_of=number)
    for x in t.sides(w, 0.04):
        t.add("chair", place, x, (-w, 0.04 - w), (top, back - 0.28), look, part_of=number)
