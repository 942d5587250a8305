"""AG News: 4 topics of news, as published by Zhang et al. 2015, and the tasks made of its labels."""

import csv
import hashlib
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import pooch
import torch
import torchtext
from requests import ConnectionError
from sklearn.model_selection import train_test_split
from torchtext.data.utils import get_tokenizer
from torchtext.vocab import Vocab
from tqdm import tqdm

from mtlutils import folders, records
from mtlutils.data import agnews_standin
from mtlutils.data.text import TextData, TextSplit
from mtlutils.errors import InputError

OFFICIAL_MD5 = {"train.csv": "b1a00f826fdfbd249f79597b59e1dc12", "test.csv": "d52ea96a97a2d943681189a97654912d"}
_BASE_URL = "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/"
"""Digests and address as torchtext's documentation of AG_NEWS gives them."""

GROUPINGS = {"contiguous": (0, 0, 1, 1), "alternating": (0, 1, 0, 1), "outer": (0, 1, 1, 0)}
"""The three ways to make two groups out of World, Sports, Business, Sci/Tech, in this order: class -> group."""

Grouping = Literal["contiguous", "alternating", "outer"]
_ARRAYS = (
    "vocabulary",
    "rows_in_train_file",
    *(f"{split}_{part}" for split in ("train", "test") for part in ("tokens", "lengths", "labels")),
)
Rows = tuple[np.ndarray, list[str]]


def targets(labels: torch.Tensor, grouping: Grouping) -> dict[str, torch.Tensor]:
    """Return each task's classes (N,) of ``labels`` (N,) in 0 to 3."""
    return {"2-class": torch.tensor(GROUPINGS[grouping])[labels], "4-class": labels}


def load(
    kind: Literal["real", "stand-in"],
    grouping: Grouping = "contiguous",
    train_rows: int | None = None,
    validation_fraction: float = 0.1,
    device: torch.device | str = "cpu",
) -> TextData:
    """Load AG News, or its stand-in, onto a device.

    The vocabulary is built on the training rows alone, before the validation rows are held out of them, and the
    validation rows are the same for every run.

    Args:
        kind: ``"real"`` reads ``ag_news_csv/{train,test}.csv`` below :func:`mtlutils.folders.data`.
        grouping: Which classes make a group of the 2-class task; the paper does not say.
        train_rows: How many rows of the training file to take, chosen at random but for the balance of classes,
            the same for every run. None: all.
        validation_fraction: Share of the training rows that is held out.
        device: Where the tensors are put.

    Raises:
        InputError: the files are missing or broken, or have fewer than ``train_rows`` rows.
    """
    if kind == "real":
        name, sums = "AG News", checksums(folder())
        arrays = _cached(folder(), sums, train_rows)
    else:
        name = "generated topical text"
        splits = agnews_standin.generate()
        sums = {split: "sha256:" + _digest(splits[split]) for split in splits}
        arrays = _tokenize(splits["train"], splits["test"], train_rows, name)

    lengths = torch.from_numpy(arrays["train_lengths"])
    labels = torch.from_numpy(arrays["train_labels"])
    tokens = torch.from_numpy(arrays["train_tokens"])
    held_in, held_out = _split_by_class(labels.numpy(), test_size=validation_fraction)

    def split(tokens: torch.Tensor, lengths: torch.Tensor, labels: torch.Tensor) -> TextSplit:
        classes = {task: value.to(device) for task, value in targets(labels, grouping).items()}
        return TextSplit(tokens.to(device), lengths, classes)

    def rows(keep: np.ndarray) -> TextSplit:
        index = torch.from_numpy(np.sort(keep))
        kept = torch.zeros(len(labels), dtype=torch.bool).index_fill_(0, index, True)
        return split(tokens[kept.repeat_interleave(lengths)], lengths[index], labels[index])

    train, validation = rows(held_in), rows(held_out)
    test = split(*(torch.from_numpy(arrays[f"test_{part}"]) for part in ("tokens", "lengths", "labels")))
    sizes = {"train": len(train), "validation": len(validation), "test": len(test)}
    described = _describe(kind, len(labels), int(arrays["rows_in_train_file"]), len(test), sums)
    description = records.Data(name=name, kind=kind, description=described, checksums=sums, sizes=sizes)
    return TextData(train, validation, test, arrays["vocabulary"].tolist(), {"2-class": 2, "4-class": 4}, description)


