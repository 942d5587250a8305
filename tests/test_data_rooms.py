"""The stand-in of NYUv2 and CityScapes: the ray caster's geometry, and what the scenes made with it are like."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from mtlutils.data import nyuv2, ray_caster, ray_caster_shading, rooms, rooms_street
from mtlutils.data.ray_caster import BOX, CYLINDER, ELLIPSOID, EVERYWHERE
from mtlutils.data.ray_caster_shading import CHECKER, GRID, NOISE, PLAIN, STRIPES
from mtlutils.data.rooms_things import Things
from mtlutils.errors import InputError

SCENES = ("room", "street")
SIZE = (48, 72)


def shapes_of(*shapes):
    """One scene of (kind, centre, half, turn)."""
    kind, centre, half, turn = (torch.tensor(column)[None] for column in zip(*shapes, strict=True))
    return ray_caster.Shapes(
        kind, centre.double(), half.double(), turn.double(), torch.ones_like(kind, dtype=torch.bool)
    )


def camera_at(x=0.0, y=0.0, z=0.0, yaw=0.0, pitch=0.0, view=1.2, size=(24, 32)):
    values = (torch.tensor([value]) for value in ([x, y, z], yaw, pitch, view))
    return ray_caster.cameras(*values, height=size[0], width=size[1])


def points_of(cameras, depth):
    """World places (N, H, W, 3) float64 of the pixels."""
    places = cameras.rays(*depth.shape[1:]) * depth[..., None].double()
    return turned(cameras, places) + cameras.position[:, None, None]


def turned(cameras, vectors):
    """From the cameras' frames to the world's."""
    return torch.einsum("nij,nhwi->nhwj", cameras.rotation, vectors.double())


# The ray caster.


def test_camera_projects_its_rays_to_the_pixels_centres():
    cameras = camera_at(1, 2, 3, yaw=0.4, pitch=-0.3, size=(6, 10))
    rotation = cameras.rotation[0]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3).double())
    assert torch.linalg.det(rotation) == pytest.approx(1)
    places = cameras.rays(6, 10)[0] * 7 @ cameras.intrinsics[0].T
    rows, columns = torch.meshgrid(torch.arange(6) + 0.5, torch.arange(10) + 0.5, indexing="ij")
    torch.testing.assert_close(places[..., :2] / places[..., 2:], torch.stack([columns, rows], dim=-1).double())
    # The view is the angle from the left edge to the right.
    left = cameras.intrinsics[0, 0, 2] / cameras.intrinsics[0, 0, 0]
    assert 2 * math.atan(left) == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("direction", "yaw", "pitch"),
    [((0, 1, 0), 0, 0), ((-1, 0, 0), math.pi / 2, 0), ((0, 1, 1), 0, math.pi / 4), ((1, 0, 0), -math.pi / 2, 0)],
)
def test_yaw_is_to_the_left_and_pitch_upwards(direction, yaw, pitch):
    """A ball lies in the middle of the image when the camera looks at it."""
    ball = shapes_of((ELLIPSOID, [4.0 * part for part in direction], [0.5] * 3, 0.0))
    rows, columns = torch.nonzero(ray_caster.cast(ball, camera_at(yaw=yaw, pitch=pitch), 24, 32).shape[0] == 0).T
    assert rows.double().mean() == pytest.approx(11.5)
    assert columns.double().mean() == pytest.approx(15.5)


def test_right_and_down_in_the_image():
    balls = shapes_of((ELLIPSOID, [2.0, 5.0, 0.0], [0.4] * 3, 0.0), (ELLIPSOID, [0.0, 5.0, -1.0], [0.4] * 3, 0.0))
    shape = ray_caster.cast(balls, camera_at(), 24, 32).shape[0]
    assert torch.nonzero(shape == 0)[:, 1].min() > 16
    assert torch.nonzero(shape == 1)[:, 0].min() > 12


def test_depth_of_a_plane_is_along_the_optical_axis():
    camera = camera_at(z=1.5, pitch=-0.5)
    hits = ray_caster.cast(shapes_of((BOX, [3.0, -2.0, 0.0], [EVERYWHERE, EVERYWHERE, 0.0], 0.7)), camera, 24, 32)
    down = camera.rays(24, 32)[0] @ camera.rotation[0][:, 2]
    assert (down < 0).all()  # all pixels see the ground
    torch.testing.assert_close(hits.depth[0].double(), -1.5 / down, rtol=1e-5, atol=0)
    up = camera.rotation[0][:, 2].float()
    torch.testing.assert_close(hits.normal[0], up.expand(24, 32, 3), rtol=0, atol=1e-6)
    # A wall that the camera looks at squarely has the same depth everywhere; the ray's length has not.
    wall = shapes_of((BOX, [0.0, 3.25, 0.0], [EVERYWHERE, 0.0, EVERYWHERE], 0.0))
    torch.testing.assert_close(ray_caster.cast(wall, camera_at(), 24, 32).depth, torch.full((1, 24, 32), 3.25))


def test_sphere_in_closed_form():
    centre, radius = torch.tensor([0.4, 3.0, -0.2]).double(), 0.9
    camera = camera_at(yaw=0.1, pitch=0.05, z=0.1)
    hits = ray_caster.cast(shapes_of((ELLIPSOID, centre.tolist(), [radius] * 3, 0.3)), camera, 24, 32)
    rays = camera.rays(24, 32)[0]
    away = camera.rotation[0] @ (centre - camera.position[0])
    a, b, c = (rays * rays).sum(-1), rays @ away, away @ away - radius**2
    seen = b * b - a * c > 0
    torch.testing.assert_close(hits.shape[0] == 0, seen)
    assert 50 < seen.sum() < 600
    depth = ((b - (b * b - a * c).clamp(min=0).sqrt()) / a)[seen]
    torch.testing.assert_close(hits.depth[0][seen].double(), depth, rtol=1e-5, atol=0)
    normal = (rays[seen] * depth[:, None] - away) / radius
    torch.testing.assert_close(hits.normal[0][seen].double(), normal, rtol=0, atol=1e-4)
    assert (hits.normal[0][~seen] == 0).all()
    assert (hits.depth[0][~seen] == 0).all()


def test_small_ball_far_away_is_precise():
    camera = camera_at(view=0.004)
    hits = ray_caster.cast(shapes_of((ELLIPSOID, [0.0, 100.0, 0.0], [0.1] * 3, 0.0)), camera, 24, 32)
    at = hits.depth[0, 11:13, 15:17]
    torch.testing.assert_close(at, torch.full((2, 2), 99.9), rtol=0, atol=1e-3)


INSIDE = {
    BOX: lambda p: p.abs().amax(dim=-1),
    ELLIPSOID: lambda p: p.norm(dim=-1),
    CYLINDER: lambda p: torch.maximum(p[..., :2].norm(dim=-1), p[..., 2].abs()),
}
"""Kind -> 1 on the surface, less inside, of places in units of the half sizes."""


@pytest.mark.parametrize("kind", INSIDE)
@pytest.mark.parametrize(
    "camera",
    [
        camera_at(z=0.9, pitch=-0.2),
        camera_at(0.9, 0.5, 1.9, yaw=0.3, pitch=-0.6),
        camera_at(-1.6, 2.0, 0.2, yaw=-1.5),
        camera_at(0.9, 2.6, 0.0, yaw=0.2, view=2.4),  # beside it: parts of it are behind
        camera_at(0.2, 3.0, 2.0, pitch=-1.5),
    ],
)
def test_rays_end_where_they_enter_a_shape(kind, camera):
    """Against samples along each ray: none before the depth is inside, and where nothing is seen, none at all."""
    centre, half, turn = torch.tensor([0.3, 3.0, 0.1]).double(), torch.tensor([0.8, 0.4, 0.6]).double(), 0.5
    hits = ray_caster.cast(shapes_of((kind, centre.tolist(), half.tolist(), turn)), camera, 24, 32)
    seen = hits.shape == 0
    assert seen.sum() > 20

    def level(depth):
        x, y, z = (points_of(camera, depth)[0] - centre).unbind(-1)
        own = [math.cos(turn) * x + math.sin(turn) * y, math.cos(turn) * y - math.sin(turn) * x, z]
        return INSIDE[kind](torch.stack(own, dim=-1) / half)

    torch.testing.assert_close(level(hits.depth)[seen[0]], torch.ones(seen.sum()).double(), rtol=0, atol=1e-4)
    until = torch.where(seen, hits.depth.double(), 6)
    for share in torch.linspace(0, 0.999, 150).tolist():
        assert (level(until * share) > 1 - 1e-4).all()
    # The normal is where the level rises fastest.
    step = 1e-3
    base = level(hits.depth)
    ahead = points_of(camera, hits.depth) + step * turned(camera, hits.normal)
    x, y, z = (ahead[0] - centre).unbind(-1)
    own = [math.cos(turn) * x + math.sin(turn) * y, math.cos(turn) * y - math.sin(turn) * x, z]
    rise = (INSIDE[kind](torch.stack(own, dim=-1) / half) - base)[seen[0]]
    assert (rise > step).all()
    assert (hits.normal[seen].norm(dim=-1) - 1).abs().max() < 1e-5


def test_cylinder_has_round_sides_and_a_flat_top():
    camera = camera_at(z=1.5, pitch=-0.4)
    centre = torch.tensor([0.0, 3.0, 0.3]).double()
    hits = ray_caster.cast(shapes_of((CYLINDER, centre.tolist(), [0.6, 0.6, 0.5], 0.0)), camera, 24, 32)
    seen = hits.shape[0] == 0
    points, normals = points_of(camera, hits.depth)[0][seen] - centre, turned(camera, hits.normal)[0][seen]
    top = points[:, 2] > 0.5 - 1e-5
    assert 10 < top.sum() < len(top) - 10
    up = torch.tensor([0.0, 0, 1]).double().expand(len(top), 3)
    torch.testing.assert_close(normals[top], up[top], rtol=0, atol=1e-5)
    outwards = points / 0.6 * torch.tensor([1, 1, 0])
    torch.testing.assert_close(normals[~top], outwards[~top], rtol=0, atol=1e-4)


def test_nearer_shapes_hide_farther_ones():
    near = (BOX, [0.2, 2.0, 0.0], [0.3, 0.1, 0.3], 0.2)
    far = (ELLIPSOID, [0.0, 4.0, 0.0], [1.5] * 3, 0.0)
    back = (BOX, [0.0, 9.0, 0.0], [EVERYWHERE, 0.0, EVERYWHERE], 0.0)
    alone = [ray_caster.cast(shapes_of(shape), camera_at(), 24, 32) for shape in (near, far, back)]
    depths = torch.stack([torch.where(hits.shape < 0, math.inf, hits.depth) for hits in alone])
    nearest = depths.argmin(dim=0)
    assert len(nearest.unique()) == 3
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        hits = ray_caster.cast(shapes_of(*([near, far, back][i] for i in order)), camera_at(), 24, 32)
        torch.testing.assert_close(torch.tensor(order)[hits.shape], nearest)
        torch.testing.assert_close(hits.depth, depths.amin(dim=0), rtol=0, atol=0)


def test_first_of_two_shapes_at_the_same_depth_is_seen():
    box = (BOX, [0.0, 2.0, 0.0], [0.5, 0.5, 0.5], 0.0)
    assert set(ray_caster.cast(shapes_of(box, box), camera_at(), 24, 32).shape.unique().tolist()) == {-1, 0}


@pytest.mark.parametrize("kind", INSIDE)
def test_what_is_not_seen(kind):
    def count(y, half=0.5, far=math.inf, there=True):
        shapes = shapes_of((kind, [0.0, y, 0.0], [half] * 3, 0.0))
        shapes.there[:] = there
        return (ray_caster.cast(shapes, camera_at(), 24, 32, far).shape >= 0).sum().item()

    assert count(3.0) > 0
    assert count(3.0, there=False) == 0
    assert count(-3.0) == 0  # behind
    assert count(0.2) == 0  # around the camera
    assert count(3.0, far=2.4) == 0
    assert count(3.0, far=2.6) > 0


def test_scenes_of_a_batch_are_their_own():
    near, far = ((BOX, [0.0, y, 0.0], [0.5] * 3, 0.0) for y in (2.0, 4.0))
    both = (shapes_of(near, far), shapes_of(far, far))
    batch = ray_caster.Shapes(*(torch.cat(pair) for pair in zip(*(vars(s).values() for s in both), strict=True)))
    poses = camera_at(), camera_at(yaw=0.2)
    cameras = ray_caster.Cameras(*(torch.cat(pair) for pair in zip(*(vars(c).values() for c in poses), strict=True)))
    hits = ray_caster.cast(batch, cameras, 24, 32)
    for i in range(2):
        alone = ray_caster.cast(both[i], poses[i], 24, 32)
        for name, values in vars(alone).items():
            assert torch.equal(getattr(hits, name)[i : i + 1], values), name


def lit(position, colour=(0.5, 0.5, 0.5), glow=0.0, ambient=0.25, clear=1e9, texture=PLAIN, other=None):
    """The image of a wall, 2 m ahead."""
    hits = ray_caster.cast(shapes_of((BOX, [0.0, 2.0, 0.0], [1.0, 0.0, 1.0], 0.0)), camera_at(), 24, 32)
    looks = ray_caster_shading.Looks(
        torch.tensor([[[colour, other or colour]]]), torch.tensor([[texture]]), torch.ones(1, 1), torch.tensor([[glow]])
    )
    lights = ray_caster_shading.Lights(
        *(torch.tensor([[position]]).double(), torch.tensor([[0.5]]), torch.tensor([[1e9]]), torch.tensor([ambient])),
        *(torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([clear])),
    )
    return ray_caster_shading.shade(hits, looks, lights, camera_at())[0]


def test_light_is_lamberts():
    assert lit([0.0, -1e6, 0.0])[12, 16].tolist() == pytest.approx([0.375] * 3, abs=1e-4)  # squarely
    assert lit([1e6, 2 - 1e6, 0.0])[12, 16, 0].item() == pytest.approx(0.5 * (0.25 + 0.5 * math.sqrt(0.5)), abs=1e-4)
    assert lit([0.0, 1e6, 0.0])[12, 16, 0].item() == pytest.approx(0.125)  # from behind
    assert lit([0.0, 1e6, 0.0], glow=1.0)[12, 16, 0].item() == pytest.approx(0.5)
    # 2 m of haze that hides half in 2 m
    hazy = lit([0.0, 1e6, 0.0], clear=2.0)[12, 16].tolist()
    assert hazy[0] == pytest.approx(0.0625)
    assert hazy[2] > 0.4
    sky = lit([0.0, 0.0, 0.0])[0, 0].tolist()
    assert sky[:2] == [0, 0]
    assert sky[2] > 0.8


@pytest.mark.parametrize("texture", [CHECKER, STRIPES, GRID, NOISE])
def test_textures_lie_on_the_surface(texture):
    wall = lit([0.0, -1e6, 0.0], (0.2,) * 3, texture=texture, other=(0.9,) * 3)[..., 0]
    wall = wall[6:-6, 8:-8]
    assert wall.min() < 0.3
    assert wall.max() > 0.45
    # Stripes do not change upwards; the others do.
    assert (wall.std(dim=0).mean() < 1e-4) == (texture == STRIPES)
    assert wall.std(dim=1).mean() > 0.02


# The scenes.


@pytest.fixture(scope="module", params=SCENES)
def named(request):
    return request.param, rooms.generate(request.param, 36, *SIZE, seed=0)


def test_format(named):
    name, scenes = named
    for values, dtype, rest in (
        (scenes.images, torch.uint8, (3,)),
        (scenes.labels, torch.int8, ()),
        (scenes.depth, torch.float32, ()),
        (scenes.normals, torch.float32, (3,)),
        (scenes.disparity, torch.float32, ()),
    ):
        assert (values.dtype, values.shape, values.device.type) == (dtype, (36, *SIZE, *rest), "cpu")
    assert scenes.cameras.intrinsics.shape == (36, 3, 3)
    labels = set(scenes.labels.unique().tolist())
    assert labels == {*range(len(rooms.CLASS_NAMES[name])), rooms.UNLABELLED}  # every class occurs


def test_names_of_the_classes():
    assert list(rooms.CLASS_NAMES["room"]) == nyuv2.CLASS_NAMES
    assert len(rooms.CLASS_NAMES["street"]) == 7


def test_images_use_the_range_and_are_seldom_cut_off(named):
    _, scenes = named
    assert scenes.images.min() < 20
    assert scenes.images.max() > 235
    assert ((scenes.images == 0) | (scenes.images == 255)).float().mean() < 0.12
    assert 80 < scenes.images.float().mean() < 150


def test_parts_without_targets(named):
    name, scenes = named
    assert 0.02 < (scenes.labels == rooms.UNLABELLED).float().mean() < 0.2
    missing = scenes.depth == 0
    assert torch.equal(missing, (scenes.normals == 0).all(dim=-1))
    if name == "street":
        sky = scenes.labels == rooms.CLASS_NAMES["street"].index("sky")
        assert missing[sky].all()
        assert (scenes.disparity[sky] == 0).all()
        missing &= ~sky & (scenes.labels != rooms.UNLABELLED)
        assert scenes.depth.max() <= rooms.FAR
    else:
        assert scenes.depth.max() < 10
    assert 0.002 < missing.float().mean() < 0.06
    assert scenes.depth[scenes.depth > 0].min() > 0.05
    valid = scenes.depth > 0
    torch.testing.assert_close(scenes.disparity[valid] * scenes.depth[valid], torch.ones(valid.sum()))


def test_windows_and_screens_may_lack_depth(named):
    name, scenes = named
    if name == "street":
        return
    of = {label: scenes.labels == label for label in range(13)}
    missing = {name: (scenes.depth[of[i]] == 0).float().mean().item() for i, name in enumerate(rooms.CLASS_NAMES[name])}
    for name, share in missing.items():
        assert (0.1 < share < 0.9) if name in ("window", "tv") else share < 0.06, name


def test_normals_have_length_1_and_face_the_camera(named):
    _, scenes = named
    valid = scenes.depth > 0
    assert (scenes.normals[valid].norm(dim=-1) - 1).abs().max() < 1e-5
    facing = (scenes.normals * scenes.cameras.rays(*SIZE)).sum(dim=-1)[valid]
    assert facing.max() < 1e-3
    assert (facing < 0).double().mean() > 0.9999


def test_normals_are_those_of_the_depth(named):
    """By differences of the pixels' places, where the surface around a pixel is flat: its inverse depth is linear."""
    name, scenes = named
    inverse = scenes.disparity.double()
    flat = torch.ones(36, SIZE[0] - 2, SIZE[1] - 2, dtype=torch.bool)
    points = points_of(scenes.cameras, scenes.depth)
    points = torch.einsum("nij,nhwj->nhwi", scenes.cameras.rotation, points - scenes.cameras.position[:, None, None])
    sides = []
    for axis in (1, 2):
        along = inverse.narrow(3 - axis, 1, SIZE[2 - axis] - 2)
        before, here, after = (along.narrow(axis, i, SIZE[axis - 1] - 2) for i in range(3))
        flat &= ((before + after - 2 * here).abs() < 2e-4 * here) & (torch.minimum(before, after) > 0)
        around = points.narrow(3 - axis, 1, SIZE[2 - axis] - 2)
        sides.append(around.narrow(axis, 2, SIZE[axis - 1] - 2) - around.narrow(axis, 0, SIZE[axis - 1] - 2))
    expected = torch.nn.functional.normalize(torch.linalg.cross(sides[0], sides[1]), dim=-1)
    cosine = (expected * scenes.normals[:, 1:-1, 1:-1]).sum(dim=-1)[flat]
    assert flat.double().mean() > 0.45
    assert (cosine > math.cos(math.radians(1))).double().mean() > 0.995
    if name == "room":  # seen from the side as well as from the front
        assert scenes.normals[..., 0][scenes.depth > 0].std() > 0.3


