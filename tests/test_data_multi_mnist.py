"""Pairs of MNIST and Fashion-MNIST images: what they are composed of, the files, the stand-in, and the download."""

import gzip
import hashlib
import struct
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from mtlutils.data import multi_mnist, multi_mnist_standin
from mtlutils.errors import InputError

PAIRS = get_args(multi_mnist.Pairs)
FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}
BASES = {"mnist": 0, "fashion_mnist": 64}
"""No pixel of made-up Fashion-MNIST is of a value that one of made-up MNIST has."""

N_TRAIN, N_TEST = 60, 40


def made_up(name, split):
    """Images (N, 28, 28) of one value each, which no other of the set has, and classes (N,) that say nothing of it."""
    n, first = (N_TRAIN, 1) if split == "train" else (N_TEST, 1 + N_TRAIN)
    values = BASES[name] + first + np.arange(n)
    classes = np.random.default_rng(len(name) + n).permutation(np.arange(n) % 10)
    return np.tile(values.astype(np.uint8)[:, None, None], (1, 28, 28)), classes


def idx(array):
    """An array of bytes in the published form."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def path_of(file, name="mnist"):
    return multi_mnist.folder(name) / file


def write_set(name):
    multi_mnist.folder(name).mkdir(parents=True)
    for split in ("train", "t10k"):
        images, classes = made_up(name, split)
        path_of(f"{split}-images-idx3-ubyte", name).write_bytes(idx(images))
        path_of(f"{split}-labels-idx1-ubyte", name).write_bytes(idx(classes))


FILES = [f"{split}-{kind}-ubyte" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    """Where the sets' folders belong, empty."""
    monkeypatch.setenv("MTLUTILS_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def small_files(data_folder):
    """60 training and 40 test images of both sets."""
    for name in FOLDERS:
        write_set(name)
    return data_folder


def small(pairs="mnist", train=300, validation=200, test=100, **options):
    return multi_mnist.load("real", pairs, train, validation, test, **options)


def splits_of(data):
    return {"train": data.train, "validation": data.validation, "test": data.test}


def assert_one_line(error):
    message = str(error.value)
    assert message
    assert "\n" not in message


# Composing


def test_pair_by_hand():
    # Images of 10x10 on a canvas of 18x18 overlap in 2x2 pixels.
    top_left, bottom_right = np.zeros((2, 2, 10, 10), dtype=np.uint8)
    top_left[0] = 100
    bottom_right[0] = np.arange(95, 195, dtype=np.uint8).reshape(10, 10)
    top_left[1, 9, 9] = 7
    canvases = multi_mnist.compose(top_left, bottom_right)
    assert (canvases.shape, canvases.dtype) == ((2, 18, 18), np.uint8)
    canvas = canvases[0]
    assert canvas[8:10, 8:10].tolist() == [[100, 100], [105, 106]]  # of 100 and 95, 96; 105, 106
    assert canvas[8:, 8:].ravel().tolist() == [100, 100, *range(97, 195)]
    assert (canvas[:10, :8] == 100).all()
    assert (canvas[:8, :10] == 100).all()
    assert not canvas[:8, 10:].any()
    assert not canvas[10:, :8].any()
    # a black corner of the other image hides nothing
    assert canvases[1].sum() == canvases[1, 9, 9] == 7


def test_composing_changes_neither_image():
    images = np.random.default_rng(0).integers(256, size=(2, 3, 28, 28), dtype=np.uint8)
    before = images.copy()
    canvases = multi_mnist.compose(*images)
    assert canvases.shape == (3, 36, 36)
    assert np.array_equal(images, before)
    for canvas, a, b in zip(canvases, *images, strict=True):
        alone = [np.pad(a, ((0, 8), (0, 8))), np.pad(b, ((8, 0), (8, 0)))]
        assert np.array_equal(canvas, np.where(alone[0] > alone[1], *alone))


@pytest.mark.parametrize("pairs", PAIRS)
def test_classes_are_of_the_images_that_were_pasted(small_files, pairs):
    data = small(pairs)
    names = multi_mnist.SETS[pairs]
    class_of = [
        {int(image[0, 0]): label for s in ("train", "t10k") for image, label in zip(*made_up(name, s), strict=True)}
        for name in names
    ]
    for part in splits_of(data).values():
        assert list(part.targets) == ["top-left", "bottom-right"]
        assert (part.images.dtype, part.images.shape) == (torch.uint8, (len(part), 36, 36, 1))
        first, second = part.images[:, 0, 0, 0], part.images[:, 35, 35, 0]
        # nothing but the two images, and the larger value where both are
        assert (part.images[:, :8, :28, 0] == first.view(-1, 1, 1)).all()
        assert (part.images[:, 28:, 8:, 0] == second.view(-1, 1, 1)).all()
        assert (part.images[:, 8:28, 8:28, 0] == torch.maximum(first, second).view(-1, 1, 1)).all()
        assert not part.images[:, :8, 28:].any()
        assert not part.images[:, 28:, :8].any()
        for task, values, known in zip(part.targets, (first, second), class_of, strict=True):
            assert part.targets[task].dtype == torch.int64
            assert part.targets[task].tolist() == [known[value] for value in values.tolist()]


def values_of(part):
    """Numbers of the two images of each pair, counted over all of their set."""
    pixels = part.images.numpy()[..., 0].astype(int)
    return pixels[:, 0, 0], pixels[:, 35, 35]


@pytest.mark.parametrize("pairs", PAIRS)
def test_splits_share_no_image(small_files, pairs):
    data = small(pairs, 6000, 4000, 4000)
    for place, name in enumerate(multi_mnist.SETS[pairs]):
        used = {split: set(values_of(part)[place] - BASES[name]) for split, part in splits_of(data).items()}
        assert used["train"] == set(range(1, 1 + N_TRAIN))
        assert not used["validation"] & used["test"]
        assert used["validation"] | used["test"] == set(range(1 + N_TRAIN, 1 + N_TRAIN + N_TEST))
        assert len(used["validation"]) == len(used["test"]) == N_TEST // 2
        # the halves are drawn: neither is the first images, or every other one
        assert {value % 2 for value in used["test"]} == {0, 1}
        assert min(used["validation"]) < max(used["test"])
        assert min(used["test"]) < max(used["validation"])
        # both halves have two images of each class
        images, classes = made_up(name, "t10k")
        class_of = dict(zip((images[:, 0, 0] - BASES[name]).tolist(), classes.tolist(), strict=True))
        for split in ("validation", "test"):
            assert sorted(class_of[value] for value in used[split]) == sorted([*range(10)] * 2)


@pytest.mark.parametrize("pairs", ["mnist", "fashion"])
def test_no_image_is_paired_with_itself_and_any_other_is(small_files, pairs):
    data = small(pairs, 1, 4000, 4000)
    for part in (data.validation, data.test):
        found = set(zip(*values_of(part), strict=True))
        numbers = {a for a, _ in found}
        assert found == {(a, b) for a in numbers for b in numbers if a != b}


def test_pairs_of_two_sets_are_all_possible(small_files):
    data = small("fashion_and_mnist", 1, 4000, 1)
    assert len(set(zip(*values_of(data.validation), strict=True))) == 20 * 20


def test_pairs_are_drawn_evenly(small_files):
    first, second = values_of(small(train=30_000).train)
    for drawn in (first, second, (second - first) % N_TRAIN):
        counts = np.bincount(drawn)
        counts = counts[counts > 0]
        expected = 30_000 / len(counts)
        assert len(counts) in (N_TRAIN, N_TRAIN - 1)
        assert abs(counts - expected).max() < 6 * expected**0.5
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03


def test_sets_of_unequal_sizes(small_files):
    images, _ = made_up("fashion_mnist", "train")
    path_of("train-images-idx3-ubyte", "fashion_mnist").write_bytes(idx(images[:30]))
    path_of("train-labels-idx1-ubyte", "fashion_mnist").write_bytes(idx(np.arange(30) % 10))
    first, second = values_of(small("fashion_and_mnist", 3000).train)
    assert set(first) == set(range(1, 61))
    assert set(second - 64) == set(range(1, 31))


def test_pairs_are_the_same_every_time_and_fewer_are_the_beginning_of_more(small_files):
    for pairs in PAIRS:
        more, again, fewer = (small(pairs, *sizes) for sizes in ((300, 200, 100), (300, 200, 100), (7, 5, 3)))
        assert more.description == again.description
        for split, n in (("train", 7), ("validation", 5), ("test", 3)):
            one, other, short = (splits_of(data)[split] for data in (more, again, fewer))
            assert len(short) == n
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.images[:n], short.images)
            for task in one.targets:
                assert torch.equal(one.targets[task], other.targets[task])
                assert torch.equal(one.targets[task][:n], short.targets[task])
    # and each split has draws of its own
    first, second = (values_of(part)[0] for part in (more.validation, more.test))
    assert (np.unique(first, return_inverse=True)[1][:100] != np.unique(second, return_inverse=True)[1]).mean() > 0.8


