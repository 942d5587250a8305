"""Fingers: the files, what is drawn of them, the packed copy, and the stand-in."""

import os
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from mtlutils import folders
from mtlutils.data import fingers, fingers_standin
from mtlutils.errors import InputError

LABELS = [f"{count}{hand}" for count in range(6) for hand in "LR"]
N_OF_LABEL = {"train": 10, "test": 4}


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "PNG")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """120 + 48 images of 8×8, each of one value that no other has; the file's name says nothing but its label."""
    monkeypatch.setenv("MTLUTILS_DATA", str(tmp_path / "data"))
    place = tmp_path / "data" / "fingers"
    values = {}
    for split, n in N_OF_LABEL.items():
        for label in LABELS:
            for _ in range(n):
                value = len(values) + 1
                path = place / split / f"{value * 37 % 256:02x}-{value}_{label}.png"
                write(path, np.full((8, 8), value, dtype=np.uint8))
                values[path] = value
    return values


def load(*tasks, **options):
    options = {"size": 8, "validation_images": 24} | options
    return fingers.load("real", tasks or ("count", "hand"), **options)


def splits_of(data):
    return {"train": data.train, "validation": data.validation, "test": data.test}


def values_of(part):
    return part.images[:, 0, 0, 0].tolist()


def assert_one_line(error):
    assert "\n" not in str(error.value)


# Tasks


def test_classes_are_those_of_the_names(files):
    label_of = {value: path.stem[-2:] for path, value in files.items()}
    data = load("count", "hand", "joint")
    for part in splits_of(data).values():
        assert (part.images.dtype, part.images.shape) == (torch.uint8, (len(part), 8, 8, 1))
        assert (part.images == part.images[:, :1, :1]).all()
        labels = [label_of[value] for value in values_of(part)]
        assert part.targets["count"].tolist() == [int(label[0]) for label in labels]
        assert part.targets["hand"].tolist() == [int(label[1] == "R") for label in labels]
        assert part.targets["joint"].tolist() == [LABELS.index(label) for label in labels]
        assert all(classes.dtype == torch.int64 for classes in part.targets.values())


@pytest.mark.parametrize(
    ("tasks", "n_classes", "names"),
    [
        (["count", "hand"], {"count": 6, "hand": 2}, [*"012345", "left", "right"]),
        (["hand"], {"hand": 2}, ["left", "right"]),
        (["joint"], {"joint": 12}, [f"{count} {hand}" for count in range(6) for hand in ("left", "right")]),
    ],
)
@pytest.mark.parametrize("kind", ["real", "stand-in"])
def test_only_the_tasks_that_were_asked_for(files, kind, tasks, n_classes, names):
    data = fingers.load(kind, iter(tasks), 8, 12, 12, 12)
    assert data.n_classes == n_classes
    assert data.class_names == names
    assert all(list(part.targets) == tasks for part in splits_of(data).values())


@pytest.mark.parametrize("tasks", [["count", "foot"], []])
def test_other_tasks(tasks):
    with pytest.raises(InputError, match=r"tasks must be one or more of count, hand, joint, got (count, foot|none)$"):
        fingers.load("stand-in", tasks)


@pytest.mark.parametrize("kind", ["real", "stand-in"])
def test_batches_are_of_one_channel_from_0_to_1(files, kind):
    data = fingers.load(kind, size=8, train_images=50, validation_images=12)
    batches = list(data.train.batches(20, torch.Generator().manual_seed(1)))
    assert [(len(images), list(targets)) for (images,), targets in batches] == [
        (20, ["count", "hand"]),
        (20, ["count", "hand"]),
        (10, ["count", "hand"]),
    ]
    images = torch.cat([images for (images,), _ in batches])
    assert (images.shape, images.dtype) == ((50, 1, 8, 8), torch.float32)
    sorted_sums = images.sum(dim=(1, 2, 3)).sort().values
    torch.testing.assert_close(sorted_sums, (data.train.images / 255).sum(dim=(1, 2, 3)).sort().values)
    assert 0 <= images.min() < images.max() <= 1


