"""A ray caster: shapes and cameras -> the exact depth and normal of what each pixel sees, which is then coloured.

World: metres, x and y on the ground, z up. Camera: x right, y down, z forward. Every pixel sees one ray, through its
centre. Shapes are tested only against the pixels that they may cover. Pixels see no sine and no exponential, whose last
digit depends on the processor, and nothing that depends on the other images of the batch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BOX, ELLIPSOID, CYLINDER = range(3)
EVERYWHERE = 1e5
"""Half a size, in metres, that stands for an infinite one: a box of (EVERYWHERE, EVERYWHERE, 0) is the ground."""

_NEAR = 0.02  # metres; nothing is seen nearer than that
_GROUP = 1 << 16  # pairs of shape and pixel in one step: what the processor's cache holds


@dataclass(frozen=True)
class Shapes:
    """K shapes in each of N scenes, on the CPU. All stand upright, turned about the vertical.

    Attributes:
        kind: (N, K) int64: BOX, ELLIPSOID (a sphere, if its sizes are equal) or CYLINDER (upright).
        centre: (N, K, 3) float64, metres.
        half: (N, K, 3) float64, half of the sizes along the shape's own x, y and z, metres.
        turn: (N, K) float64, radians, counter-clockwise seen from above.
        there: (N, K) bool; the others are not seen.
    """

    kind: Tensor
    centre: Tensor
    half: Tensor
    turn: Tensor
    there: Tensor


@dataclass(frozen=True)
class Cameras:
    """N pinhole cameras.

    Attributes:
        position: (N, 3) float64, metres, in the world.
        rotation: (N, 3, 3) float64; the rows are the camera's right, down and forward in the world, so that a point's
            place in the camera's frame is ``rotation @ (point - position)``.
        intrinsics: (N, 3, 3) float64; ``intrinsics @ place``, divided by its last number, is the place in the image, in
            pixels. The centre of the first pixel is at (0.5, 0.5).
    """

    position: Tensor
    rotation: Tensor
    intrinsics: Tensor

    def rays(self, height: int, width: int) -> Tensor:
        """Return what (N, H, W, 3) float64 each pixel's depth is multiplied by to give its place before the camera."""
        rows, columns = (torch.arange(size, dtype=torch.float64) + 0.5 for size in (height, width))
        k = self.intrinsics[..., None, None]
        across = ((columns - k[:, 0, 2]) / k[:, 0, 0]).expand(-1, height, -1)
        down = ((rows[:, None] - k[:, 1, 2]) / k[:, 1, 1]).expand(-1, -1, width)
        return torch.stack([across, down, torch.ones_like(across)], dim=-1)


@dataclass(frozen=True)
class Hits:
    """What the pixels of N images see.

    Attributes:
        shape: (N, H, W) int64, the number of the shape, or -1.
        depth: (N, H, W) float32, metres along the optical axis (not along the ray); 0 where there is no shape.
        normal: (N, H, W, 3) float32, in the camera's frame, of length 1, towards the camera; 0 where there is no shape.
        surface: (N, H, W, 2) float32, place on the shape's surface, metres along two of its own axes.
    """

    shape: Tensor
    depth: Tensor
    normal: Tensor
    surface: Tensor


def cameras(position: Tensor, yaw: Tensor, pitch: Tensor, view: Tensor, height: int, width: int) -> Cameras:
    """Place cameras: ``position`` (N, 3), metres; the others (N,), radians.

    Args:
        position: Where they are.
        yaw: 0 looks along the world's y; positive is to the left.
        pitch: 0 looks along the ground; positive is up.
        view: The angle between the left and the right edge of the image.
        height: Of the image, in pixels.
        width: Of the image, in pixels.
    """
    position, yaw, pitch, view = (values.double() for values in (position, yaw, pitch, view))
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
    right = torch.stack([yaw.cos(), yaw.sin(), zero], dim=-1)
    forward = torch.stack([-yaw.sin() * pitch.cos(), yaw.cos() * pitch.cos(), pitch.sin()], dim=-1)
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=1)
    focal = width / 2 / (view / 2).tan()
    rows = [focal, zero, one * width / 2, zero, focal, one * height / 2, zero, zero, one]
    return Cameras(position, rotation, torch.stack(rows, dim=-1).view(-1, 3, 3))