@pytest.mark.parametrize("pairs", PAIRS)
def test_sizes_and_names(small_files, pairs):
    data = small(pairs)
    sizes = {"train": 300, "validation": 200, "test": 100}
    assert {split: len(part) for split, part in splits_of(data).items()} == sizes
    assert data.description.sizes == sizes
    assert data.n_classes == {"top-left": 10, "bottom-right": 10}
    assert len(data.class_names) == 20
    is_digits = [name == "mnist" for name in multi_mnist.SETS[pairs]]
    assert [data.class_names[at : at + 2] == ["0", "1"] for at in (0, 10)] == is_digits
    assert [data.class_names[at + 9] == "Ankle boot" for at in (0, 10)] == [not each for each in is_digits]


def test_of_both_sets_mnist_is_top_left():
    assert multi_mnist.SETS["fashion_and_mnist"] == ("mnist", "fashion_mnist")


def test_network_sees_zero_to_one_and_nothing_is_augmented(small_files):
    data = small()
    for part in splits_of(data).values():
        assert part.padding is None
        ((images,), targets) = next(part.batches(50, torch.Generator().manual_seed(0)))
        assert images.shape == (50, 1, 36, 36)
        assert images.min() == 0
        numbers = (images * 255).round()
        torch.testing.assert_close(images, numbers / 255)
        assert 1 <= numbers[:, 0, 0, 0].min() <= numbers.max() <= 100
        assert targets["top-left"].shape == (50,)