ROOM_HEIGHTS = {
    **{"bed": (0, 1.25), "books": (0.02, 2.2), "ceiling": (2.3, 3.15), "chair": (0, 1.1), "floor": (0, 0.02)},
    **{"furniture": (0, 2.15), "objects": (0, 3.15), "picture": (1, 2.1), "sofa": (0, 1), "table": (0, 0.8)},
    **{"tv": (0.4, 1.5), "wall": (0, 3.15), "window": (0.8, 2.3)},
}
STREET_HEIGHTS = {
    **{"flat": (0, 0.14), "construction": (0, 20.1), "object": (0, 7.1), "nature": (0, 8.5), "sky": (0, 0)},
    **{"human": (0, 2.1), "vehicle": (0, 3.7)},
}


def test_labels_are_of_the_things_at_that_place(named):
    name, scenes = named
    heights, up = points_of(scenes.cameras, scenes.depth)[..., 2], turned(scenes.cameras, scenes.normals)[..., 2]
    for label, (kind, (low, high)) in enumerate((ROOM_HEIGHTS if name == "room" else STREET_HEIGHTS).items()):
        assert rooms.CLASS_NAMES[name][label] == kind
        valid = (scenes.labels == label) & (scenes.depth > 0)
        if kind == "sky":
            assert not valid.any()
            continue
        assert valid.sum() > 20, kind
        assert heights[valid].min() > low - 2e-3, kind
        assert heights[valid].max() < high + 2e-3, kind
        if kind in ("floor", "ceiling"):
            assert ((1 if kind == "floor" else -1) * up[valid] > 0.999).double().mean() > 0.99
        if kind in ("wall", "construction"):
            assert (up[valid].abs() < 1e-3).double().mean() > 0.95


