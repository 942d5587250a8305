"""CIFAR-100: the published files, the tasks made of their labels, the split, and the download."""

import hashlib
import io
import pickle
import struct
import sys
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch

from mtlutils.data import cifar100
from mtlutils.errors import InputError

SUPERCLASS = np.random.default_rng(3).permutation(np.arange(100) // 5)
"""Superclass of each fine label: five labels each, and in no order, as in the published files."""

NAMES = [f"class {label}" for label in range(100)]
GROUPINGS = get_args(cifar100.Grouping)


def made_up(n_each, seed=0):
    """Rows as published (100 n_each, 3072), and their fine labels, in a random order; classes differ in brightness."""
    rng = np.random.default_rng(seed)
    fine = rng.permutation(np.repeat(np.arange(100), n_each))
    rows = rng.integers(0, 100 + fine[:, None], (len(fine), 3072), dtype=np.uint8)
    return rows, fine


def contents(rows, fine):
    return {
        "filenames": [f"{i}.png" for i in range(len(rows))],
        "batch_label": "made up",
        "fine_labels": fine.tolist(),
        "coarse_labels": SUPERCLASS[fine].tolist(),
        "data": rows,
    }


def write_split(path, rows, fine, **changed):
    path.write_bytes(pickle.dumps(contents(rows, fine) | changed, protocol=2))


def write_meta(path, **changed):
    stored = {"fine_label_names": NAMES, "coarse_label_names": [f"superclass {i}" for i in range(20)]} | changed
    path.write_bytes(pickle.dumps(stored, protocol=2))


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    """Where the published files belong, empty."""
    monkeypatch.setenv("MTLUTILS_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "cifar-100-python").mkdir(parents=True)
    return tmp_path / "data" / "cifar-100-python"


@pytest.fixture
def small_files(data_folder):
    """Ten training images of each class, and two test images."""
    write_split(data_folder / "train", *made_up(10, seed=0))
    write_split(data_folder / "test", *made_up(2, seed=1))
    write_meta(data_folder / "meta")
    return data_folder


def assert_one_line(error):
    message = str(error.value)
    assert message
    assert "\n" not in message


# Reading the files


def pickled_by_python_2(stored):
    """A dict as Python 2 and its numpy pickled it: byte strings, and numpy's names of then."""

    def string(text):
        text = text if isinstance(text, bytes) else text.encode("ascii")
        return b"U" + bytes([len(text)]) + text if len(text) < 256 else b"T" + struct.pack("<i", len(text)) + text

    def value(item):
        if isinstance(item, str):
            return string(item)
        if isinstance(item, int):
            return b"J" + struct.pack("<i", item)
        if isinstance(item, list):
            return b"](" + b"".join(map(value, item)) + b"e"
        empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
        uint8 = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN" + value(-1) + value(-1) + b"K\x00tb"
        shape = value(item.shape[0]) + value(item.shape[1]) + b"\x86"
        return empty + b"(K\x01" + shape + uint8 + b"\x89" + string(item.tobytes()) + b"tb"

    return b"\x80\x02}(" + b"".join(string(name) + value(item) for name, item in stored.items()) + b"u."


FORMS = {
    "python 2": pickled_by_python_2,
    **{f"protocol {n}": lambda stored, n=n: pickle.dumps(stored, protocol=n) for n in (2, 4, 5)},
}


@pytest.mark.parametrize("form", FORMS)
def test_images_and_labels_as_published(tmp_path, form):
    # Every row is its image's red, then green, then blue, each from left to right and from top to bottom.
    rows, fine = made_up(2)
    (tmp_path / "train").write_bytes(FORMS[form](contents(rows, fine)))
    images, read_fine, read_coarse = cifar100.read(tmp_path / "train")
    assert (images.shape, images.dtype) == ((200, 32, 32, 3), np.uint8)
    for i, y, x, channel in [(0, 0, 0, 0), (7, 0, 1, 0), (50, 1, 0, 0), (120, 5, 31, 1), (199, 31, 31, 2)]:
        assert images[i, y, x, channel] == rows[i, 1024 * channel + 32 * y + x]
    # As torchvision reads them
    stored = pickle.loads((tmp_path / "train").read_bytes(), encoding="latin1")
    assert np.array_equal(images, np.vstack([stored["data"]]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    assert read_fine.tolist() == stored["fine_labels"] == fine.tolist()
    assert read_coarse.tolist() == stored["coarse_labels"] == SUPERCLASS[fine].tolist()
    assert read_fine.dtype == read_coarse.dtype == np.int64


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_labels_may_be_arrays(tmp_path, dtype):
    rows, fine = made_up(2)
    labels = {"fine_labels": fine.astype(dtype), "coarse_labels": SUPERCLASS[fine].astype(dtype)}
    write_split(tmp_path / "train", rows, fine, **labels)
    _, read_fine, read_coarse = cifar100.read(tmp_path / "train")
    assert read_fine.tolist() == fine.tolist()
    assert read_coarse.tolist() == SUPERCLASS[fine].tolist()


ROWS, FINE = made_up(2)
COARSE = SUPERCLASS[FINE]


def with_one(labels, new):
    return [new, *labels[1:].tolist()]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": ROWS.astype(float)}, r"data is float64 \(200, 3072\), expected uint8 \(N, 3072\)"),
        ({"data": ROWS.astype(np.int8)}, "data is int8"),
        ({"data": ROWS[:, :-1]}, r"data is uint8 \(200, 3071\)"),
        ({"data": ROWS.reshape(200, 3, 32, 32)}, r"data is uint8 \(200, 3, 32, 32\)"),
        ({"data": ROWS.ravel()}, r"data is uint8 \(614400,\)"),
        ({"data": ROWS[:0], "fine_labels": [], "coarse_labels": []}, r"data is uint8 \(0, 3072\)"),
        ({"data": None}, "data is object"),
        ({"data": ROWS[:-1]}, "fine_labels is not one label of 0 to 99 an image"),
        ({"fine_labels": FINE[:-1].tolist()}, "fine_labels is not one"),
        ({"fine_labels": with_one(FINE, 100)}, "fine_labels is not one"),
        ({"fine_labels": with_one(FINE, -1)}, "fine_labels is not one"),
        ({"fine_labels": np.minimum(FINE, 98).tolist()}, "fine_labels is not one"),
        ({"fine_labels": FINE.astype(float).tolist()}, "fine_labels is not one"),
        ({"fine_labels": FINE.astype(str).tolist()}, "fine_labels is not one"),
        ({"fine_labels": FINE[:, None]}, "fine_labels is not one"),
        ({"fine_labels": [[label] * (1 + label % 2) for label in FINE.tolist()]}, "fine_labels"),
        ({"fine_labels": None}, "fine_labels is not one"),
        ({"coarse_labels": COARSE[:-1].tolist()}, "coarse_labels is not one label of 0 to 19 an image"),
        ({"coarse_labels": with_one(COARSE, 20)}, "coarse_labels is not one"),
        ({"coarse_labels": np.minimum(COARSE, 18).tolist()}, "coarse_labels is not one"),
        ({"coarse_labels": with_one(COARSE, (COARSE[0] + 1) % 20)}, "a fine label has several coarse ones"),
    ],
)
def test_broken_contents(tmp_path, changed, message):
    (tmp_path / "train").write_bytes(pickle.dumps(contents(ROWS, FINE) | changed, protocol=4))
    with pytest.raises(InputError, match=message) as error:
        cifar100.read(tmp_path / "train")
    assert str(error.value).startswith(f"{tmp_path / 'train'}: ")
    assert str(error.value).endswith("get the file again")
    assert_one_line(error)


@pytest.mark.parametrize("name", ["data", "fine_labels", "coarse_labels"])
def test_missing_key(tmp_path, name):
    stored = contents(ROWS, FINE)
    del stored[name]
    (tmp_path / "test").write_bytes(pickle.dumps(stored, protocol=2))
    with pytest.raises(InputError, match=rf"test: has no '{name}'") as error:
        cifar100.read(tmp_path / "test")
    assert_one_line(error)


WHOLE = pickle.dumps(contents(ROWS, FINE), protocol=2)


FOREIGN = {
    **{f"cut to {n}": (WHOLE[:n], "not a readable pickle") for n in (0, 1, 2, 100, len(WHOLE) // 2, len(WHOLE) - 1)},
    "web page": (b"<html>Moved</html>", "not a readable pickle"),
    "zip file": (b"PK\x03\x04 and so on\n", "not a readable pickle"),
    "gzip file": (b"\x1f\x8b and so on", "not a readable pickle"),
    "list": (pickle.dumps(list(range(100))), "holds a list, not CIFAR-100's dict"),
    "array": (pickle.dumps(ROWS), "holds a ndarray, not CIFAR-100's dict"),
    "object": (pickle.dumps({"data": SimpleNamespace()}), "not a readable pickle .refers to types.SimpleNamespace"),
    "empty dict": (pickle.dumps({}), "has no 'data'"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_cut_or_foreign_file(tmp_path, kind):
    content, message = FOREIGN[kind]
    (tmp_path / "train").write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        cifar100.read(tmp_path / "train")
    assert str(error.value).startswith(f"{tmp_path / 'train'}: ")
    assert_one_line(error)


class Calls:
    """Unpickled, it is what a function gives."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def by_name(module, name, *arguments):
    """A pickle that calls ``module.name(*arguments)``, where the name may have dots."""

    def part(item):
        file = io.BytesIO()
        pickler = pickle.Pickler(file, protocol=3)
        pickler.fast = True  # without a memo, so that parts can be joined
        pickler.dump(item)
        return file.getvalue()[2:-1]

    return b"\x80\x04" + part(module) + part(name) + b"\x93" + part(arguments) + b"R."


MALICIOUS = {
    "exec": lambda path: pickle.dumps(Calls(exec, f"open({str(path)!r}, 'w')"), 2),
    "os": lambda path: by_name("os", "mkdir", str(path)),
    "path": lambda path: by_name("pathlib", "Path.touch", path),
    "in the dict": lambda path: pickle.dumps(contents(ROWS, FINE) | {"batch_label": Calls(open, str(path), "w")}, 2),
    "numpy's function": lambda path: by_name("numpy", "save", f"{path}", ROWS),
    "numpy's exec": lambda path: by_name("numpy.testing._private.utils", "runstring", f"open({str(path)!r}, 'w')", {}),
    "numpy's method": lambda path: by_name("numpy", "ndarray.tofile", ROWS, str(path)),
    "numpy's imports": lambda path: by_name("numpy", "_core.multiarray.os.mkdir", str(path)),
    "not numpy": lambda path: by_name("numpy_like", "ndarray", str(path)),
}


@pytest.mark.parametrize("kind", MALICIOUS)
def test_pickle_that_would_run_code_does_not(tmp_path, kind, monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy_like", SimpleNamespace(ndarray=lambda path: Path(path).touch()))
    mark = tmp_path / "mark"
    content = MALICIOUS[kind](mark)
    try:  # it would
        pickle.loads(content)
    except Exception:
        assert kind == "numpy's imports"
    else:
        (made,) = tmp_path.iterdir()
        made.rmdir() if made.is_dir() else made.unlink()
    (tmp_path / "train").write_bytes(content)
    with pytest.raises(InputError, match=r"train: not a readable pickle \(refers to ") as error:
        cifar100.read(tmp_path / "train")
    assert_one_line(error)
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


# Loading them


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_missing_file(small_files, name):
    assert cifar100.is_there()
    (small_files / name).unlink()
    assert not cifar100.is_there()
    with pytest.raises(
        InputError, match=r"No such file .*`python -m mtlutils data get cifar100`.* set MTLUTILS_DATA"
    ) as error:
        cifar100.load("real")
    assert str(error.value).startswith(f"{small_files / name}: ")
    assert_one_line(error)


def test_folder_in_the_place_of_a_file(small_files):
    (small_files / "test").unlink()
    (small_files / "test").mkdir()
    assert not cifar100.is_there()
    with pytest.raises(InputError, match="test: Is a directory") as error:
        cifar100.load("real")
    assert_one_line(error)


@pytest.mark.parametrize("names", [NAMES[:-1], [*NAMES, "one more"], tuple(NAMES), None])
def test_wrong_names(small_files, names):
    write_meta(small_files / "meta", fine_label_names=names)
    with pytest.raises(InputError, match="meta: has no 100 fine_label_names") as error:
        cifar100.load("real")
    assert_one_line(error)


def test_no_names(small_files):
    (small_files / "meta").write_bytes(pickle.dumps({"label_names": NAMES}))
    with pytest.raises(InputError, match="meta: has no 100 fine_label_names"):
        cifar100.load("real")


@pytest.mark.parametrize("fraction", [0.0, 1.0, 1.5, -0.1, 0.05, 0.95])
def test_images_that_cannot_be_split_by_class(small_files, fraction):
    # 1,000 images: 50 validation images are too few for 100 classes, and so are 50 training images
    with pytest.raises(InputError, match=r"1,000 images cannot be split by class .*validation_fraction") as error:
        cifar100.load("real", validation_fraction=fraction)
    assert_one_line(error)


def test_unknown_grouping_is_told_before_anything_is_read():
    with pytest.raises(
        InputError, match="grouping must be one of contiguous, superclass, random, got 'alphabetical'"
    ) as error:
        cifar100.load("real", grouping="alphabetical")
    assert_one_line(error)


def images_of(rows):
    return rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def test_images_are_those_of_the_files_in_the_order_of_labels_and_then_bytes(small_files):
    data = cifar100.load("real", validation_fraction=0.2)
    assert data.class_names == NAMES
    for parts, (rows, fine) in [
        ((data.train, data.validation), made_up(10, seed=0)),
        ((data.test,), made_up(2, seed=1)),
    ]:
        found = []
        for part in parts:
            labels = part.targets["100-class"]
            assert part.images.dtype == torch.uint8
            keys = [(int(label), image.tobytes()) for label, image in zip(labels, part.images.numpy(), strict=True)]
            assert keys == sorted(keys)
            found += keys
        assert sorted(found) == sorted(
            (label, image.tobytes()) for image, label in zip(images_of(rows), fine, strict=True)
        )


def write_in_another_order(path, seed):
    rows, fine = made_up(10 if path.name == "train" else 2, seed=path.name == "test")
    order = np.random.default_rng(seed).permutation(len(rows))
    write_split(path, rows[order], fine[order])


def test_order_of_the_files_does_not_matter(small_files):
    first, sums = cifar100.load("real"), cifar100.checksums()
    for name in ("train", "test"):
        write_in_another_order(small_files / name, seed=5)
    second = cifar100.load("real")
    assert cifar100.checksums() == sums == second.description.checksums
    assert second.description == first.description
    for name in ("train", "validation", "test"):
        mine, other = getattr(first, name), getattr(second, name)
        assert torch.equal(mine.images, other.images)
        assert torch.equal(mine.mean, other.mean)
        assert torch.equal(mine.std, other.std)
        for task in cifar100.N_CLASSES:
            assert torch.equal(mine.targets[task], other.targets[task])


def test_checksum_is_of_images_and_labels(small_files):
    before = cifar100.checksums()
    assert set(before) == {"train", "test"}
    assert all(digest.startswith("sha256:") and len(digest) == 7 + 64 for digest in before.values())
    rows, fine = made_up(10, seed=0)

    rows[0, 0] ^= 1
    write_split(small_files / "train", rows, fine)
    one_pixel = cifar100.checksums()
    assert one_pixel["test"] == before["test"]
    rows[0, 0] ^= 1
    write_split(small_files / "train", rows, 99 - fine, coarse_labels=SUPERCLASS[99 - fine].tolist())
    other_labels = cifar100.checksums()
    write_split(small_files / "train", rows, fine, coarse_labels=(19 - SUPERCLASS[fine]).tolist())
    other_superclasses = cifar100.checksums()
    found = [each["train"] for each in (before, one_pixel, other_labels, other_superclasses)]
    assert len(set(found)) == 4


def test_checksums_of_missing_files():
    with pytest.raises(InputError, match="set MTLUTILS_DATA"):
        cifar100.checksums()


@pytest.mark.parametrize("fraction", [0.1, 0.3])
def test_validation_images_are_stratified_and_not_trained_on(small_files, fraction):
    data = cifar100.load("real", validation_fraction=fraction)
    sizes = {"train": round(1000 * (1 - fraction)), "validation": round(1000 * fraction), "test": 200}
    assert data.description.sizes == sizes
    assert {name: len(getattr(data, name)) for name in sizes} == sizes
    for part, each in ((data.train, 10 * (1 - fraction)), (data.validation, 10 * fraction)):
        assert part.targets["100-class"].bincount().tolist() == [round(each)] * 100
    train, validation = ({i.tobytes() for i in part.images.numpy()} for part in (data.train, data.validation))
    assert not train & validation
    assert train | validation == {image.tobytes() for image in images_of(made_up(10, seed=0)[0])}


def test_split_is_random_within_a_class(small_files):
    # Images lie by label and bytes; what is held out is not the first, nor always the same place of a class.
    data = cifar100.load("real", validation_fraction=0.1)
    rows, fine = made_up(10, seed=0)
    places = set()
    for image, label in zip(data.validation.images.numpy(), data.validation.targets["100-class"], strict=True):
        of_class = sorted(each.tobytes() for each in images_of(rows)[fine == int(label)])
        places.add(of_class.index(image.tobytes()))
    assert places == set(range(10))


def test_seed_and_grouping_and_augmentation_do_not_change_the_split(small_files):
    first = cifar100.load("real")
    for options in ({"seed": 7}, {"grouping": "random", "seed": 3}, {"grouping": "superclass"}, {"augment": False}):
        other = cifar100.load("real", **options)
        for name in ("train", "validation", "test"):
            assert torch.equal(getattr(first, name).images, getattr(other, name).images)
        assert other.description == first.description


def test_mean_and_standard_deviation_are_the_training_images_own(small_files):
    data = cifar100.load("real", validation_fraction=0.3)
    pixels = data.train.images.numpy().reshape(-1, 3).astype(np.float64)
    for part in (data.train, data.validation, data.test):
        assert part.mean.dtype == part.std.dtype == torch.float32
        np.testing.assert_allclose(part.mean.numpy(), pixels.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(part.std.numpy(), pixels.std(axis=0), rtol=1e-6)
    # which are told from those of all images, and of a sample's standard deviation
    everything = images_of(made_up(10, seed=0)[0]).reshape(-1, 3)
    assert abs(everything.mean(axis=0) - data.train.mean.numpy()).max() > 1e-3


def test_mean_and_standard_deviation_by_hand():
    pixels = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    pixels[0, :, :, 0] = [[0, 0], [0, 255]]
    pixels[0, :, :, 1] = [[10, 20], [30, 40]]
    pixels[0, :, :, 2] = 7
    mean, std = cifar100._moments(pixels)
    torch.testing.assert_close(mean, torch.tensor([63.75, 25.0, 7.0]))
    torch.testing.assert_close(std, torch.tensor([63.75 * 3**0.5, 125**0.5, 0.0]))


def test_only_training_images_are_augmented_and_only_if_asked(small_files):
    for augment, padding in ((True, 4), (False, None)):
        data = cifar100.load("real", augment=augment)
        assert (data.train.padding, data.validation.padding, data.test.padding) == (padding, None, None)


# Tasks


SIZES = {
    "contiguous": {2: [50, 50], 3: [34, 33, 33], 4: [25] * 4, 5: [20] * 5},
    "random": {2: [50, 50], 3: [34, 33, 33], 4: [25] * 4, 5: [20] * 5},
    "superclass": {2: [50, 50], 3: [35, 35, 30], 4: [25] * 4, 5: [20] * 5},
}


@pytest.mark.parametrize("n_groups", [2, 3, 4, 5])
@pytest.mark.parametrize("grouping", GROUPINGS)
def test_groups_are_as_equal_as_arithmetic_allows(grouping, n_groups):
    group = cifar100.groups(n_groups, grouping, SUPERCLASS)
    assert group.shape == (100,)
    assert np.bincount(group).tolist() == SIZES[grouping][n_groups]


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_hundred_groups_are_the_labels(grouping):
    assert cifar100.groups(100, grouping, SUPERCLASS, seed=4).tolist() == list(range(100))


@pytest.mark.parametrize("n_groups", [2, 3, 4, 5])
def test_contiguous_groups_are_in_the_order_of_the_labels(n_groups):
    group = cifar100.groups(n_groups, "contiguous", SUPERCLASS, seed=4)
    assert group.tolist() == sorted(group)
    assert group.tolist() == cifar100.groups(n_groups, "contiguous", SUPERCLASS[::-1]).tolist()


@pytest.mark.parametrize("n_groups", [2, 3, 4, 5])
def test_superclass_groups_keep_superclasses_whole_and_in_order(n_groups):
    group = cifar100.groups(n_groups, "superclass", SUPERCLASS, seed=4)
    of_superclass = [set(group[superclass == SUPERCLASS]) for superclass in range(20)]
    assert all(len(each) == 1 for each in of_superclass)
    in_order = [each.pop() for each in of_superclass]
    assert in_order == sorted(in_order)


@pytest.mark.parametrize("n_groups", [2, 3, 4, 5])
def test_random_groups_are_drawn_by_the_seed(n_groups):
    groups = [cifar100.groups(n_groups, "random", SUPERCLASS, seed).tolist() for seed in (0, 0, 1, 2)]
    assert groups[0] == groups[1]
    assert len({tuple(each) for each in groups}) == 3
    for group in groups:
        assert group != sorted(group)


def test_random_groups_of_every_number_cut_one_order():
    groups = {n: cifar100.groups(n, "random", SUPERCLASS, seed=6) for n in (2, 3, 4, 5)}
    assert (groups[4] // 2).tolist() == groups[2].tolist()
    # Labels that come in the order of one number of groups, and within it of another, are in the order of all.
    order = np.lexsort(list(groups.values()))
    for group in groups.values():
        assert group[order].tolist() == sorted(group)


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_targets_of_every_task_are_groups_of_the_fine_label(small_files, grouping):
    data = cifar100.load("real", grouping=grouping, seed=5)
    assert data.n_classes == {"2-class": 2, "3-class": 3, "4-class": 4, "5-class": 5, "100-class": 100}
    of_image = {image.tobytes(): label for n, seed in ((10, 0), (2, 1)) for image, label in labelled(n, seed)}
    for part in (data.train, data.validation, data.test):
        fine = [of_image[image.tobytes()] for image in part.images.numpy()]
        assert set(part.targets) == set(data.n_classes)
        for task, n in data.n_classes.items():
            assert part.targets[task].dtype == torch.int64
            assert part.targets[task].tolist() == cifar100.groups(n, grouping, SUPERCLASS, 5)[fine].tolist()


def labelled(n_each, seed):
    rows, fine = made_up(n_each, seed)
    return zip(images_of(rows), fine.tolist(), strict=True)


# What a record says of the data


def test_files_that_are_not_the_official_ones_are_named_for_what_they_are(small_files):
    described = cifar100.load("real").description
    assert (described.name, described.kind) == ("CIFAR-100", "real")
    assert described.description == (
        "CIFAR-100 (train: 1,000 images, not the official file or its order; "
        "test: 200 images, not the official file or its order)"
    )
    assert described.checksums == cifar100.checksums()


def test_official_files_are_called_so(small_files, monkeypatch):
    digest = hashlib.md5((small_files / "test").read_bytes()).hexdigest()
    monkeypatch.setitem(cifar100.OFFICIAL_MD5, "test", digest)
    assert cifar100.load("real").description.description == (
        "CIFAR-100 (train: 1,000 images, not the official file or its order; test: 200 images, official)"
    )


def test_standin_is_loaded_the_same_way_and_says_that_it_is_one():
    data = cifar100.load("stand-in", validation_fraction=0.5)
    described = data.description
    assert (described.name, described.kind) == ("generated textured shapes", "stand-in")
    n_train, n_test = len(data.train) + len(data.validation), len(data.test)
    assert described.description == f"stand-in: {n_train:,} + {n_test:,} generated images"
    assert len(data.validation) == 0.5 * n_train
    assert set(described.checksums) == {"train", "test"}
    assert len(set(data.class_names)) == 100
    assert data.train.images.shape[1:] == (32, 32, 3)
    assert data.train.targets["100-class"].bincount().tolist() == [len(data.train) // 100] * 100
    assert cifar100.load("stand-in", validation_fraction=0.5).description == described


# Download


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server on this machine that serves the test's folder."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=tmp_path)

        def log_message(self, *arguments):
            pass

    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def archive(tmp_path, small_files, server, monkeypatch):
    """The place to download from, with files whose checksums count as the official ones; they lie nowhere else."""
    # Where it was imported already, as metrics do, this costs nothing.
    from torchvision.datasets import CIFAR100

    contents = {name: (small_files / name).read_bytes() for name in ("train", "test", "meta")}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"cifar-100-python/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            (small_files / name).unlink()
    small_files.rmdir()
    path = tmp_path / "cifar-100-python.tar.gz"
    path.write_bytes(packed.getvalue())

    digests = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    for name, digest in digests.items():
        monkeypatch.setitem(cifar100.OFFICIAL_MD5, name, digest)
    monkeypatch.setattr(CIFAR100, "url", f"http://127.0.0.1:{server.server_port}/{path.name}")
    monkeypatch.setattr(CIFAR100, "tgz_md5", hashlib.md5(path.read_bytes()).hexdigest())
    monkeypatch.setattr(CIFAR100, "train_list", [["train", digests["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", digests["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", CIFAR100.meta | {"md5": digests["meta"]})
    return SimpleNamespace(path=path, contents=contents, dataset=CIFAR100)


def test_download_by_torchvision(archive):
    assert not cifar100.is_there()
    folder = cifar100.download()
    assert folder == cifar100.folder()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == archive.contents
    # torchvision and we read the same in it
    for train, name in ((True, "train"), (False, "test")):
        theirs = archive.dataset(str(folder.parent), train=train)
        images, fine, _ = cifar100.read(folder / name)
        assert np.array_equal(theirs.data, images)
        assert theirs.targets == fine.tolist()
    assert cifar100.load("real").class_names == theirs.classes
    # what is there already is kept
    archive.path.unlink()
    (folder.parent / archive.path.name).unlink()
    assert cifar100.download() == folder


def test_download_fills_a_folder_of_which_a_part_is_there(archive):
    cifar100.folder().mkdir()
    (cifar100.folder() / "test").write_bytes(archive.contents["test"])
    cifar100.download()
    assert {path.name: path.read_bytes() for path in cifar100.folder().iterdir()} == archive.contents


@pytest.mark.parametrize("how", ["gone", "cut", "other"])
def test_download_that_breaks(archive, how):
    content = archive.path.read_bytes()
    if how == "gone":
        archive.path.unlink()
    else:
        archive.path.write_bytes(content[: len(content) // 2] if how == "cut" else b"<html>Moved</html>")
    with pytest.raises(InputError, match=r"could not be downloaded .*check the network and try again") as error:
        cifar100.download()
    assert archive.dataset.url in str(error.value)
    assert str(cifar100.folder().parent) in str(error.value)
    assert_one_line(error)
    assert not cifar100.folder().exists()
    # with the whole file, it works
    archive.path.write_bytes(content)
    cifar100.download()
    assert cifar100.is_there()


def test_official_address_and_checksums_are_torchvisions():
    from torchvision.datasets import CIFAR100

    listed = dict([*CIFAR100.train_list, *CIFAR100.test_list]) | {"meta": CIFAR100.meta["md5"]}
    assert listed == cifar100.OFFICIAL_MD5
    assert CIFAR100.base_folder == "cifar-100-python"


@pytest.fixture
def asked(monkeypatch):
    """What torchvision, which is not there, was asked for; ``asked.error`` is what it then raises."""
    asked = SimpleNamespace(calls=[], error=None)

    class CIFAR100:
        url = "https://example.org/cifar-100-python.tar.gz"

        def __init__(self, root, download):
            asked.calls.append((root, download))
            if asked.error is not None:
                raise asked.error

    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torchvision.datasets", SimpleNamespace(CIFAR100=CIFAR100))
    return asked


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_download_keeps_another_file_that_is_in_the_place(data_folder, asked, name):
    (data_folder / name).write_bytes(b"mine")
    with pytest.raises(InputError, match=rf"{name}: there is a file that is not the official one; move it") as error:
        cifar100.download()
    assert str(error.value).startswith(f"{data_folder / name}: ")
    assert_one_line(error)
    assert (data_folder / name).read_bytes() == b"mine"
    assert not asked.calls


def test_download_asks_torchvision_for_the_folder_above(data_folder, asked, monkeypatch):
    for name in cifar100.OFFICIAL_MD5:
        (data_folder / name).write_bytes(name.encode())
        monkeypatch.setitem(cifar100.OFFICIAL_MD5, name, hashlib.md5(name.encode()).hexdigest())
    assert cifar100.download() == data_folder
    assert asked.calls == [(str(data_folder.parent), True)]


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (OSError("<urlopen error [Errno -2] Name or service not known>"), "Name or service not known"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (RuntimeError("File not found or corrupted.\nTry again"), r"\(File not found or corrupted\.\)"),
        (TimeoutError(), "could not be downloaded"),
    ],
)
def test_download_without_a_network(data_folder, asked, raised, reason):
    asked.error = raised
    with pytest.raises(InputError, match=reason) as error:
        cifar100.download()
    assert str(error.value).startswith("https://example.org/cifar-100-python.tar.gz could not be downloaded (")
    assert f"unpack it into {data_folder.parent} yourself" in str(error.value)
    assert_one_line(error)


# The real files


def test_real_files(real_data):
    if not cifar100.is_there():
        pytest.skip(f"MTLUTILS_DATA has no {cifar100.folder().name}")
    data = cifar100.load("real", validation_fraction=0.1)
    assert data.description.sizes == {"train": 45_000, "validation": 5_000, "test": 10_000}
    for part, each in ((data.train, 450), (data.validation, 50), (data.test, 100)):
        assert part.targets["100-class"].bincount().tolist() == [each] * 100
        assert part.targets["5-class"].bincount().tolist() == [20 * each] * 5
    # The numbers commonly given for all 50,000 training images
    torch.testing.assert_close(data.train.mean / 255, torch.tensor([0.5071, 0.4866, 0.4409]), atol=2e-3, rtol=0)
    torch.testing.assert_close(data.train.std / 255, torch.tensor([0.2673, 0.2564, 0.2762]), atol=2e-3, rtol=0)
    # Fine labels are in alphabetical order
    assert data.class_names == sorted(data.class_names)
    assert data.class_names[:3] == ["apple", "aquarium_fish", "baby"]
    # Nothing of the test images is trained on, but for the few that the data set holds twice
    train = {image.tobytes() for image in data.train.images.numpy()}
    assert sum(image.tobytes() in train for image in data.test.images.numpy()) < 100