@pytest.mark.parametrize("kind", ["real", "stand-in"])
def test_everything_is_put_onto_the_device(small_files, kind):
    data = multi_mnist.load(kind, "mnist", 5, 5, 5, device="meta")
    for part in splits_of(data).values():
        tensors = (part.images, part.mean, part.std, *part.targets.values())
        assert {tensor.device.type for tensor in tensors} == {"meta"}


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("n", [0, -3])
def test_numbers_of_pairs_that_are_not_positive(split, n):
    with pytest.raises(InputError, match=f"^{split}_pairs must be at least 1, got {n}$"):
        multi_mnist.load("stand-in", **{f"{split}_pairs": n})


def test_unknown_pairs_are_told_before_anything_is_read():
    with pytest.raises(
        InputError, match="pairs must be one of mnist, fashion, fashion_and_mnist, got 'letters'"
    ) as error:
        multi_mnist.load("real", "letters")
    assert_one_line(error)


# The files


def pack(path):
    """Leave only the archive, as published."""
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


@pytest.mark.parametrize("packed", [FILES, FILES[:1], FILES[1:3]])
def test_packed_files_give_the_same(small_files, packed):
    unpacked, sums = small("mnist"), multi_mnist.checksums()
    for file in packed:
        pack(path_of(file))
    again = small("mnist")
    assert multi_mnist.is_there()
    assert again.description == unpacked.description
    assert multi_mnist.checksums() == sums
    for split, part in splits_of(again).items():
        assert torch.equal(part.images, splits_of(unpacked)[split].images)


def test_unpacked_file_goes_first(small_files):
    expected = small().description
    for file in FILES:
        path_of(f"{file}.gz").write_bytes(b"something else")
    assert small().description == expected


def test_images_and_labels_as_torchvision_reads_them(small_files):
    from torchvision.datasets import MNIST, FashionMNIST

    for name, dataset in (("mnist", MNIST), ("fashion_mnist", FashionMNIST)):
        splits, _ = multi_mnist.read(name)
        assert list(splits) == ["train", "t10k"]
        for split, (images, classes) in splits.items():
            theirs = dataset(str(small_files), train=split == "train")
            assert np.array_equal(theirs.data.numpy(), images)
            assert theirs.targets.tolist() == classes.tolist()
            assert np.array_equal(made_up(name, split)[0], images)