def test_labels_and_targets_are_what_the_rays_hit(named, monkeypatch):
    """With nothing left out, every pixel has the class, depth and normal of the nearest shape."""
    name, _ = named
    caught = []
    original = rooms._targets

    def spy(things, hits, blots, rows):
        caught.append((things, hits))
        return original(things, hits, blots, rows)

    monkeypatch.setattr(rooms, "_targets", spy)
    again = rooms.generate(name, 4, *SIZE, seed=0)
    things, shape = caught[0][0], torch.cat([hits.shape for _, hits in caught])
    depth, normal = (torch.cat([getattr(hits, field) for _, hits in caught]) for field in ("depth", "normal"))
    labelled, valid = again.labels != rooms.UNLABELLED, again.depth > 0
    expected = torch.tensor([*things.labels, things.sky])[shape]
    assert torch.equal(again.labels[labelled].long(), expected[labelled])
    assert torch.equal(again.depth[valid], depth[valid])
    assert torch.equal(again.normals[valid], normal[valid])


def test_parts_belong_to_a_thing_of_their_own():
    """No border is drawn within a car, but between two that overlap."""
    things = Things(np.random.default_rng(0).random((3, rooms._NUMBERS)), rooms.CLASS_NAMES["street"])
    rooms_street.street(things)
    for kind, n_things, n_parts in (("human", 14, 6), ("vehicle", 16, 7)):
        label = things.names.index(kind)
        objects = [number for number, of in zip(things.objects, things.labels, strict=True) if of == label]
        assert sorted(Counter(objects).values()) == [n_parts] * n_things, kind


