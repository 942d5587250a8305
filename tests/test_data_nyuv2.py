"""NYUv2: MTAN's files and their packed copies, the official file, and the real sample images."""

import os
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy.io import savemat
from shared import trained_on, write_set
from torch.nn.functional import normalize

from mtlutils import folders, metrics
from mtlutils.data import dense, nyuv2, nyuv2_official, nyuv2_samples, packed
from mtlutils.errors import InputError

H, W = 12, 24
SIZES = {"train": 4, "val": 3}
AGAIN = "unpack the archive again"


def assert_one_line(error):
    assert "\n" not in str(error.value)


# MTAN's files


def made_up(seed):
    """What the four files of an image hold, with unlabelled pixels, unknown depths and unknown normals."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(H, W, 3))
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    known = rng.random((H, W, 1)) < 0.8
    return {
        "image": rng.random((H, W, 3)),
        "label": rng.integers(-1, 13, (H, W)).astype(np.float32),
        "depth": (rng.uniform(0.7, 10, (H, W, 1)) * known).astype(np.float32),
        "normal": normal * known,
    }


SEEDS = {(split, i): 10 * (split == "val") + i for split, n in SIZES.items() for i in range(n)}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A tiny set in the published layout, and where it lies."""
    monkeypatch.setenv("MTLUTILS_DATA", str(tmp_path / "data"))
    place = tmp_path / "data" / "nyuv2"
    assert write_set(place, SIZES, made_up) == SEEDS
    return place


def test_arrays_are_those_of_the_files(files):
    data = nyuv2.load()
    assert {"train": len(data.train), "val": len(data.test)} == SIZES
    for (split, i), seed in SEEDS.items():
        part, expected = getattr(data, "test" if split == "val" else split), made_up(seed)
        assert part.images.dtype == part.targets["depth"].dtype == part.targets["normal"].dtype == torch.float16
        assert part.targets["segmentation"].dtype == torch.int8
        assert np.array_equal(part.targets["segmentation"][i].numpy(), expected["label"])
        for name, array in (
            ("image", part.images),
            ("depth", part.targets["depth"]),
            ("normal", part.targets["normal"]),
        ):
            found = array[i].numpy().astype(float)
            assert np.allclose(found, np.moveaxis(expected[name], 2, 0), rtol=2**-11, atol=1e-7)
        # What is not known stays so, and what is known does too.
        assert np.array_equal(part.targets["depth"][i].numpy()[0] > 0, expected["depth"][..., 0] > 0)
        assert np.array_equal(part.targets["normal"][i].numpy().any(axis=0), expected["normal"].any(axis=2))


def test_batches_are_as_documented(files):
    split = nyuv2.load().train
    batches = list(split.batches(3))
    assert [len(images) for (images,), _ in batches] == [3, 1]
    (images,), targets = batches[0]
    assert (images.dtype, images.shape) == (torch.float32, (3, 3, H, W))
    shapes = {task: (target.dtype, tuple(target.shape)) for task, target in targets.items()}
    assert shapes == {
        "segmentation": (torch.int64, (3, H, W)),
        "depth": (torch.float32, (3, 1, H, W)),
        "normal": (torch.float32, (3, 3, H, W)),
    }
    assert torch.equal(images, split.images[:3].float())
    assert targets["segmentation"].min() == dense.UNLABELLED
    assert targets["segmentation"].max() == len(nyuv2.CLASS_NAMES) - 1


def rows_of(batches):
    return torch.cat([images for (images,), _ in batches])


@pytest.mark.parametrize("augment", [False, True])
def test_order_and_augmentation_are_the_generators(files, augment):
    split = nyuv2.load(augment=augment).train
    first, second, other = (list(split.batches(3, torch.Generator().manual_seed(seed))) for seed in (0, 0, 1))
    for ((images,), targets), ((again,), same) in zip(first, second, strict=True):
        assert torch.equal(images, again)
        assert all(torch.equal(targets[task], same[task]) for task in targets)
    assert not torch.equal(rows_of(first), rows_of(other))
    # Another size of batches changes neither the order nor the draws.
    assert torch.equal(rows_of(first), rows_of(split.batches(1, torch.Generator().manual_seed(0))))
    shuffled = {image.numpy().tobytes() for image in rows_of(first)}
    assert (shuffled == {image.float().numpy().tobytes() for image in split.images}) == (not augment)