def broken_files():
    """What -> (file, its content, what the message says)."""
    images, classes = made_up("mnist", "train")
    of_images, of_labels = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
    whole, labels = idx(images), idx(classes)
    as_images, as_labels = "not an idx file of images of 28x28 bytes", "not an idx file of labels of one byte"
    return {
        **{f"images cut to {n}": (of_images, whole[:n], as_images) for n in (0, 3, 4, 7, 15)},
        **{f"images cut to {n}": (of_images, whole[:n], f"{n:,} bytes instead of 47,056") for n in (16, 47_055)},
        "images too long": (of_images, whole + b"\0", "47,057 bytes instead of 47,056"),
        **{f"labels cut to {n}": (of_labels, labels[:n], as_labels) for n in (0, 3)},
        **{f"labels cut to {n}": (of_labels, labels[:n], f"{n} bytes instead of 68") for n in (8, 67)},
        "labels too long": (of_labels, labels + b"\0\0", "70 bytes instead of 68"),
        "web page": (of_images, b"<html>Moved</html>", as_images),
        "labels for images": (of_images, labels, as_images),
        "images for labels": (of_labels, whole, as_labels),
        "an archive in the place": (of_labels, gzip.compress(labels), as_labels),
        "signed bytes": (of_images, b"\0\0\x09" + whole[3:], as_images),
        "little endian": (of_images, struct.pack("<4I", 0x803, 60, 28, 28) + whole[16:], as_images),
        "32x32 images": (of_images, idx(np.zeros((60, 32, 32))), as_images),
        "28x29 images": (of_images, idx(np.zeros((60, 28, 29))), as_images),
        "fewer labels": (of_labels, idx(classes[:-1]), "has 59 labels for 60 images"),
        "fewer test labels": ("t10k-labels-idx1-ubyte", idx(np.arange(20) % 10), "has 20 labels for 40 images"),
        "no label": (of_labels, idx(classes[:0]), "has 0 labels for 60 images"),
        "a label of 10": (of_labels, idx(np.where(np.arange(60) == 5, 10, classes)), "labels are not 0 to 9"),
        "a label of 255": (of_labels, idx(np.where(np.arange(60) == 5, 255, classes)), "labels are not 0 to 9"),
        "a label is missing": (of_labels, idx(np.minimum(classes, 8)), "labels are not 0 to 9"),
        "a label occurs once": (
            "t10k-labels-idx1-ubyte",
            idx(np.where(np.arange(40) == 0, 9, np.arange(40) % 9)),
            "each more than once",
        ),
    }


BROKEN = broken_files()


@pytest.mark.parametrize("what", BROKEN)
def test_broken_file(small_files, what):
    file, content, message = BROKEN[what]
    path_of(file).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        small()
    assert str(error.value).startswith(f"{path_of(file)}: ")
    assert str(error.value).endswith(("get the file again", "get both files again"))
    assert_one_line(error)
    multi_mnist.load("real", "fashion", 5, 5, 5)  # does not need it


@pytest.mark.parametrize("cut", [0, 1, 9, 30, -1])
def test_broken_archive(small_files, cut):
    pack(path_of(FILES[0]))
    path = path_of(f"{FILES[0]}.gz")
    content = path.read_bytes()
    path.write_bytes(content[:cut])
    message = "not a readable gzip file" if cut else "not an idx file"  # an empty archive unpacks to nothing
    with pytest.raises(InputError, match=message) as error:
        small()
    assert str(error.value).startswith(f"{path}: ")
    assert_one_line(error)


def test_changed_archive(small_files):
    pack(path_of(FILES[0]))
    path = path_of(f"{FILES[0]}.gz")
    content = bytearray(path.read_bytes())
    for change in (slice(0, 2), slice(20, 30), slice(-8, None)):  # the magic, the data, the checksum
        changed = content.copy()
        changed[change] = bytes(255 - byte for byte in changed[change])
        path.write_bytes(changed)
        with pytest.raises(InputError, match="not a readable gzip file") as error:
            small()
        assert str(error.value).startswith(f"{path}: ")
        assert_one_line(error)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", FOLDERS)
