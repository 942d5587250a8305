"""Drawn hands in the place of Fingers: no file, no network, the same shape."""

import math
from collections.abc import Mapping

import numpy as np

from mtlutils.errors import InputError

N_JOINT = 12
"""Classes of number of fingers and hand together."""

# Which fingers are up for each number of them, from the thumb to the little finger: the usual way, then two others.
_WAYS = np.array(
    [
        [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
        [[0, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1]],
        [[0, 1, 1, 0, 0], [1, 1, 0, 0, 0], [0, 1, 0, 0, 1]],
        [[0, 1, 1, 1, 0], [1, 1, 1, 0, 0], [0, 0, 1, 1, 1]],
        [[0, 1, 1, 1, 1], [1, 1, 1, 1, 0], [1, 1, 0, 1, 1]],
        [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]],
    ],
    dtype=bool,
)
_USUAL = 0.7

# A left hand that shows its palm, in pixels of a 64×64 image, from the middle of the palm to the right and up.
_PALM = (((0, -8), (0, -5), 4.6, 5.4), ((0, -4), (0, 1.8), 5.6, 6.6), ((-4.6, -4.4), (-4.6, -2.6), 3, 3.4))
_KNUCKLES = ((-5.2, 6.2), (-1.8, 7.6), (1.6, 7.1), (4.7, 5.4))  # of index to little finger
_ANGLES = (-11, -3, 5, 14)  # degrees from upright, to the right
_LENGTHS = (12.5, 14, 13, 10.5)
_FINGER = (2.1, 1.6)  # radii at both ends
_CURLED = (2.1, 1.9)
_THUMB = (2.6, 2.2, 1.7)  # at its joint, too

_BLOCK = 5 * N_JOINT  # images drawn at once: what the processor's cache holds


