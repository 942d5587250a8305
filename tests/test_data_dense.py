"""Images with a target for every pixel: the augmentation, resizing, and the generated data sets."""

import numpy as np
import pytest
import torch
from shared import trained_on
from torch.nn.functional import interpolate

from mtlutils import folders
from mtlutils.data import dense, dense_standin, rooms
from mtlutils.errors import InputError

# Augmentation

H, W = 12, 24


def drawn(n=3, height=H, width=W, seed=0):
    rng = torch.Generator().manual_seed(seed)
    images = torch.rand(n, 3, height, width, generator=rng)
    normal = torch.nn.functional.normalize(torch.randn(n, 3, height, width, generator=rng), dim=1)
    targets = {
        "segmentation": torch.randint(-1, 13, (n, height, width), generator=rng).to(torch.int8),
        "depth": torch.rand(n, 1, height, width, generator=rng) * 9 + 1,
        "normal": normal,
    }
    return images, targets


def viewed(images, targets, scale=1.0, corner=(0.0, 0.0), mirrored=False):
    n = len(images)
    scales = torch.full((n,), scale, dtype=torch.float64)
    corners = torch.tensor(corner, dtype=torch.float64).view(2, 1).expand(2, n)
    return dense.augmented(images, targets, scales, corners, torch.full((n,), mirrored))


def assert_same(first, second):
    assert torch.equal(first[0], second[0])
    for task, target in first[1].items():
        assert torch.equal(target, second[1][task])


def test_view_of_the_whole_changes_nothing():
    images, targets = drawn()
    assert_same(viewed(images, targets), (images, targets))


def test_mirroring():
    images, targets = drawn()
    mirrored, changed = viewed(images, targets, mirrored=True)
    assert torch.equal(mirrored, images.flip(3))
    assert torch.equal(changed["segmentation"], targets["segmentation"].flip(2))
    assert torch.equal(changed["depth"], targets["depth"].flip(3))
    sign = torch.tensor([-1.0, 1, 1]).view(3, 1, 1)
    assert torch.equal(changed["normal"], targets["normal"].flip(3) * sign)
    # A wall seen at the left looks to the right, and the other way round.
    assert torch.equal(changed["normal"][:, 0, :, 0], -targets["normal"][:, 0, :, -1])


def test_mirroring_twice_changes_nothing():
    images, targets = drawn()
    assert_same(viewed(*viewed(images, targets, mirrored=True), mirrored=True), (images, targets))