def test_missing_file(small_files, name, file):
    path = path_of(file, name)
    path.unlink()
    pairs = {"mnist": "mnist", "fashion_mnist": "fashion"}[name]
    for call in (lambda: small(pairs), lambda: small("fashion_and_mnist"), lambda: multi_mnist.checksums(pairs)):
        with pytest.raises(InputError, match=rf"No such file .*`python -m mtlutils data get {name}`") as error:
            call()
        assert str(error.value).startswith(f"{path}: ")
        assert str(error.value).endswith(f"or set MTLUTILS_DATA to the folder that holds {FOLDERS[name]}")
        assert_one_line(error)
    assert {each: multi_mnist.is_there(each) for each in PAIRS} == {
        each: name not in multi_mnist.SETS[each] for each in PAIRS
    }
    assert not multi_mnist.is_there()


def test_folder_in_the_place_of_a_file(small_files):
    path_of(FILES[1]).unlink()
    path_of(FILES[1]).mkdir()
    assert not multi_mnist.is_there("mnist")
    with pytest.raises(InputError, match=f"{FILES[1]}: Is a directory") as error:
        small()
    assert_one_line(error)


def test_nothing_at_all():
    assert not any(map(multi_mnist.is_there, PAIRS))
    with pytest.raises(InputError, match="set MTLUTILS_DATA"):
        small()
    with pytest.raises(InputError, match="set MTLUTILS_DATA"):
        multi_mnist.checksums()


# What a record says of the data


def test_checksums_are_of_the_files_that_the_pairs_need(small_files):
    of = {name: {f"{FOLDERS[name]}/{file}": path_of(file, name) for file in FILES} for name in FOLDERS}
    for pairs in PAIRS:
        needed = {key: path for name in multi_mnist.SETS[pairs] for key, path in of[name].items()}
        sums = {key: f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for key, path in needed.items()}
        assert small(pairs).description.checksums == multi_mnist.checksums(pairs) == sums
        # whatever is made of them
        assert small(pairs, 5, 6, 7).description.checksums == sums
    assert multi_mnist.checksums() == sums


def test_files_that_are_not_the_official_ones_are_named_for_what_they_are(small_files, monkeypatch):
    described = {pairs: small(pairs).description for pairs in PAIRS}
    assert {pairs: each.name for pairs, each in described.items()} == {
        "mnist": "Multi-MNIST",
        "fashion": "Multi-fashion",
        "fashion_and_mnist": "Multi-fashion and MNIST",
    }
    assert {each.kind for each in described.values()} == {"real"}
    assert described["mnist"].description == "pairs of MNIST (60 + 40 images, not the official files)"
    for key, digest in described["fashion"].checksums.items():
        assert "official)" not in small("fashion").description.description.replace("the official files", "")
        monkeypatch.setitem(multi_mnist.OFFICIAL, key, digest)
    assert small("fashion").description.description == "pairs of Fashion-MNIST (60 + 40 images, official)"
    assert small("fashion_and_mnist").description.description == (
        "pairs of MNIST (60 + 40 images, not the official files) and Fashion-MNIST (60 + 40 images, official)"
    )


# The stand-in


@pytest.fixture(scope="module")
def standin():
    return multi_mnist_standin.digits()


def test_standin_is_real_digits_upright_and_on_their_side(standin):
    sets, sums = standin
    assert list(sets) == ["mnist", "fashion_mnist"]
    assert list(sums) == ["digits"]
    sizes = {"train": 1198, "t10k": 599}
    for files in sets.values():
        assert {split: len(classes) for split, (_, classes) in files.items()} == sizes
        for images, classes in files.values():
            assert (images.dtype, images.shape) == (np.uint8, (len(classes), 28, 28))
            assert classes.dtype == np.int64
            assert np.bincount(classes).min() > 0.9 * len(classes) / 10
            assert (images.min(), images.max()) == (0, 255)
            # a border as in MNIST
            inner = images[:, 4:24, 4:24].copy()
            assert images.sum(dtype=int) == inner.sum(dtype=int)
            assert inner[:, 0].any()
            assert inner[:, -1].any()
    for split in sizes:
        (upright, classes), (on_side, other_classes) = (files[split] for files in sets.values())
        assert classes.tolist() == other_classes.tolist()
        assert np.array_equal(on_side[:, 27, 3], upright[:, 3, 0])
        for a, b in zip(upright[:20], on_side[:20], strict=True):
            assert np.array_equal(np.rot90(a), b)