def generate(n_images: Mapping[str, int], size: int = 64, seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Draw hands that hold up 0 to 5 fingers, equally many of each number and hand, or as equally as can be.

    As in the real images, a grey hand shows its palm on a darker, cloudy ground, and a right hand is the mirror image
    of a left one. Seven hands in ten show their number as most people do, the others with other fingers, so that no
    finger alone tells the number; the thumb's side tells the hand, of a fist as well. Turn, place, size, tone, light
    and the fingers' angles and lengths are drawn for each image from the same distributions, whatever its class.

    A smaller number of images is the beginning of a larger one.

    Args:
        n_images: Split -> number of images; the splits' order counts for what is drawn.
        size: Height and width in pixels.
        seed: Seed of everything that is drawn.

    Returns:
        Split -> images (n, size, size) uint8 and classes (n,) int64: 2 × number of fingers, + 1 for a right hand.

    Raises:
        InputError: a number of images or the size is not positive.
    """
    if size < 1:
        raise InputError(f"size must be at least 1, got {size:,}")
    splits = {}
    for number, (split, n) in enumerate(n_images.items()):
        if n < 1:
            raise InputError(f"the number of {split} images must be at least 1, got {n:,}")
        images, classes = [], []
        for block in range(math.ceil(n / _BLOCK)):
            rng = np.random.default_rng([seed, number, block])
            classes.append(rng.permuted(np.arange(_BLOCK).reshape(-1, N_JOINT) % N_JOINT, axis=1).ravel())
            images.append(_draw(rng, classes[-1] // 2, classes[-1] % 2, size))
        splits[split] = np.concatenate(images)[:n], np.concatenate(classes)[:n].astype(np.int64)
    return splits


def _draw(rng: np.random.Generator, count: np.ndarray, hand: np.ndarray, size: int) -> np.ndarray:
    """Draw hands (n, size, size) uint8 that show ``count`` (n,) fingers; ``hand`` (n,) is 0 for left, 1 for right.

    Pixels see no sine or exponential: their last digit depends on the processor, and the bytes' checksum is recorded.
    """
    n = len(count)

    def uniform(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (n, 1, 1)).astype(np.float32)

    def towards(degrees: np.ndarray) -> np.ndarray:
        """Return directions (2, n, 1, 1), right and up, at angles (n, 1, 1) from upright, to the right."""
        radians = np.deg2rad(degrees.astype(np.float64))
        return np.stack([np.sin(radians), np.cos(radians)]).astype(np.float32)

    # Coordinates from the middle of the palm, turned with the hand.
    across = ((np.arange(size) + 0.5) * 64 / size - 32).astype(np.float32)
    right, up = across - uniform(-4, 4), uniform(1, 9) - across[:, None]
    sin, cos = towards(uniform(-20, 20))
    scale = uniform(0.75, 1.1)
    mirror = np.where(hand == 1, -1, 1).astype(np.float32)[:, None, None]
    x, y = mirror * (cos * right - sin * up) / scale, (sin * right + cos * up) / scale

    way = np.where(rng.random(n) < _USUAL, 0, rng.integers(1, 3, n))
    is_up = _WAYS[count, way][..., None, None]  # (n, 5, 1, 1)

    stout, long, spread = uniform(0.88, 1.12), uniform(0.85, 1.15), uniform(0.8, 1.8)
    palm = [_inside(x, y, stout * _point(*a), stout * _point(*b), stout * r, stout * s) for a, b, r, s in _PALM]
    body = np.max(palm, axis=0)
    lying = []  # what lies on the palm, from the back to the front
    for finger, (knuckle, angle, length) in enumerate(zip(_KNUCKLES, _ANGLES, _LENGTHS, strict=True), start=1):
        shown = is_up[:, finger]
        base = stout * _point(*knuckle)
        out = long * length * uniform(0.93, 1.07) * towards(spread * angle + uniform(-5, 5))
        curled = _point(-0.12 * knuckle[0], uniform(-5.5, -3.5))
        radii = (np.where(shown, *each).astype(np.float32) for each in zip(_FINGER, _CURLED, strict=True))
        depth = _inside(x, y, base, base + np.where(shown, out, curled), *radii)
        body = np.where(shown, np.maximum(body, depth), body)
        lying.append((depth, ~shown))

    shown, opening = is_up[:, 0], uniform(-80, -48)
    root = stout * np.where(shown, _point(-4.2, -3), _point(-6.3, -3))
    joint = np.where(shown, root + 7.5 * towards(opening), stout * _point(uniform(-6, -4.5), uniform(0.5, 2)))
    out = joint + long * 6.5 * towards(opening + uniform(-8, 22))
    tip = np.where(shown, out, _point(uniform(0, 3), uniform(1.5, 4.5)))
    first, middle, last = _THUMB
    thumb = np.maximum(_inside(x, y, root, joint, first, middle), _inside(x, y, joint, tip, middle, last))
    body = np.where(shown, np.maximum(body, thumb), body)
    lying.append((thumb, ~shown))

    image = uniform(36, 60) + uniform(-0.15, 0.15) * right + uniform(-0.15, 0.15) * up + 14 * _clouds(rng, n, size)
    tone = uniform(155, 215) + uniform(-1.2, 1.2) * right + uniform(-1.2, 1.2) * up
    for depth, there in ((body, True), *lying):
        # Round: darker towards the edge. Blurred: the edge is wider than a pixel.
        shade = tone * (0.68 + 0.32 * (depth / 2.4).clip(0, 1))
        image += there * (0.5 + 0.7 * scale * size / 64 * depth).clip(0, 1) * (shade - image)
    image += 3 * rng.standard_normal(image.shape, dtype=np.float32)
    return image.round().clip(0, 255).astype(np.uint8)


def _point(right: np.ndarray | float, up: np.ndarray | float) -> np.ndarray:
    """Return (2, n, 1, 1), or (2, 1, 1, 1) where both are numbers."""
    return np.stack(np.broadcast_arrays(*(np.asarray(each, np.float32).reshape(-1, 1, 1) for each in (right, up))))


def _inside(
    x: np.ndarray,
    y: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    first: np.ndarray | float,
    last: np.ndarray | float,
) -> np.ndarray:
    """Return how far places (n, S, S) lie inside rounded lines, whose radius goes from ``first`` to ``last``."""
    x, y = x - start[0], y - start[1]
    dx, dy = end - start
    along = ((x * dx + y * dy) / (dx * dx + dy * dy)).clip(0, 1)
    x, y = x - along * dx, y - along * dy
    depth: np.ndarray = first + along * (last - first) - np.sqrt(x * x + y * y)
    return depth


def _clouds(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    """Return noise (n, size, size) of -1 to 1 that is smooth: 9×9 values, interpolated.

    By sixteenths: integers give the same bytes on any processor.
    """
    places = (np.arange(size) + 0.5) * 8 / size
    sixteenths = np.stack([np.interp(places, np.arange(9), 16 * row) for row in np.eye(9)], axis=1)
    weights = sixteenths.round().astype(np.int64)
    return (weights @ rng.integers(-128, 129, (n, 9, 9)) @ weights.T / 2**15).astype(np.float32)