@pytest.mark.parametrize("name", SCENES)
def test_deterministic_whatever_the_number_of_images(name, monkeypatch):
    first = rooms.generate(name, 5, *SIZE, seed=3)
    again = rooms.generate(name, 5, *SIZE, seed=3)
    fewer = rooms.generate(name, 2, *SIZE, seed=3)
    monkeypatch.setattr(rooms, "_PIXELS", 2 * SIZE[0] * SIZE[1])
    monkeypatch.setattr(ray_caster, "_GROUP", 1000)
    apart = rooms.generate(name, 5, *SIZE, seed=3)
    other = rooms.generate(name, 5, *SIZE, seed=4)
    for field in ("images", "labels", "depth", "normals"):
        values = getattr(first, field)
        for same in (again, apart):
            assert torch.equal(values, getattr(same, field)), field
        assert torch.equal(values[:2], getattr(fewer, field)), field
        assert (values != getattr(other, field)).double().mean() > 0.1, field
        assert (values[0] != values[1]).double().mean() > 0.1, field


@pytest.mark.parametrize("name", SCENES)
def test_another_size_shows_the_same_scene(name):
    """The middle pixel of 3×3 sees the same ray as the one pixel in their place."""
    small, large = rooms.generate(name, 3, 32, 48, seed=5), rooms.generate(name, 3, 96, 144, seed=5)
    labels, depth, normals, images = (
        getattr(large, field)[:, 1::3, 1::3] for field in ("labels", "depth", "normals", "images")
    )
    both = (small.labels != rooms.UNLABELLED) & (labels != rooms.UNLABELLED)
    assert both.double().mean() > 0.7
    assert (small.labels == labels)[both].double().mean() > 0.999
    assert ((small.depth - depth).abs() <= 1e-4 * depth).double().mean() > 0.999
    assert ((small.normals - normals).abs().amax(dim=-1) < 1e-3).double().mean() > 0.999
    # Noise and the smoothing of fine patterns differ.
    assert (small.images.float() - images.float()).abs().mean() < 15