def test_standin_digits_are_enlarged_by_hand():
    # A new pixel is 0.4 of an old one wide; the first two lie at -0.3, which is the edge, and at 0.1.
    image = np.zeros((1, 8, 8), dtype=np.uint8)
    image[0, 0, 0], image[0, 7, 7] = 16, 8
    enlarged = multi_mnist_standin._enlarged(image)[0]
    assert (enlarged.shape, enlarged.dtype) == ((20, 20), np.uint8)
    assert enlarged[0, :5].tolist() == [255, 230, 128, 26, 0]  # 1, 0.9, 0.5, 0.1 of 255, rounded half up
    assert enlarged[1, 1] == 207  # 0.81
    assert enlarged[19, 19] == 128
    assert np.array_equal(enlarged, enlarged.T)
    flat = multi_mnist_standin._enlarged(np.full((1, 8, 8), 5, dtype=np.uint8))
    assert set(flat.ravel().tolist()) == {80}  # 5/16 of 255


def test_standin_splits_share_no_digit(standin):
    for files in standin[0].values():
        splits = multi_mnist._with_halves(files)
        images = {split: {image.tobytes() for image in each} for split, (each, _) in splits.items()}
        assert {split: len(each) for split, each in images.items()} == {"train": 1198, "validation": 299, "test": 300}
        assert len(set.union(*images.values())) == 1797


def test_standin_says_that_it_is_one():
    data = multi_mnist.load("stand-in", "mnist", 40, 30, 20)
    described = data.description
    assert (described.name, described.kind) == ("scikit-learn's digits in pairs", "stand-in")
    assert described.description == "stand-in: pairs of scikit-learn's digits (1,198 + 599)"
    assert described.sizes == {"train": 40, "validation": 30, "test": 20}
    assert list(described.checksums) == ["digits"]
    assert data.class_names == [str(digit) for digit in range(10)] * 2
    again = multi_mnist.load("stand-in", "mnist", 40, 30, 20)
    assert again.description == described
    assert torch.equal(again.train.images, data.train.images)
    other = multi_mnist.load("stand-in", "fashion_and_mnist", 40, 30, 20)
    assert other.description.description == (
        "stand-in: pairs of scikit-learn's digits (1,198 + 599) and scikit-learn's digits on their side (1,198 + 599)"
    )
    assert other.class_names[9:12] == ["9", "0 on its side", "1 on its side"]


@pytest.mark.parametrize("pairs", PAIRS)
def test_standin_tasks_can_be_learnt_but_not_perfectly(pairs):
    data = multi_mnist.load("stand-in", pairs, 2000, 1, 500)
    pixels = {
        split: part.images.numpy()[:, ::2, ::2].reshape(len(part), -1) / 255 for split, part in splits_of(data).items()
    }
    for task in data.n_classes:
        model = LogisticRegression(C=0.03, max_iter=200).fit(pixels["train"], data.train.targets[task])
        assert 0.8 < model.score(pixels["test"], data.test.targets[task]) < 0.97  # 0.88 to 0.91


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


@pytest.fixture(params=FOLDERS)
def archives(request, tmp_path, small_files, server, monkeypatch):
    """The place to download a set from; the checksums of its files, which lie nowhere else, count as official."""
    from torchvision import datasets

    name = request.param
    dataset = getattr(datasets, FOLDERS[name])
    served, contents, resources = tmp_path / "served", {}, []
    served.mkdir()
    for file in FILES:
        content = path_of(file, name).read_bytes()
        path_of(file, name).unlink()
        packed = gzip.compress(content, mtime=0)
        (served / f"{file}.gz").write_bytes(packed)
        contents |= {file: content, f"{file}.gz": packed}
        resources.append((f"{file}.gz", hashlib.md5(packed).hexdigest()))
        official = f"sha256:{hashlib.sha256(content).hexdigest()}"
        monkeypatch.setitem(multi_mnist.OFFICIAL, f"{FOLDERS[name]}/{file}", official)
    multi_mnist.folder(name).rmdir()
    monkeypatch.setattr(dataset, "mirrors", [f"http://127.0.0.1:{server.server_port}/served/"])
    monkeypatch.setattr(dataset, "resources", resources)
    return SimpleNamespace(name=name, served=served, contents=contents, dataset=dataset)