def cast(
    shapes: Shapes,
    cameras: Cameras,
    height: int,
    width: int,
    far: float = math.inf,
    device: torch.device | str = "cpu",
) -> Hits:
    """Find the nearest shape for each pixel of (N, ``height``, ``width``).

    A camera inside of a shape does not see it. Of shapes at the same depth, the first one is seen.

    Args:
        shapes: What there is to see.
        cameras: One for each scene.
        height: Of the images, in pixels.
        width: Of the images, in pixels.
        far: Depth, in metres, beyond which nothing is seen.
        device: Where it is computed, and where the hits are.
    """
    n, k = shapes.kind.shape
    turns, origins = _frames(shapes, cameras)
    columns = [*turns.flatten(2).unbind(-1), *origins.unbind(-1), *shapes.half.unbind(-1)]
    frames = torch.stack([column.flatten() for column in columns]).float().to(device)  # (15, N * K)
    rays = cameras.rays(height, width)
    across, down = rays[:, 0, :, 0].flatten().float().to(device), rays[:, :, 0, 1].flatten().float().to(device)
    boxes = _covered(shapes, cameras, turns, origins, height, width).to(device)  # (4, N * K)
    areas = (boxes[1] - boxes[0]) * (boxes[3] - boxes[2])

    # The nearest is the smallest of (bits of the depth, number of the shape): the bits of floats above 0 are in order.
    nothing = int(np.float32(math.inf).view(np.int32)) << 32
    nearest = torch.full((n * height * width,), nothing, dtype=torch.int64, device=device)
    for kind, depths in ((BOX, _box), (ELLIPSOID, _ellipsoid), (CYLINDER, _cylinder)):
        which = torch.nonzero((areas > 0) & (shapes.kind.flatten().to(device) == kind)).squeeze(1)
        ends = areas[which].cumsum(0)
        for some in which.split(torch.bincount(ends // _GROUP).tolist() if len(which) else 0):
            # One row of pixels at a time, and then one pixel.
            shape, row = _ranges(some, *boxes[:2, some])
            span, column = _ranges(torch.arange(len(shape), device=device), *(e[shape] for e in boxes[2:]))
            image = shape // k
            y = down[image * height + row]
            x = across.index_select(0, (image * width).index_select(0, span) + column)
            frame = frames.index_select(1, shape)
            scale = 1 if kind == BOX else 1 / frame[12:]
            aside, ahead = frame[0:9:3] * scale, (frame[1:9:3] * y + frame[2:9:3]) * scale
            steps = aside.index_select(1, span).mul_(x).add_(ahead.index_select(1, span))
            origins, half = (values.index_select(1, span) for values in (frame[9:12] * scale, frame[12:]))
            depth = depths(steps, origins, half)
            depth = torch.where((depth > _NEAR) & (depth <= far), depth, math.inf)
            key = (depth.view(torch.int32).long() << 32) | shape.index_select(0, span)
            pixel = ((image * height + row) * width).index_select(0, span) + column
            nearest.scatter_reduce_(0, pixel, key, "amin")

    seen = nearest < nothing
    shape = torch.where(seen, nearest & 0xFFFFFFFF, 0)
    depth = torch.where(seen, (nearest >> 32).int().view(torch.float32), 0)
    x = across.view(n, 1, width).expand(n, height, width).reshape(-1)
    y = down.view(n, height, 1).expand(n, height, width).reshape(-1)
    normal, surface = _surfaces(frames.index_select(1, shape), shapes.kind.flatten().to(device)[shape], depth, x, y)
    size = (n, height, width)
    return Hits(
        shape=torch.where(seen, shape % k, -1).view(size),
        depth=depth.view(size),
        normal=torch.where(seen, normal, 0).T.reshape(*size, 3),
        surface=surface.T.reshape(*size, 2),
    )


def _frames(shapes: Shapes, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Return (N, K, 3, 3) from the cameras' frame to the shapes' own, and (N, K, 3) the cameras' places in those."""
    cos, sin = shapes.turn.cos()[..., None], shapes.turn.sin()[..., None]

    def turned(vectors: Tensor) -> Tensor:
        x, y, z = (vectors[..., axis, None] for axis in range(3))
        return torch.cat([cos * x + sin * y, cos * y - sin * x, z.expand_as(cos)], dim=-1)

    axes = [turned(cameras.rotation[:, None, axis]) for axis in range(3)]
    return torch.stack(axes, dim=-1), turned(cameras.position[:, None] - shapes.centre)


def _covered(shapes: Shapes, cameras: Cameras, turns: Tensor, origins: Tensor, height: int, width: int) -> Tensor:
    """Return the first row, the last + 1, the first column and the last + 1 (4, N * K) that a shape may cover."""
    signs = torch.tensor([[(corner >> axis & 1) * 2 - 1 for axis in range(3)] for corner in range(8)]).double()
    corners = shapes.half[:, :, None] * signs - origins[:, :, None]  # (N, K, 8, 3)
    x, y, z = ((corners * turns[:, :, None, :, axis]).sum(dim=-1) for axis in range(3))
    k = cameras.intrinsics[:, None, None]
    behind = (z < _NEAR).any(dim=-1)
    shown = shapes.there & (z > _NEAR).any(dim=-1)
    z = z.clamp(min=_NEAR)
    edges = []
    for values, focal, centre, size in (
        (y, k[..., 1, 1], k[..., 1, 2], height),
        (x, k[..., 0, 0], k[..., 0, 2], width),
    ):
        places = values / z * focal + centre
        first = torch.where(behind, 0, places.amin(dim=-1) - 1).clamp(0, size)
        last = torch.where(behind, size, places.amax(dim=-1) + 1).clamp(0, size)
        edges += [first.floor(), torch.where(shown, last.ceil(), first.floor())]
    return torch.stack([edge.flatten() for edge in edges]).long()


def dot(a: Sequence[Tensor] | Tensor, b: Sequence[Tensor] | Tensor) -> Tensor:
    """Sum over the first axis, always in the same order."""
    total = a[0] * b[0]
    for one, other in zip(a[1:], b[1:], strict=True):
        total = total + one * other
    return total


def _ranges(owners: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Return each owner ``last - first`` times, with the numbers from ``first`` on."""
    counts = last - first
    shift = first - (counts.cumsum(0) - counts)
    which = torch.repeat_interleave(torch.arange(len(owners), device=owners.device), counts)
    return owners.index_select(0, which), torch.arange(len(which), device=owners.device) + shift.index_select(0, which)


# The depths at which rays, origin + depth * step (3, pairs), enter a shape; inf where they do not. Ellipsoids and
# cylinders have half sizes of 1: their rays were scaled.


def _slab(step: Tensor, origin: Tensor, half: Tensor | float) -> tuple[Tensor, Tensor]:
    inverse = 1 / (step + 1e-12)  # never 0
    middle, reach = -origin * inverse, inverse.abs() * half
    return middle - reach, middle + reach


def _box(steps: Tensor, origins: Tensor, half: Tensor) -> Tensor:
    (a, a_end), (b, b_end), (c, c_end) = (_slab(*axis) for axis in zip(steps, origins, half, strict=True))
    enter, leave = torch.maximum(torch.maximum(a, b), c), torch.minimum(torch.minimum(a_end, b_end), c_end)
    return torch.where(enter <= leave, enter, math.inf)


def _round(steps: Tensor, origins: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave a ball, or a circle, of radius 1 about 0; nan where they miss it."""
    square = dot(steps, steps) + 1e-24
    middle = -dot(origins, steps) / square
    # From the middle, which is near: the usual b² - ac cancels where the shape is small and far.
    closest = [origin + middle * step for origin, step in zip(origins, steps, strict=True)]
    reach = ((1 - dot(closest, closest)) / square).sqrt()
    return middle - reach, middle + reach


def _ellipsoid(steps: Tensor, origins: Tensor, half: Tensor) -> Tensor:
    enter, _ = _round(steps, origins)
    return torch.where(enter.isnan(), math.inf, enter)


def _cylinder(steps: Tensor, origins: Tensor, half: Tensor) -> Tensor:
    a, a_end = _round(steps[:2], origins[:2])
    b, b_end = _slab(steps[2], origins[2], 1.0)
    enter = torch.maximum(a, b)
    return torch.where(enter <= torch.minimum(a_end, b_end), enter, math.inf)  # nan compares as False


def _surfaces(frames: Tensor, kind: Tensor, depth: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the normals (3, P) in the cameras' frames and the places (2, P) on the surfaces.

    Args:
        frames: (15, P) of the shapes that are seen.
        kind: (P,) of the shapes that are seen.
        depth: (P,).
        x: (P,) Of the ray.
        y: (P,) Of the ray.
    """
    steps, half = frames[0:9:3] * x + frames[1:9:3] * y + frames[2:9:3], frames[12:]
    place = frames[9:12] + depth * steps
    part = place / half.clamp(min=1e-6)
    # A box: the face that is next, and its side that the ray comes from.
    gap = place.abs() - half
    face = torch.stack([(gap[a] >= gap[b]) & (gap[a] >= gap[c]) for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1))])
    face[1:] &= ~face[0]
    face[2] &= ~face[1]
    flat = torch.where(face, -steps.sign(), 0)
    bent = part / half.clamp(min=1e-6)
    around = dot(part[:2], part[:2]).sqrt() > part[2].abs()
    tube = torch.stack([torch.where(around, bent[0], 0), torch.where(around, bent[1], 0), flat[2] * 0])
    tube[2] = torch.where(around, 0, -steps[2].sign())
    own = torch.where(kind == BOX, flat, torch.where(kind == ELLIPSOID, bent, tube))
    own = own / dot(own, own).sqrt().clamp(min=1e-12)
    normal = torch.stack([dot(frames[axis:9:3], own) for axis in range(3)])
    size = own.abs()
    sideways = (size[0] >= size[1]) & (size[0] >= size[2])
    lying = ~sideways & (size[2] >= size[1])
    first = torch.where(sideways, place[1], place[0])
    return normal, torch.stack([first, torch.where(lying, place[1], place[2])])