# What is drawn


def test_splits_are_disjoint_and_of_their_own_folders(files):
    data = load()
    train, validation, test = (values_of(part) for part in splits_of(data).values())
    assert sorted(train + validation) == [value for path, value in files.items() if path.parent.name == "train"]
    assert sorted(test) == [value for path, value in files.items() if path.parent.name == "test"]
    assert data.description.sizes == {"train": 96, "validation": 24, "test": 48}


def test_every_split_has_as_many_of_each_class(files):
    data = load("joint", train_images=36, test_images=12)
    counts = [part.targets["joint"].bincount(minlength=12).tolist() for part in splits_of(data).values()]
    assert counts == [[3] * 12, [2] * 12, [1] * 12]
    uneven = load("joint", train_images=31, validation_images=25, test_images=23)
    for part in splits_of(uneven).values():
        of_class = part.targets["joint"].bincount(minlength=12)
        assert of_class.max() - of_class.min() == 1


def test_draws_are_the_same_each_time_and_fewer_are_a_part_of_more(files):
    few, more, again = (load(train_images=n, test_images=n) for n in (13, 30, 30))
    for split in ("train", "test"):
        assert values_of(splits_of(more)[split]) == values_of(splits_of(again)[split])
        assert set(values_of(splits_of(few)[split])) < set(values_of(splits_of(more)[split]))
    assert values_of(few.validation) == values_of(more.validation)
    # at random: not the first ones of each class
    first = [min(value for path, value in files.items() if path.stem.endswith(label)) for label in LABELS]
    assert len(set(first) & set(values_of(more.validation))) < 12


def test_classes_of_different_sizes_are_drawn_as_equally_as_can_be(files):
    for path in [path for path in files if path.parent.name == "train" and path.stem.endswith("2R")][:8]:
        path.unlink()
    data = load("joint", train_images=33, validation_images=12)
    assert data.validation.targets["joint"].bincount().tolist() == [1] * 12
    of_class = data.train.targets["joint"].bincount().tolist()
    assert of_class[LABELS.index("2R")] == 1
    assert sorted(of_class) == [1, 2, *[3] * 10]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("kind", ["real", "stand-in"])
def test_number_of_images_that_is_not_positive(kind, split):
    with pytest.raises(InputError, match=f"^{split}_images must be at least 1, got 0$"):
        fingers.load(kind, **{f"{split}_images": 0})


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"train_images": 97},
            "train: has 120 images, too few for 97 training and 24 validation images; ask for fewer",
        ),
        ({"validation_images": 120}, "train: has 120 images, too few for 120 validation images; ask for fewer"),
        ({"test_images": 49}, "test: has 48 images, fewer than 49; ask for fewer"),
        ({"size": 9}, "the images are of 8x8 pixels; size must be 1 to 8, got 9"),
        ({"size": 0}, "the images are of 8x8 pixels; size must be 1 to 8, got 0"),
    ],
)
def test_more_than_there_is(files, options, reason):
    with pytest.raises(InputError, match=f"{reason}$") as error:
        load(**options)
    assert_one_line(error)
    load(train_images=96, test_images=48)


# Size


def test_larger_images_are_averaged_and_halves_rounded_up(files):
    pixels = {
        path: np.random.default_rng(value).integers(0, 256, (8, 8), dtype=np.uint8) for path, value in files.items()
    }
    for path, image in pixels.items():
        write(path, image)
    corners = {}
    for image in pixels.values():
        a, b, c, d = (image[i::2, j::2].astype(int) for i in (0, 1) for j in (0, 1))
        corners[(a + b + c + d + 2 >> 2).astype(np.uint8).tobytes()] = True
    data = load(size=4)
    found = [image.numpy().tobytes() for part in splits_of(data).values() for image in part.images]
    assert len(found) == len(set(found)) == 168
    assert set(found) == set(corners)
    # files as large as asked for are left as they are
    untouched = {image.numpy().tobytes() for part in splits_of(load()).values() for image in part.images}
    assert untouched == {image.tobytes() for image in pixels.values()}
    # the digest is of the files
    assert data.description.checksums == load().description.checksums
    assert data.description.description == load().description.description