def lying(name):
    return {path.name: path.read_bytes() for path in multi_mnist.folder(name).iterdir()}


def test_download_by_torchvision(archives):
    pairs = {"mnist": "mnist", "fashion_mnist": "fashion"}[archives.name]
    assert not multi_mnist.is_there(pairs)
    assert multi_mnist.download(archives.name) == multi_mnist.folder(archives.name)
    assert lying(archives.name) == archives.contents
    assert multi_mnist.load("real", pairs, 5, 5, 5).description.description.endswith("(60 + 40 images, official)")
    # what is there already is kept
    for path in archives.served.iterdir():
        path.unlink()
    multi_mnist.download(archives.name)
    # or made of the archives
    path_of(FILES[2], archives.name).unlink()
    multi_mnist.download(archives.name)
    assert lying(archives.name) == archives.contents


@pytest.mark.parametrize("how", ["gone", "cut", "other"])
def test_download_that_breaks(archives, how):
    broken = archives.served / f"{FILES[2]}.gz"
    content = broken.read_bytes()
    if how == "gone":
        broken.unlink()
    else:
        broken.write_bytes(content[: len(content) // 2] if how == "cut" else b"<html>Moved</html>")
    with pytest.raises(InputError, match=r"could not be downloaded from .*check the network and try again") as error:
        multi_mnist.download(archives.name)
    assert str(error.value).startswith(archives.dataset.mirrors[0])
    assert ("404" if how == "gone" else "corrupted") in str(error.value)
    assert str(multi_mnist.folder(archives.name)) in str(error.value)
    assert_one_line(error)
    assert not multi_mnist.is_there("fashion_and_mnist")
    # with the whole file, it works
    broken.write_bytes(content)
    multi_mnist.download(archives.name)
    assert lying(archives.name) == archives.contents


@pytest.fixture
def asked(monkeypatch):
    """What torchvision, which is not there, was asked for; ``asked.error`` is what it then raises."""
    asked = SimpleNamespace(calls=[], error=None)

    class MNIST:
        mirrors = ("https://example.org/mnist/", "https://example.com/")

        def __init__(self, root, download):
            asked.calls.append((type(self).__name__, root, download))
            if asked.error is not None:
                raise asked.error

    class FashionMNIST(MNIST):
        pass

    datasets = SimpleNamespace(MNIST=MNIST, FashionMNIST=FashionMNIST)
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(datasets=datasets))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", datasets)
    return asked


@pytest.mark.parametrize("name", FOLDERS)
def test_download_asks_torchvision_for_the_folder_of_all_data(data_folder, asked, name):
    multi_mnist.download(name)
    assert asked.calls == [(FOLDERS[name], str(data_folder), True)]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("form", ["unpacked", "broken", "packed"])
def test_download_keeps_another_file_that_is_in_the_place(small_files, asked, monkeypatch, file, form):
    for key, digest in multi_mnist.checksums().items():
        monkeypatch.setitem(multi_mnist.OFFICIAL, key, digest)
    path = path_of(file)
    content = path.read_bytes()
    path.write_bytes(b"mine" if form == "broken" else content[:-1] + bytes([content[-1] ^ 1]))
    if form == "packed":
        pack(path)
        path = path_of(f"{file}.gz")
    before = path.read_bytes()
    with pytest.raises(InputError, match="there is a file that is not the official one; move it away first") as error:
        multi_mnist.download("mnist")
    assert str(error.value).startswith(f"{path}: ")
    assert_one_line(error)
    assert path.read_bytes() == before
    assert not asked.calls
    multi_mnist.download("fashion_mnist")  # has nothing to do with it


def test_download_may_replace_a_broken_archive(data_folder, asked):
    multi_mnist.folder("mnist").mkdir(parents=True)
    path_of(f"{FILES[0]}.gz").write_bytes(gzip.compress(b"images")[:-3])
    multi_mnist.download("mnist")
    assert asked.calls


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (
            RuntimeError(
                "Error downloading train-images-idx3-ubyte.gz:\n"
                "Tried https://example.org/mnist/, got:\n<urlopen error [Errno -2] Name or service not known>\n"
            ),
            r"\(<urlopen error \[Errno -2\] Name or service not known>\)",
        ),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (EOFError("Compressed file ended"), r"\(Compressed file ended\)"),
        (TimeoutError(), r"\(TimeoutError\)"),
    ],
)
def test_download_without_a_network(data_folder, asked, raised, reason):
    asked.error = raised
    with pytest.raises(InputError, match=reason) as error:
        multi_mnist.download("mnist")
    assert str(error.value).startswith("https://example.org/mnist/ could not be downloaded from (")
    assert str(error.value).endswith(f"put the four .gz files into {data_folder / 'MNIST' / 'raw'} yourself")
    assert_one_line(error)