@pytest.mark.parametrize("scale", [1.2, 1.5])
@pytest.mark.parametrize("corner", [(0.0, 0.0), (0.5, 0.3), (0.999, 0.999)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_magnifying_is_that_of_the_published_code(scale, corner, mirrored):
    images, targets = drawn()
    h, w = int(H / scale), int(W / scale)
    i, j = int(corner[0] * (H - h + 1)), int(corner[1] * (W - w + 1))
    part = (..., slice(i, i + h), slice(j, j + w))

    def smooth(maps):
        return interpolate(maps[part], (H, W), mode="bilinear", align_corners=True)

    def nearest(maps):
        return interpolate(maps[part].float(), (H, W), mode="nearest")

    expected = {
        "segmentation": nearest(targets["segmentation"][:, None])[:, 0],
        "depth": nearest(targets["depth"]) / scale,
        "normal": smooth(targets["normal"]),
    }
    expected_images = smooth(images)
    if mirrored:
        expected_images = expected_images.flip(-1)
        expected = {task: target.flip(-1) for task, target in expected.items()}
        expected["normal"][:, 0] *= -1
    magnified, changed = viewed(images, targets, scale, corner, mirrored)
    torch.testing.assert_close(magnified, expected_images)
    assert torch.equal(changed["segmentation"].float(), expected["segmentation"])
    torch.testing.assert_close(changed["depth"], expected["depth"])
    torch.testing.assert_close(changed["normal"], expected["normal"])


def test_published_size_is_cut_to_whole_parts():
    # 288x384 by 1.2 and 1.5, where rounding must not lose a row
    for length, parts in ((288, (288, 240, 192)), (384, (384, 320, 256))):
        scales = torch.tensor(dense.SCALES, dtype=torch.float64)
        assert tuple((length / scales).long().tolist()) == parts


def test_every_image_has_a_view_of_its_own():
    images, targets = drawn()
    scales = torch.tensor([1.0, 1.5, 1.2], dtype=torch.float64)
    corners = torch.tensor([[0.1, 0.9, 0.5], [0.2, 0.4, 0.8]], dtype=torch.float64)
    mirrored = torch.tensor([True, False, True])
    together = dense.augmented(images, targets, scales, corners, mirrored)
    for row in range(3):
        one = slice(row, row + 1)
        alone = dense.augmented(
            images[one],
            {task: target[one] for task, target in targets.items()},
            scales[one],
            corners[:, one],
            mirrored[one],
        )
        assert_same(alone, (together[0][one], {task: target[one] for task, target in together[1].items()}))


def test_drawn_views_are_all_scales_corners_and_both_sides():
    # Rows and columns numbered, so that every view tells where it is from.
    n, height, width = 600, 12, 12
    numbered = torch.arange(height * width).view(1, 1, height, width).expand(n, 1, height, width)
    depth = torch.full((n, 1, height, width), 6.0, dtype=torch.float16)
    split = dense.DenseSplit(
        (numbered / (height * width)).expand(n, 3, height, width).half(), {"depth": depth}, augment=True
    )
    ((images,), targets) = next(iter(split.batches(n, torch.Generator().manual_seed(0))))
    depths = targets["depth"].flatten(1)
    assert (depths == depths[:, :1]).all()
    counts = {
        round(6 / value.item(), 2): int(count)
        for value, count in zip(*depths[:, 0].unique(return_counts=True), strict=True)
    }
    assert set(counts) == {1.0, 1.2, 1.5}
    assert all(150 < count < 250 for count in counts.values())
    is_mirrored = images[:, 0, 0, 0] > images[:, 0, 0, -1]
    assert 250 < is_mirrored.sum() < 350
    rows = (images[:, 0, 0].min(dim=1).values * 144 / 12).round()  # first row of the part
    assert set(rows[depths[:, 0] == 4].tolist()) == {0, 1, 2, 3, 4}
    assert set(rows[depths[:, 0] == 5].tolist()) == {0, 1, 2}


def test_unknown_normals_do_not_turn_known_ones():
    images, _ = drawn()
    direction = torch.tensor([0.6, 0.0, 0.8]).view(1, 3, 1, 1)
    known = torch.rand(3, 1, H, W, generator=torch.Generator().manual_seed(1)) < 0.5
    _, changed = viewed(images, {"normal": direction * known}, scale=1.5)
    lengths = changed["normal"].norm(dim=1, keepdim=True)
    is_known = (lengths > 1e-3).squeeze(1)
    assert 0.1 < is_known.float().mean() < 1
    unit = (changed["normal"] / lengths).movedim(1, -1)[is_known]
    torch.testing.assert_close(unit, direction.view(1, 3).expand_as(unit))


@pytest.mark.parametrize("scale", [1.0, 1.2, 1.5])
def test_magnified_disparities_are_inverse_depths(scale):
    images, targets = drawn()
    _, of_depth = viewed(images, targets, scale, (0.3, 0.6), True)
    n = len(images)
    scales, corners = torch.full((n,), scale, dtype=torch.float64), torch.tensor([[0.3] * n, [0.6] * n]).double()
    inverse = {"depth": 1 / targets["depth"]}
    _, of_inverse = dense.augmented(images, inverse, scales, corners, torch.ones(n).bool(), is_inverse=True)
    torch.testing.assert_close(of_inverse["depth"], 1 / of_depth["depth"])


def test_pixels_without_a_depth_stay_so():
    images, targets = drawn()
    targets["depth"][:, :, ::2] = 0
    for is_inverse in (False, True):
        split = dense.DenseSplit(images, {"depth": targets["depth"]}, augment=True, is_inverse=is_inverse)
        ((_, changed),) = split.batches(3, torch.Generator().manual_seed(0))
        assert 0.3 < (changed["depth"] == 0).double().mean() < 0.7


# Resizing


@pytest.mark.parametrize("smooth", [False, True])
def test_resized_maps_keep_their_places(smooth):
    quarters = torch.zeros(1, 40, 80)
    quarters[0, :20, 40:] = 1
    small = dense.resized(quarters, (10, 20), smooth)
    assert (small.shape, small.dtype) == ((1, 10, 20), torch.float32)
    assert (small[0, :4, 11:] == 1).all()
    assert (small[0, 6:] == 0).all()
    assert (small[0, :, :9] == 0).all()


def test_resized_classes_are_not_mixed_and_resized_images_are():
    chequered = torch.arange(16 * 32).view(1, 16, 32) % 2
    assert set(dense.resized(chequered, (5, 7)).unique().tolist()) <= {0, 1}
    smooth = dense.resized(chequered.float(), (4, 8), smooth=True)
    assert 0.4 < smooth.min() <= smooth.max() < 0.6


# The generated data sets

TASKS = {"room": ["segmentation", "depth", "normal"], "street": ["segmentation", "depth"]}
SIZES = {"train": 18, "validation": 2, "test": 3}
SIZE = (16, 24)


def load(scene, tasks=None, size=SIZE, **changed):
    return dense_standin.load(scene, **(SIZES | changed), size=size, tasks=TASKS[scene] if tasks is None else tasks)


def splits_of(data):
    return {"train": data.train, "validation": data.validation, "test": data.test}


@pytest.mark.parametrize("scene", TASKS)
def test_format(scene):
    data = load(scene)
    height, width = SIZE
    for split, n in SIZES.items():
        part = splits_of(data)[split]
        assert (part.images.dtype, part.images.shape) == (torch.float16, (n, 3, height, width))
        assert 0 <= part.images.min() < 0.3
        assert 0.7 < part.images.max() <= 1
        shapes = {task: (target.dtype, tuple(target.shape)) for task, target in part.targets.items()}
        expected = {
            "segmentation": (torch.int8, (n, height, width)),
            "depth": (torch.float16, (n, 1, height, width)),
            "normal": (torch.float16, (n, 3, height, width)),
        }
        assert shapes == {task: expected[task] for task in TASKS[scene]}
        assert part.is_inverse == (scene == "street")
        assert not part.augment
    assert len(data.class_names) == {"room": 13, "street": 7}[scene]
    channels = {"segmentation": len(data.class_names), "depth": 1, "normal": 3}
    assert data.n_outputs == {task: channels[task] for task in TASKS[scene]}


@pytest.mark.parametrize("scene", TASKS)
def test_arrays_are_those_of_the_generator(scene):
    data = load(scene)
    expected = rooms.generate(scene, SIZES["train"], *SIZE, seed=0)
    assert torch.equal((data.train.images.float() * 255).round().byte(), expected.images.movedim(3, 1))
    assert torch.equal(data.train.targets["segmentation"], expected.labels)
    assert data.train.targets["segmentation"].min() == dense.UNLABELLED
    depth = expected.disparity if scene == "street" else expected.depth
    torch.testing.assert_close(data.train.targets["depth"][:, 0].float(), depth, rtol=2**-11, atol=1e-7)
    assert torch.equal(data.train.targets["depth"][:, 0] > 0, expected.depth > 0)
    if scene == "room":
        assert torch.equal(data.train.targets["normal"], expected.normals.movedim(3, 1).half())


def test_splits_share_no_image_and_smaller_ones_are_the_beginning_of_larger_ones():
    data, fewer = load("street"), load("street", train=5)
    images = [image.numpy().tobytes() for part in splits_of(data).values() for image in part.images]
    assert len(set(images)) == sum(SIZES.values())
    assert torch.equal(fewer.train.images, data.train.images[:5])
    assert torch.equal(fewer.test.images, data.test.images)


def test_first_image_of_the_generator():
    all_of_them, later = (rooms.generate("room", n, *SIZE, seed=4, first=first) for n, first in ((5, 0), (2, 3)))
    assert torch.equal(all_of_them.images[3:], later.images)
    assert torch.equal(all_of_them.labels[3:], later.labels)


def test_description():
    description = load("room").description
    assert (description.name, description.kind) == ("rooms", "stand-in")
    assert description.description == "stand-in: 18 + 2 + 3 generated rooms of 16x24 pixels"
    assert description.sizes == SIZES
    assert set(description.checksums) == {f"{split}/{part}" for split in SIZES for part in ("image", *TASKS["room"])}
    assert len(set(description.checksums.values())) == 12
    assert load("room", ["depth"]).description.checksums.items() <= description.checksums.items()
    assert load("street").description.name == "streets"


def test_augmentation_is_of_training_images_only():
    data = dense_standin.load("room", **SIZES, size=SIZE, tasks=["depth"], augment=True)
    assert [part.augment for part in splits_of(data).values()] == [True, False, False]


def cached():
    return sorted(path for path in folders.cache().rglob("*") if path.is_file())


def test_images_are_generated_once(monkeypatch):
    first = load("street")
    before = {path: path.stat().st_mtime_ns for path in cached()}
    assert len(before) == 3
    monkeypatch.setattr(rooms, "generate", None)
    again = load("street")
    assert again.description == first.description
    assert torch.equal(again.train.images, first.train.images)
    load("street", ["depth"])  # other tasks need no other file
    assert {path: path.stat().st_mtime_ns for path in cached()} == before


def test_other_scenes_sizes_and_numbers_have_files_of_their_own():
    for scene, size, n in (("room", SIZE, 3), ("street", SIZE, 3), ("room", (24, 16), 3), ("room", SIZE, 4)):
        assert load(scene, size=size, test=n).test.images.shape == (n, 3, *size)
    assert len(cached()) == 3 + 3 + 3 + 1


@pytest.mark.parametrize("damage", ["cut", "empty", "changed", "foreign"])
def test_broken_cache_is_made_again(damage):
    expected = load("room")
    path = next(path for path in cached() if "-18-" in path.name)
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "cut": whole[:middle],
            "empty": b"",
            "changed": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "foreign": b"<html>Moved</html>",
        }[damage]
    )
    again = load("room")
    assert again.description == expected.description
    assert torch.equal(again.train.images, expected.train.images)
    with np.load(path) as file:
        assert np.array_equal(file["segmentation"], expected.train.targets["segmentation"].numpy())


