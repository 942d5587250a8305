"""CityScapes: MTAN's files, and what is made of the official archives."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shared import trained_on, write_set

from mtlutils.data import cityscapes, cityscapes_official, rooms
from mtlutils.errors import InputError

H, W = 8, 16
SIZES = {"train": 4, "val": 3}
PARTS = ("image", "label_7", "depth")
AGAIN = "unpack the archive again"


def assert_one_line(error):
    assert "\n" not in str(error.value)


# MTAN's files


def made_up(seed):
    """What the three files of an image hold, with unlabelled pixels and pixels without a disparity."""
    rng = np.random.default_rng(seed)
    known = rng.random((H, W, 1)) < 0.8
    return {
        "image": rng.random((H, W, 3)),
        "label_7": rng.integers(-1, 7, (H, W)).astype(np.float64),
        "depth": (rng.integers(1, 32258, (H, W, 1)) / 65535 * known).astype(np.float32),
    }


SEEDS = {(split, i): 10 * (split == "val") + i for split, n in SIZES.items() for i in range(n)}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A tiny set in the published layout, and where it lies."""
    monkeypatch.setenv("MTLUTILS_DATA", str(tmp_path / "data"))
    place = tmp_path / "data" / "cityscapes"
    assert write_set(place, SIZES, made_up) == SEEDS
    return place


def test_arrays_are_those_of_the_files(files):
    data = cityscapes.load()
    assert {"train": len(data.train), "val": len(data.test)} == SIZES
    assert data.validation is None
    assert data.n_outputs == {"segmentation": 7, "depth": 1}
    for (split, i), seed in SEEDS.items():
        part, expected = getattr(data, "test" if split == "val" else split), made_up(seed)
        assert part.is_inverse
        assert (part.images.dtype, part.targets["segmentation"].dtype) == (torch.float16, torch.int8)
        assert np.array_equal(part.targets["segmentation"][i].numpy(), expected["label_7"])
        for array, name in ((part.images, "image"), (part.targets["depth"], "depth")):
            found = array[i].numpy().astype(float)
            assert np.allclose(found, np.moveaxis(expected[name], 2, 0), rtol=2**-11, atol=3e-8)
        assert np.array_equal(part.targets["depth"][i].numpy()[0] > 0, expected["depth"][..., 0] > 0)


def test_smallest_disparity_is_still_one(files):
    path = files / "train" / "depth" / "0.npy"
    np.save(path, np.full((H, W, 1), 1 / 65535))
    assert (cityscapes.load().train.targets["depth"][0] > 0).all()


def test_description(files, monkeypatch):
    description = cityscapes.load().description
    assert (description.name, description.kind) == ("CityScapes", "real")
    assert description.sizes == {"train": 4, "test": 3}
    assert description.description == (
        "CityScapes (4 + 3 images of 8x16 pixels, not the published number; files in the layout of MTAN's authors)"
    )
    assert set(description.checksums) == {f"{split}/{part}" for split in SIZES for part in PARTS}
    for split, n in SIZES.items():
        monkeypatch.setitem(cityscapes.PUBLISHED, split, n)
    assert "8x16 pixels, the published number;" in cityscapes.load().description.description


def test_classes_are_those_of_the_stand_in():
    assert list(rooms.CLASS_NAMES["street"]) == cityscapes.CLASS_NAMES == list(cityscapes_official._IDS)


@pytest.mark.parametrize("tasks", [["depth"], ["depth", "segmentation"], []])
def test_only_the_tasks_asked_for_are_read(files, tasks):
    for task, part in (("segmentation", "label_7"), ("depth", "depth")):
        if task not in tasks:
            shutil.rmtree(files / "train" / part)
    assert cityscapes.is_there(tasks)
    data = cityscapes.load(tasks)
    assert list(data.train.targets) == list(data.n_outputs) == tasks
    assert len(data.description.checksums) == 2 * (1 + len(tasks))


def test_unknown_task():
    with pytest.raises(InputError, match="tasks must be of segmentation, depth, got 'normal'"):
        cityscapes.load(["depth", "normal"])


def test_augmentation_is_of_training_images_only_and_off_by_default(files):
    assert not cityscapes.load().train.augment
    data = cityscapes.load(augment=True)
    assert (data.train.augment, data.test.augment) == (True, False)


def test_a_network_trains_on_it(files):
    data = cityscapes.load(augment=True)
    trained_on(data, {"train": data.train, "validation": data.test, "test": data.test}, epochs=2, batch_size=2)