def test_what_a_gpu_has_no_room_for_stays_on_the_cpu(files, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 1000))
    assert [dense.home(n_bytes, "cuda").type for n_bytes in (500, 501)] == ["cuda", "cpu"]
    monkeypatch.setattr(packed, "home", lambda *_: torch.device("cpu"))  # as if "meta" were a full GPU
    train = nyuv2.load(augment=True, device="meta").train
    assert train.images.device.type == "cpu"
    (images,), targets = next(train.batches(2, torch.Generator()))
    assert {each.device.type for each in (images, *targets.values())} == {"meta"}


def test_augmentation_is_of_shuffled_training_images_only_and_off_by_default(files):
    assert not nyuv2.load().train.augment
    data = nyuv2.load(augment=True)
    assert data.train.augment
    assert not data.test.augment
    assert torch.equal(rows_of(data.train.batches(2)), data.train.images.float())


def test_description(files):
    description = nyuv2.load().description
    assert (description.name, description.kind) == ("NYUv2", "real")
    assert description.sizes == {"train": 4, "test": 3}
    assert description.description == (
        "NYUv2 (4 + 3 images of 12x24 pixels, not the published number; files in the layout of MTAN's authors)"
    )
    parts = ("image", "label", "depth", "normal")
    assert set(description.checksums) == {f"{split}/{part}" for split in SIZES for part in parts}
    assert all(digest.startswith("sha256:") and len(digest) == 71 for digest in description.checksums.values())


def test_published_numbers_are_told(files, monkeypatch):
    for split, n in SIZES.items():
        monkeypatch.setitem(nyuv2.PUBLISHED, split, n)
    assert "the published number;" in nyuv2.load().description.description
    assert "not the published" not in nyuv2.load().description.description


def test_split_is_the_official_one():
    assert sum(nyuv2.PUBLISHED.values()) == 1449


@pytest.mark.parametrize("tasks", [["depth"], ["normal", "segmentation"], []])
def test_only_the_tasks_asked_for_are_read(files, tasks):
    for task, part in (("segmentation", "label"), ("depth", "depth"), ("normal", "normal")):
        if task not in tasks:
            (files / "train" / part / "0.npy").write_bytes(b"broken")
    data = nyuv2.load(tasks)
    assert list(data.train.targets) == list(data.n_outputs) == tasks
    assert len(data.description.checksums) == 2 * (1 + len(tasks))


def test_unknown_task():
    with pytest.raises(InputError, match="tasks must be of segmentation, depth, normal, got 'normals'"):
        nyuv2.load(["depth", "normals"])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_kinds_of_floats(files, dtype):
    expected = nyuv2.load().train.images
    for part in ("image", "depth", "normal"):
        for path in (files / "train" / part).iterdir():
            np.save(path, np.load(path).astype(dtype))
    assert torch.allclose(nyuv2.load().train.images, expected, rtol=2**-9)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float64])
def test_kinds_of_labels(files, dtype):
    expected = nyuv2.load().train.targets["segmentation"]
    for path in (files / "train" / "label").iterdir():
        np.save(path, np.load(path).astype(dtype))
    assert torch.equal(nyuv2.load().train.targets["segmentation"], expected)


def test_other_files_in_the_folders_are_left_alone(files):
    (files / "train" / "image" / "._0.npy").write_bytes(b"of macOS")
    (files / "train" / "image" / "readme.txt").write_text("of somebody")
    (files / "train" / "noise").mkdir()
    assert len(nyuv2.load().train) == 4


def test_a_network_trains_on_it_with_the_papers_losses_and_metrics(files):
    data = nyuv2.load(augment=True)
    splits = {"train": data.train, "validation": data.test, "test": data.test}
    result = trained_on(data, splits, epochs=3, batch_size=2)
    per_task = {
        "segmentation": ["miou", "pixel_accuracy"],
        "depth": ["absolute_error", "relative_error"],
        "normal": ["mean_angle", "median_angle", *metrics.THRESHOLDS],
    }
    names = {f"test/{what}/{task}" for task, measures in per_task.items() for what in [*measures, "loss"]}
    assert {name for name in result.metrics if name.startswith("test/")} == names
    total = np.sum([result.curves[f"train/loss/{task}"] for task in per_task], axis=0)
    assert total[-1] < total[0]


# What is missing or broken