def folder() -> Path:
    """Folder of the published files."""
    return folders.data() / "ag_news_csv"


def download() -> Path:
    """Download the published files to :func:`folder`, about 31 MB; a file that is there already is kept.

    Raises:
        InputError: no network, a wrong checksum after several tries, no room; or another file is in the place.
    """
    for name, md5 in OFFICIAL_MD5.items():
        path = folder() / name
        if path.exists() and checksum(path) != f"md5:{md5}":
            raise InputError(f"{path}: there is a file that is not the official one; move it away first")
    pooch.get_logger().setLevel("WARNING")  # says of every try that it failed; the last one is enough
    registry = {name: f"md5:{md5}" for name, md5 in OFFICIAL_MD5.items()}
    # Pooch downloads to a temporary file and moves it into place once its checksum is right.
    store = pooch.create(path=folder(), base_url=_BASE_URL, registry=registry, retry_if_failed=2)
    try:
        for name in registry:
            store.fetch(name, progressbar=True)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        reason = "no connection" if isinstance(error, ConnectionError) else str(error).splitlines()[0]
        raise InputError(
            f"{_BASE_URL} could not be downloaded ({reason}); check the network and try again, or put its train.csv "
            f"and test.csv into {folder()} yourself"
        ) from error
    return folder()


def checksum(path: Path) -> str:
    """Return ``md5:...`` of a file, the digest that the publisher lists."""
    with path.open("rb") as file:
        return "md5:" + hashlib.file_digest(file, "md5").hexdigest()


def read_csv(path: Path) -> Rows:
    """Read a file in the published layout: class 1 to 4, title, description; no header.

    Returns:
        Classes (N,) in 1 to 4, and texts: title and description joined by a space.

    Raises:
        InputError: the file is missing or broken; names the file and the line.
    """
    labels, texts = [], []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file, strict=True)
            try:
                for row in reader:
                    labels.append(_class_of(row, f"{path}:{reader.line_num}"))
                    texts.append(" ".join(row[1:]).strip())
            except csv.Error as error:
                raise InputError(
                    f"{path}:{reader.line_num}: {error}; the file is cut short or not CSV, get it again"
                ) from error
            except UnicodeDecodeError as error:
                raise InputError(f"{path}:{_line_not_utf8(path)}: not UTF-8 text; get the file again") from error
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}; `python -m mtlutils data get agnews` downloads it, or set MTLUTILS_DATA to the "
            "folder that holds ag_news_csv"
        ) from error
    if not texts:
        raise InputError(f"{path}:1: the file has no rows; get it again")
    return np.array(labels), texts