def test_colour_says_little_and_geometry_much(named):
    """The comments give the scores measured with the seeds 0, 1 and 2; chance is 1 / 13 and 1 / 7."""
    name, scenes = named
    normals = turned(scenes.cameras, scenes.normals)
    height = torch.where(scenes.depth > 0, points_of(scenes.cameras, scenes.depth)[..., 2], 99)
    geometry = torch.stack([height, scenes.depth, normals[..., 2], normals[..., 0].abs()], dim=-1).numpy()
    colours, labels = scenes.images.numpy().astype(np.float32), scenes.labels.numpy()

    def score(classifier, features):
        train, test = (labels[rows] != rooms.UNLABELLED for rows in (slice(0, 24), slice(24, 36)))
        classifier.fit(features[:24][train][::3], labels[:24][train][::3])
        return balanced_accuracy_score(labels[24:][test], classifier.predict(features[24:][test]))

    def tree():
        return DecisionTreeClassifier(max_leaf_nodes=200, class_weight="balanced", random_state=0)

    linear = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=100, tol=1e-2))
    by_colour = max(score(tree(), colours), score(linear, colours))
    by_geometry = score(tree(), geometry)
    assert by_colour < (0.14 if name == "room" else 0.38)  # 0.10 to 0.11; 0.28 to 0.32
    assert by_geometry > (0.4 if name == "room" else 0.75)  # 0.46 to 0.54; 0.81 to 0.88


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scene": "garden"}, "scene must be one of room, street, got 'garden'"),
        ({"n": 0}, "n must be a whole number of at least 1, got 0"),
        ({"n": 1.5}, "n must be a whole number of at least 1, got 1.5"),
        ({"n": True}, "n must be a whole number of at least 1, got True"),
        ({"height": 7}, "height must be a whole number of at least 8, got 7"),
        ({"width": "64"}, "width must be a whole number of at least 8, got '64'"),
        ({"first": -1}, "first must be a whole number of at least 0, got -1"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"device": "toaster"}, "device 'toaster' cannot be used: "),
    ],
)
def test_wrong_arguments(changed, message):
    arguments = {"scene": "room", "n": 1, "height": 8, "width": 8, "seed": 0, **changed}
    with pytest.raises(InputError) as caught:
        rooms.generate(**arguments)
    text = str(caught.value)
    assert text.startswith(message)
    assert "\n" not in text


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", SCENES)
def test_a_gpu_draws_the_same(name):
    here, there = (rooms.generate(name, 2, *SIZE, seed=0, device=device) for device in ("cpu", "cuda"))
    assert there.images.device.type == there.depth.device.type == "cuda"
    assert (here.labels == there.labels.cpu()).double().mean() > 0.999
    assert ((here.depth - there.depth.cpu()).abs() <= 1e-4 * here.depth).double().mean() > 0.999
    assert (here.images.float() - there.images.cpu().float()).abs().mean() < 0.1