def test_nothing_there_says_what_to_get_from_where_and_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MTLUTILS_DATA", str(tmp_path))
    assert not cityscapes.is_there()
    with pytest.raises(InputError) as error:
        cityscapes.load()
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'cityscapes' / 'train' / 'image'}: no such folder")
    for what in (
        *("https://github.com/lorenmt/mtan", "651 MB", str(tmp_path / "cityscapes" / "train" / "image" / "0.npy")),
        *("https://www.cityscapes-dataset.com", "11 GB", "prepare_official", "passed on", "MTLUTILS_DATA"),
    ):
        assert what in message
    assert_one_line(error)


@pytest.mark.parametrize("split", SIZES)
@pytest.mark.parametrize("part", PARTS)
def test_missing_file_or_folder_is_named(files, split, part):
    (files / split / part / "1.npy").unlink()
    with pytest.raises(InputError, match=f"1.npy: missing, with {SIZES[split] - 1} files beside it; {AGAIN}") as error:
        cityscapes.load()
    assert_one_line(error)
    shutil.rmtree(files / split / part)
    with pytest.raises(InputError, match=rf"{split}.{part}: no such folder"):
        cityscapes.load()


GOOD = made_up(0)


@pytest.mark.parametrize(
    ("part", "array", "message"),
    [
        ("image", (GOOD["image"] * 255).astype(np.uint8), r"uint8 \(8, 16, 3\), expected floats \(H, W, 3\)"),
        ("image", GOOD["image"] * 255, "expected numbers from 0 to 1"),
        ("image", GOOD["image"].transpose(2, 0, 1), r"float64 \(3, 8, 16\), expected floats"),
        ("label_7", GOOD["label_7"] + 1, "numbers from 0 to 7, expected whole numbers from -1 to 6"),
        ("label_7", np.where(GOOD["label_7"] < 0, 255, GOOD["label_7"]), "numbers from 0 to 255"),
        ("label_7", GOOD["label_7"][..., None], r"float64 \(8, 16, 1\), expected numbers \(H, W\)"),
        ("depth", GOOD["depth"] * 256, "expected disparities from 0 to 1"),
        ("depth", GOOD["depth"] - 0.1, "numbers from -0.1"),
        ("depth", np.full((H, W, 1), np.nan), "numbers from nan to nan"),
        ("depth", GOOD["depth"][..., 0], r"float32 \(8, 16\), expected floats \(H, W, 1\)"),
        ("depth", (GOOD["depth"] * 65535).astype(np.uint16), "uint16"),
    ],
)
def test_broken_contents_are_named(files, part, array, message):
    path = files / "val" / part / "2.npy"
    np.save(path, array)
    with pytest.raises(InputError, match=message) as error:
        cityscapes.load()
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).endswith(AGAIN)
    assert_one_line(error)


@pytest.mark.parametrize("content", [b"", b"<html>Moved</html>", None], ids=["empty", "web page", "cut"])
def test_cut_or_foreign_file_is_named(files, content):
    path = files / "train" / "depth" / "1.npy"
    path.write_bytes(path.read_bytes()[:-1] if content is None else content)
    with pytest.raises(InputError, match=r"not a readable .npy file") as error:
        cityscapes.load()
    assert str(error.value).startswith(f"{path}: ")
    assert_one_line(error)


# The official archives

FRAME = (32, 64)
NAMES = {
    "train": ["aachen_000000_000019", "aachen_000001_000019", "zurich_000000_000019"],
    "val": ["lindau_000000_000019", "munster_000000_000019"],
    "test": ["berlin_000000_000019"],
}
SOURCES = {"leftImg8bit": "leftImg8bit.png", "gtFine": "gtFine_labelIds.png", "disparity": "disparity.png"}
# From the published list of labels, by hand.
CATEGORIES = [
    *(-1, -1, -1, -1, -1, -1, -1),  # unlabeled to ground
    *(0, 0, 0, 0),  # road, sidewalk, parking, rail track
    *(1, 1, 1, 1, 1, 1),  # building, wall, fence, guard rail, bridge, tunnel
    *(2, 2, 2, 2),  # pole, polegroup, traffic light, traffic sign
    *(3, 3, 4, 5, 5),  # vegetation, terrain, sky, person, rider
    *(6, 6, 6, 6, 6, 6, 6, 6),  # car, truck, bus, caravan, trailer, train, motorcycle, bicycle
]