# Files


def test_description(files):
    described = load().description
    assert (described.name, described.kind) == ("Fingers", "real")
    assert described.description == ("Fingers (120 + 48 images of 8x8 pixels; published: 18,000 + 3,600 of 128x128)")
    assert described.checksums == fingers.checksums()


def test_description_of_the_published_numbers(files, monkeypatch):
    monkeypatch.setattr(fingers, "PUBLISHED", {"train": 120, "test": 48})
    assert "published:" in load().description.description  # of another size
    for path in files:
        write(path, np.zeros((128, 128), dtype=np.uint8))
    assert load().description.description == "Fingers (120 + 48 images of 128x128 pixels; as published)"


def test_files_of_other_kinds_do_not_count(files):
    before = fingers.checksums()
    place = next(iter(files)).parent
    (place / "._1_3L.png").write_bytes(b"of the file system")
    (place / "README.txt").write_text("hands")
    (place / "fingers_1L.png").mkdir()
    assert fingers.checksums() == before


def change_pixel(path):
    image = np.array(Image.open(path))
    image[3, 3] += 100
    write(path, image)
    os.utime(path, ns=(1, 1))  # whatever the clock's resolution


def relabel(path):
    path.rename(path.with_name(path.name.replace("_0L", "_1R")))


@pytest.mark.parametrize("change", [change_pixel, relabel])
def test_change_of_a_file_is_seen(files, change):
    before = fingers.checksums()
    change(next(iter(files)))
    after = fingers.checksums()
    assert after["train"] != before["train"]
    assert after["test"] == before["test"]


def test_files_are_read_once(files, monkeypatch):
    first = load()
    with monkeypatch.context() as patched:
        patched.setattr(Image, "open", None)
        again = load(size=4)
        assert again.description == first.description
        assert values_of(again.train) == values_of(first.train)
        patched.setattr(fingers, "_LAYOUT", 0)
        with pytest.raises(InputError):
            load()
    packed = sorted((folders.cache() / "fingers").iterdir())
    assert [path.name.split("-")[0] for path in packed] == ["test", "train"]
    # and again where the copy is broken
    content = packed[0].read_bytes()
    for broken in (content[:-100], b"", b"PK"):
        packed[0].write_bytes(broken)
        assert values_of(load().test) == values_of(first.test)
        assert packed[0].read_bytes() == content