def test_files_of_another_generator_are_not_used(monkeypatch, tmp_path):
    load("street", test=1)
    before = cached()
    changed = tmp_path / "rooms.py"
    changed.write_text("# another one")
    monkeypatch.setattr(dense_standin, "__file__", str(tmp_path / "dense_standin.py"))
    (tmp_path / "dense_standin.py").write_text("")
    load("street", test=1)
    assert len(cached()) == 2 * len(before)


def test_full_disk(monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\).*MTLUTILS_CACHE") as error:
        load("street")
    assert "\n" not in str(error.value)
    assert not cached()


@pytest.mark.parametrize(
    ("scene", "changed", "message"),
    [
        ("garden", {"tasks": []}, "scene must be one of room, street, got 'garden'"),
        ("street", {"tasks": ["depth", "normal"]}, "tasks of streets must be of segmentation, depth, got 'normal'"),
        ("room", {"tasks": ["edges"]}, "tasks of rooms must be of segmentation, depth, normal, got 'edges'"),
        ("room", {"train": 0}, "train must be at least 1, got 0"),
        ("room", {"validation": -1}, "validation must be at least 1, got -1"),
        ("room", {"size": (4, 24)}, "height must be a whole number of at least 8, got 4"),
    ],
)
def test_wrong_arguments(scene, changed, message):
    with pytest.raises(InputError, match=message) as error:
        load(scene, **({"tasks": ["depth"]} | changed))
    assert "\n" not in str(error.value)
    assert not cached()


def test_a_network_trains_on_streets():
    data = dense_standin.load("street", 8, 2, 2, SIZE, ["segmentation", "depth"], augment=True)
    result = trained_on(data, splits_of(data), epochs=3, batch_size=4)
    total = np.sum([result.curves[f"train/loss/{task}"] for task in data.n_outputs], axis=0)
    assert total[-1] < total[0]