def test_nothing_there_says_what_to_get_from_where_and_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MTLUTILS_DATA", str(tmp_path))
    assert not nyuv2.is_there()
    with pytest.raises(InputError) as error:
        nyuv2.load()
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'nyuv2' / 'train' / 'image'}: no such folder")
    for what in ("https://github.com/lorenmt/mtan", "8.5 GB", str(tmp_path / "nyuv2" / "train" / "image" / "0.npy")):
        assert what in message
    for what in (
        "https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html",
        "2.8 GB",
        "prepare_official",
        "MTLUTILS_DATA",
    ):
        assert what in message
    assert_one_line(error)


def remove(folder):
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_no_normals_are_told_apart_from_nothing(files):
    assert nyuv2.is_there()
    for split in SIZES:
        remove(files / split / "normal")
    assert not nyuv2.is_there()
    assert nyuv2.is_there(["segmentation", "depth"])
    with pytest.raises(
        InputError, match=r"normal: no such folder; the official file has no normals.*lorenmt/mtan"
    ) as error:
        nyuv2.load()
    assert_one_line(error)
    assert list(nyuv2.load(["segmentation", "depth"]).train.targets) == ["segmentation", "depth"]


@pytest.mark.parametrize("split", SIZES)
@pytest.mark.parametrize("part", ["image", "label", "depth", "normal"])
def test_missing_file_or_folder_is_named(files, split, part):
    last = files / split / part / f"{SIZES[split] - 1}.npy"
    content = last.read_bytes()
    (files / split / part / "1.npy").unlink()
    with pytest.raises(InputError, match=f"1.npy: missing, with {SIZES[split] - 1} files beside it; {AGAIN}") as error:
        nyuv2.load()
    assert_one_line(error)
    (files / split / part / "1.npy").write_bytes(content)
    last.unlink()
    with pytest.raises(InputError, match="files for") as error:
        nyuv2.load()
    assert_one_line(error)
    for path in (files / split / part).iterdir():
        path.unlink()
    with pytest.raises(InputError, match=rf"{split}.{part}.0.npy: missing; {AGAIN}"):
        nyuv2.load()
    (files / split / part).rmdir()
    with pytest.raises(InputError, match=rf"{split}.{part}: no such folder"):
        nyuv2.load()


def test_folder_or_dangling_link_in_the_place_of_a_file(files):
    path = files / "val" / "depth" / "0.npy"
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(InputError, match=r"0.npy: missing"):
        nyuv2.load()
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match=r"0.npy: missing"):
        nyuv2.load()


GOOD = made_up(0)
WITH_NAN = GOOD["depth"].copy()
WITH_NAN[3, 4] = np.nan

BROKEN = {
    "image": [
        ((GOOD["image"] * 255).astype(np.uint8), r"uint8 \(12, 24, 3\), expected floats \(H, W, 3\)"),
        (GOOD["image"] * 255, "numbers from .* to .*, expected numbers from 0 to 1"),
        (GOOD["image"].transpose(2, 0, 1), r"float64 \(3, 12, 24\), expected floats"),
        (GOOD["image"][..., :1], r"float64 \(12, 24, 1\), expected"),
        (GOOD["image"][..., 0], r"float64 \(12, 24\), expected"),
        (GOOD["image"][:0], r"float64 \(0, 24, 3\), expected"),
        (GOOD["image"].astype(complex), "complex128"),
        (np.full((H, W, 3), np.inf), "numbers from inf to inf"),
    ],
    "label": [
        (GOOD["label"] + 1, "numbers from 0 to 13, expected whole numbers from -1 to 12"),
        (GOOD["label"] - 1, "numbers from -2 to 11"),
        (GOOD["label"] + 0.5, "numbers from"),
        (GOOD["label"][..., None], r"float32 \(12, 24, 1\), expected numbers \(H, W\)"),
        (GOOD["label"] > 0, r"bool \(12, 24\)"),
    ],
    "depth": [
        (GOOD["depth"] * 1000, "expected metres from 0 to 100"),
        (GOOD["depth"] - 5, "expected metres"),
        (WITH_NAN, "numbers from nan to nan"),
        (GOOD["depth"][..., 0], r"float32 \(12, 24\), expected floats \(H, W, 1\)"),
        ((GOOD["depth"] * 1000).astype(np.uint16), "uint16"),
    ],
    "normal": [
        (GOOD["normal"] * 127.5 + 127.5, "expected numbers from -1 to 1"),
        (np.moveaxis(GOOD["normal"], 2, 0), r"float64 \(3, 12, 24\)"),
    ],
}