def frames(name):
    rng = np.random.default_rng(sum(name.encode()))
    return {
        "leftImg8bit": rng.integers(0, 256, (*FRAME, 3), dtype=np.uint8),
        "gtFine": rng.integers(0, len(CATEGORIES), FRAME, dtype=np.uint8),
        "disparity": (rng.integers(0, 32258, FRAME) * (rng.random(FRAME) < 0.7)).astype(np.uint16),
    }


def path_of(folder, source, split, name):
    return folder / source / split / name.split("_")[0] / f"{name}_{SOURCES[source]}"


@pytest.fixture
def official(tmp_path, monkeypatch):
    """Frames of another size in the official folders, with what else lies in them."""
    monkeypatch.setattr(cityscapes_official, "_FRAME", FRAME)
    monkeypatch.setenv("MTLUTILS_DATA", str(tmp_path / "data"))
    for split, names in NAMES.items():
        for name in names:
            for source, array in frames(name).items():
                path = path_of(tmp_path, source, split, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
            path_of(tmp_path, "gtFine", split, name).with_name(f"{name}_gtFine_polygons.json").write_text("{}")
    (tmp_path / "gtFine" / "train" / "aachen" / "._aachen_000000_000019_gtFine_labelIds.png").write_text("of macOS")
    (tmp_path / "gtFine" / "license.txt").write_text("terms")
    return tmp_path


def prepare(folder, suffix="", size=(8, 16)):
    sources = [folder / f"{source}{suffix}" for source in SOURCES]
    return cityscapes_official.prepare_official(*sources, folder / "data" / "cityscapes", size)


def zipped(folder):
    for source in SOURCES:
        shutil.make_archive(str(folder / f"{source}_trainvaltest"), "zip", folder, source)
        shutil.rmtree(folder / source)
    return "_trainvaltest.zip"


@pytest.mark.parametrize("in_archives", [False, True])
def test_prepared_set_is_that_of_the_official_files(official, in_archives):
    assert prepare(official, zipped(official) if in_archives else "") == cityscapes.folder()
    found = {path.relative_to(cityscapes.folder()).as_posix() for path in cityscapes.folder().rglob("*.npy")}
    assert found == {f"{split}/{part}/{i}.npy" for split in SIZES for part in PARTS for i in range(len(NAMES[split]))}
    rows, columns = np.ix_(4 * np.arange(8) + 2, 4 * np.arange(16) + 2)
    for split in SIZES:
        for i, name in enumerate(NAMES[split]):
            image, label, depth = (np.load(cityscapes.folder() / split / part / f"{i}.npy") for part in PARTS)
            assert (image.shape, label.shape, depth.shape) == ((8, 16, 3), (8, 16), (8, 16, 1))
            expected = frames(name)
            assert np.array_equal(label, np.array(CATEGORIES)[expected["gtFine"][rows, columns]])
            numbers = expected["disparity"][rows, columns]
            assert np.allclose(depth[..., 0] * 65535, numbers, rtol=1e-6, atol=0)
            for channel in range(3):
                mean = expected["leftImg8bit"][..., channel].mean() / 255
                assert image[..., channel].mean() == pytest.approx(mean, abs=0.02)
    data = cityscapes.load()
    assert data.description.sizes == {"train": 3, "test": 2}
    assert "prepared from the official images, labels and disparities" in data.description.description
    assert (data.test.targets["depth"][0, 0].numpy() > 0).any()


def test_official_size_and_the_greatest_disparity(official, monkeypatch):
    """32,257 is reported of the official files, and 0.4922 of MTAN's (issue 25 of its repository)."""
    monkeypatch.undo()
    for split, names in NAMES.items():
        for name in names[1:]:
            path_of(official, "leftImg8bit", split, name).unlink()
        for source, array in frames(names[0]).items():
            whole = np.full((1024, 2048, *array.shape[2:]), 32257 if source == "disparity" else 7, array.dtype)
            Image.fromarray(whole).save(path_of(official, source, split, names[0]), compress_level=1)
    monkeypatch.setenv("MTLUTILS_DATA", str(official / "data"))
    prepare(official, size=(128, 256))
    image, label, depth = (np.load(cityscapes.folder() / "val" / part / "0.npy") for part in PARTS)
    assert (image.shape, label.shape, depth.shape) == ((128, 256, 3), (128, 256), (128, 256, 1))
    assert (label == 0).all()
    assert depth == pytest.approx(0.4922, abs=5e-5)


def test_images_keep_their_places_and_channels(official):
    frame = np.zeros((*FRAME, 3), np.uint8)
    frame[:16, :, 0] = 255  # red: the upper half
    frame[:, :32, 1] = 255  # green: the left half
    Image.fromarray(frame).save(path_of(official, "leftImg8bit", "train", NAMES["train"][0]))
    prepare(official)
    red, green, blue = np.load(cityscapes.folder() / "train" / "image" / "0.npy").transpose(2, 0, 1)
    assert np.allclose(red[:3], 1) and np.allclose(red[5:], 0)
    assert np.allclose(green[:, :7], 1) and np.allclose(green[:, 9:], 0)
    assert np.allclose(blue, 0)


def test_prepared_set_is_not_written_over(official):
    prepare(official)
    before = sorted(official.rglob("*"))
    with pytest.raises(InputError, match="cityscapes: is there already; move it away first") as error:
        prepare(official)
    assert_one_line(error)
    assert sorted(official.rglob("*")) == before


def assert_fails(official, start, message, suffix=""):
    with pytest.raises(InputError, match=message) as error:
        prepare(official, suffix)
    assert str(error.value).startswith(f"{start}: ")
    assert "https://www.cityscapes-dataset.com" in str(error.value)
    assert_one_line(error)
    assert not list((official / "data").glob("*"))
    assert not list((official / "data").glob(".*"))


@pytest.mark.parametrize("source", SOURCES)
def test_missing_folder_or_file_is_named(official, source):
    path = path_of(official, source, "val", NAMES["val"][1])
    path.unlink()
    if source != "leftImg8bit":
        assert_fails(official, official / source / "val", f"has no {path.name}")
    shutil.rmtree(official / source / "val")
    assert_fails(official, official / source / "val", "no such folder")
    (official / source / "val").mkdir()
    assert_fails(official, official / source / "val", "has no CITY/CITY_")
    shutil.rmtree(official / source)
    assert_fails(official, official / source, "neither a folder nor a readable zip file")
    (official / source).write_bytes(b"<html>Log in</html>")
    assert_fails(official, official / source, "neither a folder nor a readable zip file")


def test_archive_of_something_else_is_named(official):
    suffix = zipped(official)
    shutil.copy(official / f"gtFine{suffix}", official / f"disparity{suffix}")
    assert_fails(official, f"{official / f'disparity{suffix}'}/disparity/train", "no such folder", suffix)


def test_damaged_archive_is_named(official):
    suffix = zipped(official)
    path = official / f"disparity{suffix}"
    name = f"disparity/train/aachen/{NAMES['train'][0]}_disparity.png"
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo(name).header_offset + 30 + len(name) + 100
    content = bytearray(path.read_bytes())
    content[offset : offset + 200] = bytes(200)
    path.write_bytes(content)
    assert_fails(official, f"{path}/{name}", "not a readable image", suffix)


@pytest.mark.parametrize(
    ("source", "array", "message"),
    [
        ("leftImg8bit", np.zeros((16, 64, 3), np.uint8), r"uint8 \(16, 64, 3\), expected uint8 \(32, 64, 3\)"),
        ("leftImg8bit", np.zeros(FRAME, np.uint8), r"uint8 \(32, 64\), expected"),
        ("gtFine", np.full(FRAME, 34, np.uint8), "has the id 34, expected 0 to 33"),
        ("gtFine", np.full(FRAME, 255, np.uint8), "has the id 255"),
        ("gtFine", np.zeros((*FRAME, 3), np.uint8), r"uint8 \(32, 64, 3\), expected uint8 \(32, 64\)"),
        ("disparity", np.zeros(FRAME, np.uint8), r"uint8 \(32, 64\), expected uint16"),
        ("disparity", None, "not a readable image"),
    ],
)
def test_broken_official_file_is_named(official, source, array, message):
    path: Path = path_of(official, source, "train", NAMES["train"][2])
    if array is None:
        path.write_bytes(path.read_bytes()[:60])
    else:
        Image.fromarray(array).save(path)
    assert_fails(official, path, message)


def test_full_disk(official, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(InputError, match=r"cityscapes: cannot be written \(No space left on device\)") as error:
        prepare(official)
    assert_one_line(error)
    assert not list((official / "data").iterdir())
