"""Batches of images: their order, layout and normalisation, and what augmentation does to them."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from mtlutils.data.images import ImageSplit

MEAN, STD = torch.tensor([100.0, 120.0, 140.0]), torch.tensor([50.0, 60.0, 80.0])


def split_of(n, height=6, width=5, padding=None):
    """Images in which every pixel is random, with two tasks' classes, both the image's number in some form."""
    images = torch.randint(1, 256, (n, height, width, 3), generator=torch.Generator().manual_seed(9))
    targets = {"a": torch.arange(n), "b": 1000 - torch.arange(n)}
    return ImageSplit(images.to(torch.uint8), targets, MEAN, STD, padding)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def epoch(split, batch_size=4, order=None):
    """All images of an epoch (N, C, H, W) and the number of each."""
    batches = list(split.batches(batch_size, order))
    return torch.cat([images for (images,), _ in batches]), torch.cat([targets["a"] for _, targets in batches])


def normalised(image):
    """An image (H, W, C) in bytes as the network gets it, pixel by pixel."""
    channels = [(image[..., c].astype(np.float32) - MEAN[c].item()) / STD[c].item() for c in range(3)]
    return torch.from_numpy(np.stack(channels))


def crops_of(image, padding):
    """(y, x, mirrored) -> crop of an image (H, W, C) padded with black, by numpy."""
    height, width, _ = image.shape
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    corners = range(2 * padding + 1)
    crops = {(y, x): padded[y : y + height, x : x + width] for y, x in itertools.product(corners, corners)}
    return {(*at, mirrored): c[:, ::-1] if mirrored else c for at, c in crops.items() for mirrored in (False, True)}


def draws(split, order, batch_size=4):
    """(y, x, mirrored) of each image of an epoch, found among all crops of the image of its target."""
    images, numbers = epoch(split, batch_size, order)
    found, known = [], {}
    for image, number in zip(images, numbers, strict=True):
        stored = split.images[number].numpy()
        if stored.tobytes() not in known:
            crops = crops_of(stored, split.padding)
            known[stored.tobytes()] = {crop.tobytes(): (at, crop) for at, crop in crops.items()}
            assert len(known[stored.tobytes()]) == len(crops)
        in_bytes = (image.permute(1, 2, 0) * STD + MEAN).round().byte().numpy().tobytes()
        draw, crop = known[stored.tobytes()][in_bytes]
        assert torch.equal(image, normalised(crop))
        found.append(draw)
    return found


@pytest.mark.parametrize("padding", [None, 4])
def test_without_a_generator_images_are_as_they_lie(padding):
    split = split_of(7, padding=padding)
    images, numbers = epoch(split)
    assert numbers.tolist() == list(range(7))
    for image, stored in zip(images, split.images, strict=True):
        assert torch.equal(image, normalised(stored.numpy()))


def test_normalisation_by_hand():
    pixels = torch.tensor([[[[100, 0, 220]]], [[[150, 255, 60]]]], dtype=torch.uint8)
    ((images,), _), = ImageSplit(pixels, {}, MEAN, STD).batches(2)  # fmt: skip
    torch.testing.assert_close(images[:, :, 0, 0], torch.tensor([[0.0, -2.0, 1.0], [1.0, 2.25, -1.0]]))


@pytest.mark.parametrize("padding", [None, 2])
@pytest.mark.parametrize("shuffled", [False, True])
def test_layout_and_type(padding, shuffled):
    split = split_of(4, padding=padding)
    for (images,), _ in split.batches(3, generator() if shuffled else None):
        assert images.shape[1:] == (3, 6, 5)
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
    assert split.images.dtype == torch.uint8


@pytest.mark.parametrize("n", [1, 4, 10])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
@pytest.mark.parametrize("padding", [None, 1])
@pytest.mark.parametrize("shuffled", [False, True])
def test_every_image_once_and_a_smaller_last_batch(n, batch_size, padding, shuffled):
    split = split_of(n, padding=padding)
    batches = list(split.batches(batch_size, generator() if shuffled else None))
    full, rest = divmod(n, batch_size)
    assert len(split) == n
    assert [len(images) for (images,), _ in batches] == [batch_size] * full + [rest] * bool(rest)
    for (images,), targets in batches:
        assert set(targets) == {"a", "b"}
        assert len(images) == len(targets["a"])
        assert torch.equal(targets["b"], 1000 - targets["a"])
    assert sorted(torch.cat([targets["a"] for _, targets in batches]).tolist()) == list(range(n))


def test_shuffled_images_without_padding_are_not_augmented():
    split = split_of(40)
    images, numbers = epoch(split, 7, generator())
    assert numbers.tolist() != list(range(40))
    for image, number in zip(images, numbers, strict=True):
        assert torch.equal(image, normalised(split.images[number].numpy()))


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_augmented_images_are_crops_of_the_image_of_their_target(batch_size):
    split = split_of(30, padding=3)
    assert len(draws(split, generator(), batch_size)) == 30


def test_image_cropped_by_hand():
    # One channel of two rows and three columns, padded by 1: what each draw leaves of it.
    image = torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.uint8).view(1, 2, 3, 1)
    split = ImageSplit(image, {}, torch.zeros(1), torch.ones(1), padding=1)

    def crop(y, x, mirrored):
        return split._cropped(image, torch.tensor([[y], [x]]), torch.tensor([mirrored]))[0, :, :, 0].tolist()

    assert crop(1, 1, False) == [[1, 2, 3], [4, 5, 6]]
    assert crop(1, 1, True) == [[3, 2, 1], [6, 5, 4]]
    assert crop(0, 1, False) == [[0, 0, 0], [1, 2, 3]]
    assert crop(1, 0, False) == [[0, 1, 2], [0, 4, 5]]
    assert crop(2, 2, False) == [[5, 6, 0], [0, 0, 0]]
    assert crop(0, 2, True) == [[0, 0, 0], [0, 3, 2]]


def test_every_corner_is_drawn_and_half_of_the_images_are_mirrored():
    n, padding = 3000, 2
    image = split_of(1, height=4, width=3).images
    split = ImageSplit(image.repeat(n, 1, 1, 1), {"a": torch.arange(n)}, MEAN, STD, padding)
    found = Counter(draws(split, generator(), 100))
    corners = (2 * padding + 1) ** 2
    assert set(found) == {(y, x, mirrored) for y in range(5) for x in range(5) for mirrored in (False, True)}
    # Each is as probable as any other: chi-square with 49 degrees of freedom, above 85 for one seed in a thousand.
    expected = n / (2 * corners)
    assert sum((count - expected) ** 2 / expected for count in found.values()) < 85


def test_images_of_one_batch_are_cropped_each_on_its_own():
    found = draws(split_of(50, padding=3), generator(), batch_size=50)
    assert len(set(found)) > 25
    assert {y for y, _, _ in found} == {x for _, x, _ in found} == set(range(7))


def test_padding_of_0_mirrors_alone():
    found = draws(split_of(60, padding=0), generator(), 60)
    assert set(found) == {(0, 0, False), (0, 0, True)}


def test_same_generator_same_epoch_and_the_next_epoch_is_another():
    split = split_of(50, padding=4)
    order = generator(3)
    first, numbers = epoch(split, order=order)
    second, other_numbers = epoch(split, order=order)
    assert numbers.tolist() != other_numbers.tolist()
    assert not torch.equal(first[numbers.argsort()], second[other_numbers.argsort()])  # nor are images cropped alike
    again, same_numbers = epoch(split, order=generator(3))
    assert torch.equal(first, again)
    assert torch.equal(numbers, same_numbers)
    _, of_other_seed = epoch(split, order=generator(4))
    assert numbers.tolist() != of_other_seed.tolist()


def test_batch_size_changes_no_image():
    # All draws of an epoch are made before its first batch.
    split = split_of(50, padding=4)
    images, numbers = epoch(split, 50, generator(3))
    for batch_size in (1, 16):
        other, other_numbers = epoch(split, batch_size, generator(3))
        assert torch.equal(images, other)
        assert torch.equal(numbers, other_numbers)


def test_global_random_state_has_no_part_in_it():
    split = split_of(20, padding=4)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, _ = epoch(split, order=generator())
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert torch.equal(first, epoch(split, order=generator())[0])


def test_stored_images_stay_as_they_are():
    split = split_of(20, padding=4)
    before = split.images.clone()
    epoch(split, order=generator())
    assert torch.equal(split.images, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_same_images_on_a_gpu():
    on_cpu = split_of(50, padding=4)
    targets = {task: classes.cuda() for task, classes in on_cpu.targets.items()}
    on_gpu = ImageSplit(on_cpu.images.cuda(), targets, MEAN.cuda(), STD.cuda(), padding=4)
    images, numbers = epoch(on_cpu, order=generator())
    other, other_numbers = epoch(on_gpu, order=generator())
    assert other.is_cuda
    torch.testing.assert_close(other.cpu(), images)
    assert torch.equal(other_numbers.cpu(), numbers)