@pytest.mark.parametrize(
    ("part", "array", "message"), [(part, *case) for part, cases in BROKEN.items() for case in cases]
)
def test_broken_contents_are_named(files, part, array, message):
    path = files / "train" / part / "2.npy"
    np.save(path, array)
    with pytest.raises(InputError, match=message) as error:
        nyuv2.load()
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).endswith(AGAIN)
    assert_one_line(error)
    assert not list((folders.cache() / "nyuv2").glob(f"train-{part}-*"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"<html>Moved</html>",
        b"PK\x03\x04 and so on",
        lambda whole: whole[:-1],
        lambda whole: whole[:90],
    ],
    ids=["empty", "cut to 6", "web page", "zip", "cut at the end", "cut in the header"],
)
def test_cut_or_foreign_file_is_named(files, content):
    path = files / "val" / "normal" / "1.npy"
    path.write_bytes(content(path.read_bytes()) if callable(content) else content)
    with pytest.raises(InputError, match=r"not a readable .npy file") as error:
        nyuv2.load()
    assert str(error.value).startswith(f"{path}: ")
    assert_one_line(error)


def test_archive_of_arrays_is_no_array(files):
    path = files / "train" / "image" / "0.npy"
    with path.open("wb") as file:
        np.savez(file, GOOD["image"])
    with pytest.raises(InputError, match=r"0.npy: not a readable .npy file"):
        nyuv2.load()


def test_pickle_is_not_run(files):
    path = files / "train" / "depth" / "0.npy"
    np.save(path, np.array([Path("/")], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"0.npy: not a readable .npy file"):
        nyuv2.load()


def test_images_of_several_sizes(files):
    path = files / "train" / "image" / "2.npy"
    np.save(path, np.zeros((H + 1, W, 3)))
    with pytest.raises(InputError, match=f"2.npy: 13x24 pixels, 0.npy beside it has 12x24; {AGAIN}") as error:
        nyuv2.load()
    assert_one_line(error)


def test_targets_of_another_size_than_the_images(files):
    for i in range(3):
        np.save(files / "val" / "depth" / f"{i}.npy", np.ones((H, W - 1, 1), dtype=np.float32))
    with pytest.raises(InputError, match="val/depth: is of 12x23 pixels, the images of 12x24") as error:
        nyuv2.load()
    assert_one_line(error)


# The packed copies


def packed_files():
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (folders.cache() / "nyuv2").iterdir()}


def test_files_are_packed_once_and_then_memory_mapped(files, monkeypatch):
    first = nyuv2.load()
    before = packed_files()
    assert len(before) == 2 * 2 * 4
    assert not [name for name in before if name.startswith(".")]
    monkeypatch.setattr(packed, "_read", None)  # nothing is read again
    second = nyuv2.load()
    assert packed_files() == before
    assert second.description == first.description
    assert torch.equal(second.train.images, first.train.images)
    # Mapped, not read: a change made to the file beneath shows.
    (path,) = (folders.cache() / "nyuv2").glob("train-label-*.npy")
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x07")
    assert second.train.targets["segmentation"][-1, -1, -1] == 7


def test_packed_copies_cannot_be_changed_by_way_of_the_tensors(files):
    data = nyuv2.load()
    data.train.images.zero_()
    assert nyuv2.load().train.images.sum() > 0


@pytest.mark.parametrize("change", ["content", "time", "name"])
def test_changed_files_are_packed_again(files, change):
    before = nyuv2.load()
    path = files / "train" / "depth" / "1.npy"
    stat = path.stat()
    if change == "name":  # one image more, in every folder
        for part in ("image", "label", "depth", "normal"):
            (files / "train" / part / "4.npy").write_bytes((files / "train" / part / "0.npy").read_bytes())
    else:
        if change == "content":
            np.save(path, np.ones((H, W, 1), dtype=np.float32))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    after = nyuv2.load()
    changed = {
        key for key, digest in after.description.checksums.items() if before.description.checksums[key] != digest
    }
    if change == "name":
        assert len(after.train) == 5
        assert changed == {f"train/{part}" for part in ("image", "label", "depth", "normal")}
    elif change == "content":
        assert (after.train.targets["depth"][1] == 1).all()
        assert changed == {"train/depth"}
    else:
        assert not changed