def test_page_lists_the_archives_that_torchvision_downloads():
    from torchvision.datasets import MNIST, FashionMNIST

    page = (Path(__file__).parent.parent / "book" / "data.md").read_text()
    for dataset in (MNIST, FashionMNIST):
        for file, md5 in dataset.resources:
            assert f"{dataset.__name__}/raw/{file}" in page
            assert md5 in page


def test_files_and_class_names_are_torchvisions():
    from torchvision.datasets import MNIST, FashionMNIST

    listed = [
        f"{each.__name__}/{file.removesuffix('.gz')}" for each in (MNIST, FashionMNIST) for file, _ in each.resources
    ]
    assert sorted(listed) == sorted(multi_mnist.OFFICIAL)
    assert multi_mnist.CLASS_NAMES["fashion_mnist"] == FashionMNIST.classes
    assert multi_mnist.CLASS_NAMES["mnist"] == [name[0] for name in MNIST.classes]


# The real files

COUNTS = {
    "mnist": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "fashion_mnist": [6000] * 10,
}
"""Training images of each class, as published."""

TEST_COUNTS = {"mnist": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009], "fashion_mnist": [1000] * 10}


@pytest.mark.parametrize("name", FOLDERS)
def test_real_files(real_data, name):
    if not multi_mnist.is_there({"mnist": "mnist", "fashion_mnist": "fashion"}[name]):
        pytest.skip(f"MTLUTILS_DATA has no {FOLDERS[name]}")
    splits, sums = multi_mnist.read(name)
    assert np.bincount(splits["train"][1]).tolist() == COUNTS[name]
    assert np.bincount(splits["t10k"][1]).tolist() == TEST_COUNTS[name]
    assert sums == {key: digest for key, digest in multi_mnist.OFFICIAL.items() if key.startswith(f"{FOLDERS[name]}/")}
    halves = multi_mnist._with_halves(splits)
    assert [np.bincount(halves[split][1]).tolist() for split in ("validation", "test")] == [
        pytest.approx(np.array(TEST_COUNTS[name]) / 2, abs=0.5)
    ] * 2
    # Nothing is in two splits, but for some images that Fashion-MNIST itself holds twice
    images = {split: {image.tobytes() for image in each} for split, (each, _) in halves.items()}
    assert sum(map(len, images.values())) - len(set.union(*images.values())) < 50
    # The numbers commonly given for the training images
    mean, std = splits["train"][0].mean() / 255, splits["train"][0].std() / 255
    assert (mean, std) == pytest.approx({"mnist": (0.1307, 0.3081), "fashion_mnist": (0.2860, 0.3530)}[name], abs=1e-4)


@pytest.mark.parametrize("pairs", PAIRS)
def test_real_pairs_in_full(real_data, pairs):
    if not multi_mnist.is_there(pairs):
        pytest.skip("MTLUTILS_DATA has not all files")
    data = multi_mnist.load("real", pairs)
    sizes = {"train": 120_000, "validation": 10_000, "test": 10_000}
    assert {split: len(part) for split, part in splits_of(data).items()} == data.description.sizes == sizes
    assert data.description.description.count(" official)") == len(set(multi_mnist.SETS[pairs]))
    for (task, classes), name in zip(data.train.targets.items(), multi_mnist.SETS[pairs], strict=True):
        expected = 2 * np.array(COUNTS[name])
        assert abs(classes.bincount().numpy() - expected).max() < 6 * expected.max() ** 0.5
        for part in (data.validation, data.test):
            assert part.targets[task].unique().tolist() == list(range(10))