def _line_not_utf8(path: Path) -> int:
    """Number of the first line that is not UTF-8; the reader itself decodes many lines at once."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    raise AssertionError("every line is UTF-8")


def _class_of(row: list[str], where: str) -> int:
    if len(row) != 3:
        raise InputError(f"{where}: expected 3 columns (class, title, description), found {len(row)}")
    if row[0] not in {"1", "2", "3", "4"}:
        raise InputError(f"{where}: class {row[0]!r} is not one of 1 to 4")
    if not (row[1].strip() or row[2].strip()):
        raise InputError(f"{where}: the text is empty")
    return int(row[0])


def _choose(rows: Rows, n: int | None, name: str) -> Rows:
    labels, texts = rows
    if n is None or n == len(texts):
        return rows
    if n > len(texts):
        raise InputError(f"{name}: has {len(texts):,} rows, and train_rows asks for {n:,}; get the complete file")
    chosen, _ = _split_by_class(labels, train_size=n)
    chosen.sort()
    return labels[chosen], [texts[i] for i in chosen]


def _split_by_class(labels: np.ndarray, **size: float) -> tuple[np.ndarray, np.ndarray]:
    """Split row numbers in two at random, the same way each time, but for the balance of classes in either part."""
    try:
        first, second = train_test_split(np.arange(len(labels)), random_state=0, stratify=labels, **size)
    except ValueError as error:
        raise InputError(
            f"{len(labels):,} rows cannot be split by class ({error}); change train_rows or validation_fraction"
        ) from error
    return first, second


def _tokenize(train: Rows, test: Rows, train_rows: int | None, name: str) -> dict[str, np.ndarray]:
    """Turn rows into flat token ids, lengths and labels in 0 to 3, with the vocabulary of the training rows taken."""
    tokenizer = get_tokenizer("basic_english")
    arrays = {"rows_in_train_file": np.array(len(train[1]))}
    vocabulary: Vocab | None = None
    for split, (labels, texts) in (("train", _choose(train, train_rows, name)), ("test", test)):
        bar = tqdm(texts, f"tokenising {split}", unit=" texts", delay=1, leave=False, file=sys.stderr)
        tokenized = [tokenizer(text) for text in bar]
        if vocabulary is None:
            vocabulary = Vocab(Counter(token for tokens in tokenized for token in tokens), specials=["<unk>"])
        ids = [vocabulary[token] for tokens in tokenized for token in tokens]
        arrays |= {
            f"{split}_tokens": np.array(ids, dtype=np.int64),
            f"{split}_lengths": np.array([len(tokens) for tokens in tokenized], dtype=np.int64),
            f"{split}_labels": labels.astype(np.int64) - 1,
        }
    assert vocabulary is not None
    return arrays | {"vocabulary": np.array(vocabulary.itos)}


def _cached(source: Path, checksums: dict[str, str], train_rows: int | None) -> dict[str, np.ndarray]:
    """Return :func:`_tokenize` of the files, from the cache where they were tokenised before."""
    identity = f"2 {torchtext.__version__} {sorted(checksums.items())} {train_rows}"
    path = folders.cache() / "tokenized" / f"agnews-{hashlib.sha256(identity.encode()).hexdigest()[:12]}.npz"
    try:
        with np.load(path) as stored:
            return {name: stored[name] for name in _ARRAYS}
    # Not there yet, or broken in any of the ways that zip files are: made again.
    except (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile):
        train, test = read_csv(source / "train.csv"), read_csv(source / "test.csv")
        arrays = _tokenize(train, test, train_rows, str(source / "train.csv"))
    try:
        with folders.replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the arrays for its own options
    except OSError as error:
        print(f"{path}: not cached ({error.strerror}); texts are tokenised again next time", file=sys.stderr)
    return arrays


def checksums(source: Path) -> dict[str, str]:
    """Return file name -> :func:`checksum` of the published files.

    Raises:
        InputError: a file is missing.
    """
    for name in OFFICIAL_MD5:
        if not (source / name).is_file():
            read_csv(source / name)  # raises the error that says how to get it
    return {name: checksum(source / name) for name in OFFICIAL_MD5}


def _digest(rows: Rows) -> str:
    return hashlib.sha256((" ".join(map(str, rows[0])) + "\n".join(rows[1])).encode()).hexdigest()


def _describe(kind: str, n_train: int, n_train_file: int, n_test: int, checksums: dict[str, str]) -> str:
    train = f"{n_train:,}" if n_train == n_train_file else f"{n_train:,} of {n_train_file:,}"
    if kind == "stand-in":
        return f"stand-in: {train} + {n_test:,} generated texts"

    def name(file: str, rows: str) -> str:
        is_official = checksums[file] == f"md5:{OFFICIAL_MD5[file]}"
        return f"{file}: {rows} rows, {'official' if is_official else 'not the official file'}"

    return f"AG News ({name('train.csv', train)}; {name('test.csv', f'{n_test:,}')})"