@pytest.mark.parametrize("gone", ["*.npy", "*.sha256"])
def test_half_of_a_packed_copy_is_packed_again(files, gone):
    expected = nyuv2.load()
    for path in (folders.cache() / "nyuv2").glob(gone):
        path.unlink()
    again = nyuv2.load()
    assert again.description == expected.description
    assert torch.equal(again.test.images, expected.test.images)


@pytest.mark.parametrize("length", [0, 50, 1000])
def test_cut_packed_copy_is_an_error_that_names_the_folder(files, length):
    nyuv2.load()
    for path in (folders.cache() / "nyuv2").glob("train-image-*.npy"):
        path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"nyuv2: the packed files cannot be written or read.*delete") as error:
        nyuv2.load()
    assert str(error.value).startswith(f"{folders.cache()}")
    assert_one_line(error)


def test_full_disk(files, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(InputError, match=r"No space left on device.*MTLUTILS_CACHE") as error:
        nyuv2.load()
    assert_one_line(error)
    assert not list((folders.cache() / "nyuv2").iterdir())


def test_packing_that_was_interrupted_leaves_nothing(files, monkeypatch):
    read, calls = packed._read, []

    def interrupted(path, part):
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read(path, part)

    monkeypatch.setattr(packed, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        nyuv2.load()
    assert not list((folders.cache() / "nyuv2").iterdir())
    monkeypatch.setattr(packed, "_read", read)
    assert len(nyuv2.load().train) == 4


# The official file


@pytest.fixture
def official(tmp_path):
    """A file of 4 frames in the official format, its split, and the published maps' format."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 895, (4, 640, 480), dtype=np.uint16)
    contents = {
        "images": rng.integers(0, 256, (4, 3, 640, 480), dtype=np.uint8),
        "depths": rng.uniform(0.7, 10, (4, 640, 480)).astype(np.float32),
        "labels": labels,
    }
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w") as file:
        for name, array in contents.items():
            file.create_dataset(name, data=array)
    savemat(tmp_path / "splits.mat", {"trainNdxs": [[3.0], [1.0]], "testNdxs": [[2.0], [4.0]]})
    to_40 = rng.permutation(np.arange(894) % 40 + 1).astype(np.uint8)
    to_13 = rng.permutation(np.arange(40) % 13 + 1).astype(np.uint8)
    savemat(tmp_path / "classMapping40.mat", {"mapClass": to_40[None]})
    savemat(tmp_path / "class13Mapping.mat", {"classMapping13": {"labels13": to_13[None], "classNames": "bed"}})
    return tmp_path, contents, to_40, to_13


def prepare(folder, **changed):
    return nyuv2_official.prepare_official(
        **{
            "mat_file": folder / "nyu_depth_v2_labeled.mat",
            "splits_file": folder / "splits.mat",
            "mapping13_file": folder / "class13Mapping.mat",
            "out_folder": folder / "data" / "nyuv2",
        }
        | changed
    )


def test_prepared_set_is_that_of_the_official_file(official, monkeypatch):
    folder, contents, to_40, to_13 = official
    monkeypatch.setenv("MTLUTILS_DATA", str(folder / "data"))
    assert prepare(folder) == nyuv2.folder()
    names = {path.relative_to(nyuv2.folder()).as_posix() for path in nyuv2.folder().rglob("*.npy")}
    parts = ("image", "label", "depth")
    assert names == {f"{split}/{part}/{i}.npy" for split in SIZES for part in parts for i in range(2)}
    rows = np.floor((np.arange(288) + 0.5) * 420 / 288).astype(int) + 47
    columns = np.floor((np.arange(384) + 0.5) * 560 / 384).astype(int) + 40
    for split, numbers in (("train", (3, 1)), ("val", (2, 4))):
        for i, number in enumerate(numbers):
            image, label, depth = (np.load(nyuv2.folder() / split / part / f"{i}.npy") for part in parts)
            assert (image.shape, label.shape, depth.shape) == ((288, 384, 3), (288, 384), (288, 384, 1))
            assert image.dtype == label.dtype == depth.dtype == np.float32
            assert 0 <= image.min() < image.max() <= 1
            frame = contents["labels"][number - 1].T[np.ix_(rows, columns)].astype(int)
            in_40 = np.where(frame > 0, to_40[frame - 1], 0).astype(int)
            assert np.array_equal(label, np.where(in_40 > 0, to_13[in_40 - 1], 0) - 1.0)
            assert np.array_equal(depth[..., 0], contents["depths"][number - 1].T[np.ix_(rows, columns)])
            # Images are averages over the same place.
            whole = contents["images"][number - 1].transpose(2, 1, 0)[47:467, 40:600] / 255
            for channel in range(3):
                assert image[..., channel].mean() == pytest.approx(whole[..., channel].mean(), abs=1e-3)
    data = nyuv2.load(["segmentation", "depth"])
    assert data.description.sizes == {"train": 2, "test": 2}
    assert "prepared from the official nyu_depth_v2_labeled.mat, cropped to 420x560" in data.description.description
    assert "\n" not in data.description.description
    with pytest.raises(InputError, match="the official file has no normals"):
        nyuv2.load()


def test_channels_and_orientation_of_the_official_frames(official):
    folder, *_ = official
    with h5py.File(folder / "nyu_depth_v2_labeled.mat", "r+") as file:
        frame = np.zeros((3, 640, 480), dtype=np.uint8)
        frame[0, 40:600, 47:257] = 255  # red: the upper half of what is kept
        frame[1, 40:320, 47:467] = 255  # green: the left half
        file["images"][2] = frame
    prepare(folder, size=(30, 40))
    image = np.load(folder / "data" / "nyuv2" / "train" / "image" / "0.npy")
    assert image.shape == (30, 40, 3)
    red, green, blue = image.transpose(2, 0, 1)
    assert np.allclose(red[:14], 1) and np.allclose(red[16:], 0)
    assert np.allclose(green[:, :19], 1) and np.allclose(green[:, 21:], 0)
    assert np.allclose(blue, 0)


def test_prepared_set_is_not_written_over(official):
    folder, *_ = official
    prepare(folder, size=(3, 4))
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError, match="nyuv2: is there already; move it away first") as error:
        prepare(folder, size=(3, 4))
    assert_one_line(error)
    assert sorted(folder.rglob("*")) == before


def test_preparation_that_fails_leaves_nothing(official, monkeypatch):
    folder, *_ = official

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(InputError, match=r"nyuv2: cannot be written \(No space left on device\)") as error:
        prepare(folder)
    assert_one_line(error)
    assert not list((folder / "data").iterdir())


def test_h5py_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"h5py is missing.*pip install h5py") as error:
        prepare(tmp_path)
    assert_one_line(error)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nyu_depth_v2_labeled.mat", r"2.8 GB.*https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html"),
        ("splits.mat", "No such file or directory; get it from https://github.com/ankurhanda/nyuv2-meta-data"),
        ("class13Mapping.mat", "No such file or directory; get it from"),
        ("classMapping40.mat", "No such file or directory; get it from"),
    ],
)
def test_official_file_missing_or_broken_is_named(official, name, message):
    folder, *_ = official
    for content in (None, b"", b"<html>Moved</html>", (folder / name).read_bytes()[:150]):
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)
        with pytest.raises(InputError, match=message if content is None else "readable") as error:
            prepare(folder)
        assert str(error.value).startswith(f"{folder / name}: ")
        assert_one_line(error)
        (folder / name).touch()
    assert not (folder / "data").exists()


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("splits.mat", {"trainNdxs": [[1.0], [2.0]], "testNdxs": [[4.0]]}, "is not a split of the 4 images"),
        ("splits.mat", {"trainNdxs": [[1.0], [2.0]], "testNdxs": [[2.0], [3.0], [4.0]]}, "is not a split of"),
        ("splits.mat", {"trainNdxs": [[0.0], [1.0]], "testNdxs": [[2.0], [3.0]]}, "trainNdxs is not numbers from 1"),
        ("splits.mat", {"trainNdxs": [[1.5]], "testNdxs": [[2.0]]}, "trainNdxs is not numbers from 1"),
        ("splits.mat", {"trainNdxs": [[1.0]]}, "has no readable testNdxs"),
        ("splits.mat", {"trainNdxs": "one", "testNdxs": "two"}, "trainNdxs is not numbers from 1"),
        ("classMapping40.mat", {"mapClass": np.full((1, 894), 41)}, "mapClass is not numbers from 1 to 40"),
        ("class13Mapping.mat", {"classMapping13": {"labels13": np.full((1, 40), 14)}}, "is not numbers from 1 to 13"),
        ("class13Mapping.mat", {"classMapping13": {"labels13": np.ones((1, 39))}}, "has 39 classes instead of 40"),
        ("class13Mapping.mat", {"classMapping13": {"labels": np.ones((1, 40))}}, "is not numbers"),
        ("classMapping40.mat", {"mapClass": np.ones((1, 893))}, None),
    ],
)
def test_broken_maps_and_splits_are_named(official, name, contents, message):
    folder, *_ = official
    savemat(folder / name, contents)
    where = folder / name
    if message is None:  # only the frames show that a class is missing
        where, message = folder / "nyu_depth_v2_labeled.mat", "image . has the class 894, but there are 893"
    with pytest.raises(InputError, match=message) as error:
        prepare(folder)
    assert str(error.value).startswith(f"{where}: ")
    assert_one_line(error)
    assert not list((folder / "data").glob("*"))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("images", None, "images is missing"),
        (
            "images",
            np.zeros((4, 3, 480, 640), np.uint8),
            r"images is uint8 \(4, 3, 480, 640\), expected \(N, 3, 640, 480\)",
        ),
        ("images", np.zeros((4, 3, 640, 480), np.float32), "images is float32"),
        ("depths", np.zeros((4, 640, 480), np.uint16), "depths is uint16"),
        ("labels", np.zeros((3, 640, 480), np.uint16), "are not of one number"),
        ("labels", np.zeros((), np.uint16), "labels is uint16"),
    ],
)
def test_broken_fields_of_the_official_file_are_named(official, name, array, message):
    folder, *_ = official
    with h5py.File(folder / "nyu_depth_v2_labeled.mat", "r+") as file:
        del file[name]
        if array is not None:
            file.create_dataset(name, data=array)
    with pytest.raises(InputError, match=message) as error:
        prepare(folder)
    assert str(error.value).startswith(f"{folder / 'nyu_depth_v2_labeled.mat'}: ")
    assert_one_line(error)


def test_maps_may_lie_in_several_places(official):
    folder, *_ = official
    (folder / "elsewhere").mkdir()
    moved = (folder / "classMapping40.mat").rename(folder / "elsewhere" / "forty.mat")
    assert prepare(folder, mapping40_file=moved, size=(3, 4)).is_dir()


# The real sample images


def test_no_samples(tmp_path, monkeypatch):
    monkeypatch.setenv("MTLUTILS_DATA", str(tmp_path))
    with pytest.raises(InputError, match="has no sample images; set MTLUTILS_DATA") as error:
        nyuv2_samples.samples()
    assert_one_line(error)


def test_broken_samples_are_named(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setenv("MTLUTILS_DATA", str(tmp_path))
    rgb, label, depth = (
        tmp_path / "nyuv2_samples" / name for name in ("rgb/0007.webp", "label13/0007.png", "depth/0007.png")
    )

    def write(path, array):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)

    def assert_broken(path, message):
        with pytest.raises(InputError, match=message) as error:
            nyuv2_samples.samples()
        assert str(error.value).startswith(f"{path}: ")
        assert_one_line(error)

    write(rgb, np.zeros((480, 640, 3), np.uint8))
    assert_broken(label, "not a readable image")
    write(label, np.full((480, 640), 14, np.uint8))
    assert_broken(label, "has the class 14, expected 0 to 13")
    write(label, np.full((480, 640), 13, np.uint8))
    (sample,) = nyuv2_samples.samples()
    assert (sample.number, list(sample.targets)) == (7, ["segmentation"])
    write(depth, np.zeros((480, 640), np.uint8))
    assert_broken(depth, r"uint8 \(480, 640\), expected uint16")
    depth.write_bytes(b"\x89PNG\r\n\x1a\n and so on")
    assert_broken(depth, "not a readable image")
    depth.unlink()
    write(rgb, np.zeros((240, 320, 3), np.uint8))
    assert_broken(rgb, r"uint8 \(240, 320, 3\), expected uint8 \(480, 640, 3\)")
    rgb.write_bytes(rgb.read_bytes()[:20])
    assert_broken(rgb, "not a readable image")


def test_real_samples(real_data):
    found = nyuv2_samples.samples()
    assert [sample.number for sample in found] == [433, 464, 1, 46, 300, 388, 568, 669, 976, 1039, 1216, 1396, 1400]
    assert [sample.number for sample in found if "depth" in sample.targets] == [433, 464]
    assert [sample.number for sample in found if "normal" in sample.targets] == [433]
    for sample in found:
        assert (sample.image.shape, sample.image.dtype) == ((3, 288, 384), torch.float32)
        assert 0 <= sample.image.min() < sample.image.max() <= 1
        # The white border is cut off.
        assert all((edge < 0.98).any() for edge in (sample.image[:, 0], sample.image[:, -1], sample.image[:, :, 0]))
        labels = sample.targets["segmentation"]
        assert (labels.shape, labels.dtype) == ((288, 384), torch.int64)
        assert -1 <= labels.min() <= labels.max() <= 12
        assert (labels >= 0).float().mean() > 0.6
    sample = next(sample for sample in found if sample.number == 433)
    depth, normal = sample.targets["depth"], sample.targets["normal"]
    assert (depth.shape, normal.shape) == ((1, 288, 384), (3, 288, 384))
    assert 0.5 < depth[depth > 0].min() < depth.max() < 10
    lengths = normal.norm(dim=0)
    assert ((lengths == 0) | ((lengths - 1).abs() < 0.05)).all()
    assert 0.5 < (lengths > 0).float().mean() < 1


def test_real_samples_as_a_figure_takes_them(real_data):
    found = nyuv2_samples.samples((96, 128))[:3]
    images, targets = nyuv2_samples.as_arrays(found)
    assert (images.shape, images.dtype) == ((3, 96, 128, 3), np.uint8)
    for image, sample in zip(images, found, strict=True):
        np.testing.assert_allclose(image / 255, sample.image.permute(1, 2, 0), atol=0.5 / 255 + 1e-6)
    assert [targets[task].shape for task in targets] == [(3, 96, 128), (3, 96, 128), (3, 3, 96, 128)]
    assert np.array_equal(targets["segmentation"][2], found[2].targets["segmentation"])
    assert np.array_equal(targets["depth"][1], found[1].targets["depth"][0])
    # the first of them alone has normals, and the first two depths
    assert [bool(each.any()) for each in targets["normal"]] == [True, False, False]
    assert [bool(each.any()) for each in targets["depth"]] == [True, True, False]


def test_normals_of_a_real_sample_agree_with_the_geometry_of_its_depths(real_data):
    sample = nyuv2_samples.samples(size=None)[0]
    depth, normal = sample.targets["depth"][0], sample.targets["normal"]
    rows, columns = torch.meshgrid(torch.arange(480.0), torch.arange(640.0), indexing="ij")
    rays = torch.stack([(columns - 320) / 519, (rows - 240) / 519, torch.ones(480, 640)])  # of the set's camera, nearly
    points, known = rays * depth, (depth > 0) & (normal.norm(dim=0) > 0)
    along, down = (torch.roll(points, -6, axis) - torch.roll(points, 6, axis) for axis in (2, 1))
    across = normalize(torch.linalg.cross(along, down, dim=0), dim=0)
    across = -across * (across * points).sum(dim=0).sign()  # towards the camera
    flat = (along.norm(dim=0) < 0.3) & (down.norm(dim=0) < 0.3)  # no edge between, and no hole
    inside = torch.zeros_like(known)
    inside[20:-20, 20:-20] = True
    cosines = (across * normal).sum(dim=0)[known & flat & inside]
    assert len(cosines) > 100_000
    assert cosines.mean() > 0.9


def test_real_samples_as_they_are(real_data):
    for sample in nyuv2_samples.samples(size=None):
        assert sample.image.shape == (3, 480, 640)
        assert sample.targets["segmentation"].shape == (480, 640)


def test_published_maps_and_split_fit_the_real_samples(real_data):
    from PIL import Image

    place = folders.data() / "nyuv2_samples"
    to_13 = np.concatenate([[0], nyuv2_official._matlab(place / "class13Mapping.mat", "classMapping13", 13)])
    to_40 = nyuv2_official._matlab(place / "classMapping40.mat", "mapClass", 40)
    assert (len(to_13), len(to_40), set(to_40)) == (41, 894, set(range(1, 41)))
    splits = nyuv2_official._SPLITS.items()
    numbers = {split: nyuv2_official._matlab(place / "splits.mat", name) for split, name in splits}
    assert {split: len(of_split) for split, of_split in numbers.items()} == nyuv2.PUBLISHED
    assert sorted(np.concatenate(list(numbers.values()))) == list(range(1, 1450))
    for sample in nyuv2_samples.samples(size=None):
        assert sample.number in numbers["val"]
        in_40 = np.asarray(Image.open(place / "label40" / f"{sample.number:04d}.png"))
        assert np.array_equal(to_13[in_40] - 1, sample.targets["segmentation"].numpy())
