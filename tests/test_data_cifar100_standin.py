"""The stand-in of CIFAR-100: its format, what is drawn anew, and what tells its classes apart."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlutils.data import cifar100_standin
from mtlutils.errors import InputError


@pytest.fixture(scope="module")
def splits():
    return cifar100_standin.generate()


@pytest.mark.parametrize(("split", "n"), [("train", 2000), ("test", 1000)])
def test_format_and_balance(splits, split, n):
    images, fine, coarse = splits[split]
    assert (images.shape, images.dtype) == ((n, 32, 32, 3), np.uint8)
    assert (fine.shape, fine.dtype) == (coarse.shape, coarse.dtype) == ((n,), np.int64)
    assert np.bincount(fine).tolist() == [n // 100] * 100
    assert np.bincount(coarse).tolist() == [n // 20] * 20
    # shuffled: neither sorted nor in turns
    assert abs(np.corrcoef(fine, np.arange(n))[0, 1]) < 0.1
    assert len({tuple(block) for block in fine.reshape(-1, 100)}) == n // 100
    assert np.mean(fine == np.arange(n) % 100) < 0.05


def test_images_use_the_range_and_are_not_cut_off(splits):
    images = splits["train"][0]
    assert images.min() < 10
    assert images.max() > 245
    assert np.isin(images, (0, 255)).mean() < 0.05


def test_superclass_is_five_shapes_of_one_texture(splits):
    pairs = {(f, c) for _, fine, coarse in splits.values() for f, c in zip(fine.tolist(), coarse.tolist(), strict=True)}
    assert len(pairs) == 100
    for superclass in range(20):
        names = [cifar100_standin.CLASS_NAMES[f] for f, c in pairs if c == superclass]
        assert len(names) == 5
        assert len({name.split()[0] for name in names}) == 1


def test_names_are_of_textures_and_shapes():
    names = [name.split() for name in cifar100_standin.CLASS_NAMES]
    assert names[0] == ["plain", "disc"]
    assert len({tuple(name) for name in names}) == 100
    assert all(name == [names[i % 10][0], names[i - i % 10][1]] for i, name in enumerate(names))


def test_deterministic():
    first, again, other = (cifar100_standin.generate(n_train=200, n_test=100, seed=seed) for seed in (0, 0, 1))
    for split in ("train", "test"):
        for a, b in zip(first[split], again[split], strict=True):
            assert a.tobytes() == b.tobytes()
        for a, b in zip(first[split], other[split], strict=True):
            assert a.tobytes() != b.tobytes()


def test_no_image_occurs_twice(splits):
    assert len({image.tobytes() for images, _, _ in splits.values() for image in images}) == 3000


@pytest.mark.parametrize("n", [0, -100, 50, 150, 1999])
@pytest.mark.parametrize("split", ["train", "test"])
def test_other_numbers_of_images(split, n):
    with pytest.raises(InputError, match=f"^n_{split} must be a positive multiple of 100.*; got {n:,}$"):
        cifar100_standin.generate(**{"n_train": 100, "n_test": 100, f"n_{split}": n})


def test_shapes_have_the_same_area():
    grid = np.linspace(-2, 2, 801)
    x, y = np.meshgrid(grid, grid)
    areas = {name: 16 * (inside(x, y) > 0).mean() for name, inside in cifar100_standin._SHAPES.items()}
    assert areas == pytest.approx(dict.fromkeys(areas, np.pi), rel=0.05)


# What tells the classes apart. The comments give the accuracies measured with the seeds 0, 1 and 2.


def colours(images):
    """Mean and standard deviation of each channel, and a histogram of 4×4×4 colours."""
    pixels = images.reshape(len(images), -1, 3)
    bins = pixels // 64 @ np.array([16, 4, 1])
    histogram = np.stack([np.bincount(row, minlength=64) for row in bins]) / bins.shape[1]
    return np.concatenate([pixels.mean(axis=1), pixels.std(axis=1), histogram], axis=1)


def gradients(images):
    """Histogram of the edges' 8 directions in each of 8×8 cells, whatever their colours: a plain HOG."""
    dy, dx = np.gradient(images.astype(np.float32), axis=(1, 2))
    strongest = (dy**2 + dx**2).argmax(axis=3)[..., None]
    dy, dx = (np.take_along_axis(d, strongest, axis=3)[..., 0] for d in (dy, dx))
    direction = (np.arctan2(dy, dx) % np.pi * 8 / np.pi).astype(int) % 8
    edges = np.hypot(dy, dx)[..., None] * (direction[..., None] == np.arange(8))
    cells = edges.reshape(len(images), 8, 4, 8, 4, 8).sum(axis=(2, 4)).reshape(len(images), -1)
    return np.sqrt(cells / cells.sum(axis=1, keepdims=True))


def accuracies(classifier, features, splits):
    """Shares of the test images whose class, whose shape and whose texture is found."""
    (train, fine, _), (test, expected, _) = splits["train"], splits["test"]
    train, test = features(train), features(test)
    labels = ((fine, expected), (fine // 10, expected // 10), (fine % 10, expected % 10))
    return [np.mean(classifier.fit(train, known).predict(test) == wanted) for known, wanted in labels]


def forest():
    return RandomForestClassifier(40, random_state=0)


def linear():
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))


@pytest.mark.parametrize("classifier", [forest, linear])
def test_colours_say_little_about_the_class(splits, classifier):
    of_class, of_shape, of_texture = accuracies(classifier(), colours, splits)
    assert of_class < 0.05  # 0.02 to 0.03; chance is 0.01
    assert of_shape < 0.16  # 0.10 to 0.12; chance is 0.1
    # More about the texture: a plain shape has one colour, a shaded one all those between two.
    assert of_texture < 0.4  # 0.16 to 0.29; chance is 0.1


def test_edges_say_much_about_the_class_and_not_all(splits):
    classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    of_class, of_shape, of_texture = accuracies(classifier, gradients, splits)
    assert 0.2 < of_class < 0.6  # 0.31 to 0.34
    assert 0.75 < of_shape < 0.98  # 0.90 to 0.92
    assert 0.3 < of_texture < 0.7  # 0.41 to 0.45
