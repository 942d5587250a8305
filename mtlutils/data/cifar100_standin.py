"""Generated textured shapes in the place of CIFAR-100: no file, no network, the same shape."""

import math
from collections.abc import Callable

import numpy as np

from mtlutils.errors import InputError


def _norm(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(x * x + y * y))


def _bands(z: np.ndarray, period: float) -> np.ndarray:
    """0 and 1 by turns along ``z``, in pixels, with edges one pixel wide."""
    z = z / period
    z = abs(z - np.floor(z) - 0.5)
    return (0.5 + period * (z - 0.25)).clip(0, 1)


def _dots(x: np.ndarray, y: np.ndarray, period: float) -> np.ndarray:
    x, y = (z - period * (np.floor(z / period) + 0.5) for z in (x, y))
    return (0.5 + 0.4 * period - _norm(x, y)).clip(0, 1)


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A point of a pentagram lies on the inner side of at least four of its five lines."""
    angles = [math.tau * (k / 5 + 1 / 4) for k in range(5)]
    star: np.ndarray = np.sort([0.52 - math.cos(angle) * x - math.sin(angle) * y for angle in angles], axis=0)[1]
    return star


_SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "disc": lambda x, y: 1 - _norm(x, y),
    "square": lambda x, y: 0.89 - np.maximum(abs(x), abs(y)),
    "triangle": lambda x, y: np.minimum(0.78 + y, 0.78 - 0.5 * y - 0.866 * abs(x)),
    "rhombus": lambda x, y: 0.82 - 0.866 * abs(x) - 0.5 * abs(y),
    "cross": lambda x, y: np.minimum(1.2 - np.maximum(abs(x), abs(y)), 0.38 - np.minimum(abs(x), abs(y))),
    "ring": lambda x, y: 0.29 - abs(_norm(x, y) - 0.86),
    "half-disc": lambda x, y: np.minimum(0.6 + y, 1.41 - _norm(x, y + 0.6)),
    "star": _star,
    "L-shape": lambda x, y: np.minimum(1.05 - np.maximum(abs(x), abs(y)), -0.1 - np.minimum(x, y)),
    "heart": lambda x, y: np.maximum(  # a square on its corner, and a disc on each of its upper sides
        0.66 - 0.707 * (abs(x) + abs(y + 0.29)), 0.66 - _norm(abs(x) - 0.47, y - 0.18)
    ),
}
"""Name -> how far a point (x right, y up) lies inside; each area is about pi, so that it does not tell shapes apart."""

_TEXTURES: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "plain": lambda x, y, depth, noise: np.zeros_like(x),
    "striped": lambda x, y, depth, noise: _bands(y, 7),
    "pinstriped": lambda x, y, depth, noise: _bands(y, 3.2),
    "checked": lambda x, y, depth, noise: abs(_bands(x, 7) - _bands(y, 7)),
    "dotted": lambda x, y, depth, noise: _dots(x, y, 5),
    "ringed": lambda x, y, depth, noise: _bands(_norm(x, y), 5),
    "zigzag": lambda x, y, depth, noise: _bands(y + abs(x - 7 * np.floor(x / 7) - 3.5), 5.5),
    "shaded": lambda x, y, depth, noise: (0.5 + y / 16).clip(0, 1),
    "speckled": lambda x, y, depth, noise: np.round(noise),
    "bordered": lambda x, y, depth, noise: (2.5 - depth).clip(0, 1),
}
"""Name -> share of the second colour at (x, y) pixels, ``depth`` of them from the edge; ``noise`` is 0 to 1."""

CLASS_NAMES = tuple(f"{texture} {shape}" for shape in _SHAPES for texture in _TEXTURES)
"""Names of the fine labels 0 to 99."""


def generate(
    n_train: int = 2000, n_test: int = 1000, seed: int = 0
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Generate images of ten shapes in ten textures, equally many of each.

    The fine label is ``10 * shape + texture``. The coarse one is ``2 * texture + shape // 5``: a superclass is five
    shapes of one texture, so that, as in CIFAR-100, groups of superclasses are not groups of consecutive fine labels.
    Place, size, a turn of up to 15 degrees, two colours of the shape and one of the background are drawn for each image
    from the same distributions, whatever its class: colours say little about it.

    Args:
        n_train: Number of training images, a multiple of 100.
        n_test: Number of test images, a multiple of 100.
        seed: Seed of everything that is drawn.

    Returns:
        ``"train"`` and ``"test"`` -> images (n, 32, 32, 3) uint8, fine labels (n,) in 0 to 99 and coarse labels (n,) in
        0 to 19, both int64.

    Raises:
        InputError: a number of images is not a positive multiple of 100.
    """
    rng = np.random.default_rng(seed)
    splits = {}
    for split, n in (("train", n_train), ("test", n_test)):
        if n < 100 or n % 100:
            raise InputError(f"n_{split} must be a positive multiple of 100, the number of classes; got {n:,}")
        fine = rng.permutation(np.arange(n, dtype=np.int64) % 100)
        shape, texture = fine // 10, fine % 10
        splits[split] = (_draw(rng, shape, texture), fine, 2 * texture + shape // 5)
    return splits


def _draw(rng: np.random.Generator, shape: np.ndarray, texture: np.ndarray) -> np.ndarray:
    """Draw images (n, 32, 32, 3) uint8 of shapes (n,) in textures (n,).

    Pixels see no sine or exponential: their last digit depends on the processor, and the bytes' checksum is recorded.
    """
    n = len(shape)

    def uniform(low: float, high: float, *size: int) -> np.ndarray:
        return rng.uniform(low, high, (n, *size)).astype(np.float32)

    # Coordinates in pixels from the shape's centre, turned with it.
    angle = rng.uniform(-math.pi / 12, math.pi / 12, (n, 1, 1))
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    across = np.arange(32, dtype=np.float32) - 15.5
    right, up = across - uniform(-3, 3, 1, 1), uniform(-3, 3, 1, 1) - across[:, None]
    x, y = cos * right + sin * up, cos * up - sin * right

    radius = uniform(6.5, 9, 1, 1)
    depth = np.empty_like(x)
    for i, inside in enumerate(_SHAPES.values()):
        rows = shape == i
        depth[rows] = radius[rows] * inside(x[rows] / radius[rows], y[rows] / radius[rows])

    # The texture has a place and a scale of its own.
    scale = uniform(0.9, 1.1, 1, 1)
    x, y = scale * x + uniform(-2, 2, 1, 1), scale * y + uniform(-2, 2, 1, 1)
    noise = rng.random(x.shape, dtype=np.float32)
    share = np.empty_like(x)
    for i, second in enumerate(_TEXTURES.values()):
        rows = texture == i
        share[rows] = second(x[rows], y[rows], depth[rows], noise[rows])

    # In each channel the background is darker than both colours of the shape, so that a small network finds shapes
    # within some epochs; but a quarter of the channels is inverted, so that it does not find all of them.
    levels = np.where(rng.random((n, 3, 1)) < 0.5, [0, 0.41, 0.76], [0, 0.76, 0.41]) + rng.uniform(0, 0.24, (n, 3, 3))
    levels = np.where(rng.random((n, 3, 1)) < 0.25, 1 - levels, levels)
    behind, first, other = (20 + 210 * levels[:, None, None, :, k].astype(np.float32) for k in range(3))
    for ramp in (across[:, None], across[:, None, None]):
        behind = behind + uniform(-1.5, 1.5, 1, 1, 3) * ramp

    images: np.ndarray = first + share[..., None] * (other - first)
    images = behind + (0.5 + depth).clip(0, 1)[..., None] * (images - behind)
    images += 16 * rng.standard_normal(images.shape, dtype=np.float32)
    return images.round().clip(0, 255).astype(np.uint8)