def test_cache_that_cannot_be_written(files, monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MTLUTILS_CACHE", str(tmp_path / "file"))
    assert load().description.sizes["train"] == 96
    assert "not cached (Not a directory); images are read again next time" in capsys.readouterr().err


@pytest.mark.parametrize("gone", ["train", "test"])
def test_missing_folder(files, gone):
    assert fingers.is_there()
    place = fingers.folder() / gone
    place.rename(place.with_name("elsewhere"))
    assert not fingers.is_there()
    for function in (fingers.checksums, load):
        with pytest.raises(InputError, match=r"download Fingers \(21,600 files of 128x128 pixels, about") as error:
            function()
        assert str(error.value).startswith(f"{place}: no such folder, or no PNG files in it; ")
        assert fingers.PAGE in str(error.value)
        assert str(fingers.folder()) in str(error.value)
        assert_one_line(error)


@pytest.mark.parametrize("name", ["1_6L", "1_3", "1_3l", "1_L3", "13L", "1_33L", "1_3L-copy", "1_3L "])
def test_name_without_a_label(files, name):
    path = fingers.folder() / "test" / f"{name}.png"
    write(path, np.zeros((8, 8), dtype=np.uint8))
    with pytest.raises(InputError, match=r"its name does not end with a label, as in _3L\.png") as error:
        load()
    assert str(error.value).startswith(f"{path}: ")
    assert_one_line(error)


@pytest.mark.parametrize("label", ["0L", "4R"])
def test_class_without_images(files, label):
    for path in files:
        if path.parent.name == "test" and path.stem.endswith(label):
            path.unlink()
    with pytest.raises(InputError, match=f"test: has 44 images, but none whose name ends with _{label}; get the files"):
        load()


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


def another_format(path):
    Image.new("L", (8, 8)).save(path, "BMP")


def colour(path):
    write(path, np.zeros((8, 8, 3), dtype=np.uint8))


def deep(path):
    write(path, np.zeros((8, 8), dtype=np.uint16))


def larger(path):
    write(path, np.zeros((16, 16), dtype=np.uint8))


def oblong(path):
    write(path, np.zeros((8, 9), dtype=np.uint8))


@pytest.mark.parametrize(
    ("breaks", "reason"),
    [
        (cut, "not a readable PNG file"),
        (another_format, "not a readable PNG file"),
        (colour, r"its pixels are RGB, not 8-bit grey \(L\)"),
        (deep, "its pixels are I;16, not 8-bit grey"),
        (larger, "16x16 pixels, expected 8x8 as .*png beside it"),
        (oblong, "8x9 pixels, expected 8x8 as .*png beside it"),
    ],
)
def test_broken_file(files, breaks, reason):
    path = sorted(path for path in files if path.parent.name == "test")[20]
    breaks(path)
    for function in (load, fingers.checksums):
        with pytest.raises(InputError, match=f"{reason}.*; get the file again$") as error:
            function()
        assert str(error.value).startswith(f"{path}: ")
        assert_one_line(error)


def test_images_that_are_no_squares(files):
    for path in files:
        oblong(path)
    with pytest.raises(InputError, match="8x9 pixels, expected a square; get the file again"):
        load()


def test_folders_of_different_sizes(files):
    for path in files:
        if path.parent.name == "test":
            larger(path)
    with pytest.raises(InputError, match="test: the images are of 16x16 pixels, those of train of 8x8; get either"):
        load()


# The stand-in


@pytest.fixture(scope="module")
def drawn():
    return fingers_standin.generate({"train": 1200, "test": 600})


def test_standin_through_the_loader():
    data = fingers.load("stand-in", ["count", "hand", "joint"], 32, 120, 60, 36)
    described = data.description
    assert (described.name, described.kind) == ("drawn hands", "stand-in")
    assert described.description == "stand-in: drawn hands of 32x32 pixels"
    assert described.sizes == {split: len(part) for split, part in splits_of(data).items()}
    assert described.sizes == {"train": 120, "validation": 60, "test": 36}
    assert len(set(described.checksums.values())) == 3
    for part in splits_of(data).values():
        assert part.images.shape == (len(part), 32, 32, 1)
        assert torch.equal(2 * part.targets["count"] + part.targets["hand"], part.targets["joint"])
    assert fingers.load("stand-in", ["joint"], 32, 120, 60, 36).description == described
    other = fingers.load("stand-in", ["joint"], 16, 120, 60, 36).description
    assert not set(other.checksums.values()) & set(described.checksums.values())


def test_standin_has_sizes_of_its_own():
    data = fingers.load("stand-in", size=8, validation_images=12)
    assert data.description.sizes == {"train": 2400, "validation": 12, "test": 600}


def test_standin_format_and_balance(drawn):
    for split, n in (("train", 1200), ("test", 600)):
        images, joint = drawn[split]
        assert (images.shape, images.dtype) == ((n, 64, 64), np.uint8)
        assert (joint.shape, joint.dtype) == ((n,), np.int64)
        assert np.bincount(joint).tolist() == [n // 12] * 12
        # shuffled: neither sorted nor in turns
        assert len({tuple(turn) for turn in joint.reshape(-1, 12)}) == n // 12
    assert len({image.tobytes() for images, _ in drawn.values() for image in images}) == 1800


@pytest.mark.parametrize("n", [1, 13, 60, 61, 599])
def test_fewer_drawn_images_are_the_beginning_of_more(drawn, n):
    images, joint = fingers_standin.generate({"train": n})["train"]
    assert np.array_equal(images, drawn["train"][0][:n])
    assert np.array_equal(joint, drawn["train"][1][:n])
    assert max(counts := np.bincount(joint, minlength=12)) - min(counts) <= 1


def test_standin_is_of_its_seed():
    first, again, other = (fingers_standin.generate({"a": 24}, 16, seed)["a"][0] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_ways_show_their_number_and_differ():
    for count, ways in enumerate(fingers_standin._WAYS):
        assert ways.sum(axis=1).tolist() == [count] * 3
        assert len({tuple(way) for way in ways.tolist()}) == (1 if count in (0, 5) else 3)


def test_drawn_hands_are_bright_on_a_dark_noisy_ground_and_inside_the_image(drawn):
    images, joint = drawn["train"]
    ground = images[:, :4].reshape(len(images), -1).astype(float)
    assert 35 < ground.mean() < 62
    assert (ground.std(axis=1) > 2).all()
    bright = images > 110
    border = np.concatenate([bright[:, 0], bright[:, -1], bright[:, :, 0], bright[:, :, -1]], axis=1)
    assert border.any(axis=1).mean() < 0.01
    # every finger adds to the hand's area
    area = [bright[joint // 2 == count].mean() for count in range(6)]
    assert area == sorted(area)
    assert 0.02 < area[0] < area[5] < 0.25


def test_right_hands_are_left_hands_mirrored(drawn):
    # Of many: the mean of left hands, mirrored, is nearer to that of right hands than either is to the other.
    images, joint = drawn["train"]
    for count in range(6):
        left, right = (images[joint == 2 * count + hand].mean(axis=0) for hand in (0, 1))
        assert np.abs(left[:, ::-1] - right).mean() < 0.75 * np.abs(left - right).mean()


@pytest.mark.parametrize(("n_images", "size"), [({"a": 0}, 8), ({"a": -1}, 8), ({"a": 12}, 0)])
def test_standin_of_nothing(n_images, size):
    with pytest.raises(InputError, match=r"(number of a images|size) must be at least 1, got"):
        fingers_standin.generate(n_images, size)


def linear_accuracy(drawn, task, rows=lambda joint: joint >= 0):
    (images, joint), (of_test, expected) = drawn["train"], drawn["test"]
    held_in, held_out = rows(joint), rows(expected)

    def pixels(images):
        return images.reshape(-1, 16, 4, 16, 4).mean(axis=(2, 4)).reshape(len(images), -1)

    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(pixels(images[held_in]), task(joint[held_in]))
    return model.score(pixels(of_test[held_out]), task(expected[held_out]))


def test_pixels_say_something_of_number_and_hand_and_not_all(drawn):
    # Chance is 0.17 and 0.5. The network of the experiment finds nearly all.
    assert 0.35 < linear_accuracy(drawn, lambda joint: joint // 2) < 0.7  # 0.55
    assert 0.65 < linear_accuracy(drawn, lambda joint: joint % 2) < 0.95  # 0.85


def test_hand_can_be_told_of_a_fist(drawn):
    assert linear_accuracy(drawn, lambda joint: joint % 2, lambda joint: joint < 2) > 0.6  # 0.76 of 100


# The real files


def test_real_files(real_data):
    if not fingers.is_there():
        pytest.skip("MTLUTILS_DATA has no fingers")
    data = fingers.load("real", ["joint"])
    for part in splits_of(data).values():
        assert part.images.shape == (len(part), 64, 64, 1)
        assert set(Counter(part.targets["joint"].tolist()).values()) == {len(part) // 12}
    images = [image.numpy().tobytes() for part in splits_of(data).values() for image in part.images]
    assert len(set(images)) == len(images)
