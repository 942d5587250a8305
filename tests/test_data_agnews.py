"""AG News: the files, the tasks made of them, batches, the cache, the stand-in and the download."""

import errno
import hashlib
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pooch
import pytest
import requests
import torch

from mtlutils import folders
from mtlutils.data import agnews, agnews_standin
from mtlutils.data.text import TextSplit
from mtlutils.errors import InputError


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    """Where the published files belong, empty."""
    monkeypatch.setenv("MTLUTILS_DATA", str(tmp_path))
    (tmp_path / "ag_news_csv").mkdir()
    return tmp_path / "ag_news_csv"


def write_rows(path, rows):
    path.write_text("".join(f'"{label}","{title}","{text}"\n' for label, title, text in rows), encoding="utf-8")


def generated_rows(n, seed=0):
    labels, texts = agnews_standin.generate(n_train=n, n_test=4, seed=seed)["train"]
    return [(label, "", text) for label, text in zip(labels, texts, strict=True)]


# Reading the files


def test_rows_as_published(tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes(
        b'"3","Wall St. Bears","Short-sellers, with ""quotes"", are back"\n'
        b'"1","","no title"\n'
        b'"4","no text",""\n'
        b'"2","A title\nof two lines","caf\xc3\xa9"\n'
    )
    labels, texts = agnews.read_csv(path)
    assert labels.tolist() == [3, 1, 4, 2]
    assert texts == [
        'Wall St. Bears Short-sellers, with "quotes", are back',
        "no title",
        "no text",
        "A title\nof two lines café",
    ]


GOOD = b'"1","a","b"\n"2","c","d"\n'


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (GOOD + b'"3","e"\n', 3, "expected 3 columns .*, found 2"),
        (GOOD + b'"3","e","f","g"\n' + GOOD, 3, "expected 3 columns .*, found 4"),
        (GOOD + b"\n" + GOOD, 3, "found 0"),
        (GOOD + b'"7","e","f"\n', 3, "class '7' is not one of 1 to 4"),
        (GOOD + b'"0","e","f"\n', 3, "class '0'"),
        (GOOD + b'"Sports","e","f"\n', 3, "class 'Sports'"),
        (b"class,title,text\n" + GOOD, 1, "class 'class'"),
        (GOOD + b'"3",""," "\n', 3, "the text is empty"),
        (GOOD + b'"3","e","cut in the mid', 3, "cut short"),
        (GOOD + b'"3","cut', 3, "cut short"),
        (GOOD + b'"3","e" x,"f"\n', 3, "cut short or not CSV"),
        (GOOD + b'"3","e","caf\xe9"\n' + GOOD, 3, "not UTF-8"),
        (GOOD * 5000 + b'"3","e","caf\xe9"\n' + GOOD, 10001, "not UTF-8"),
        (GOOD + b'"3","e","caf\xc3', 3, "not UTF-8"),
        (b"", 1, "no rows"),
    ],
)
def test_broken_file(tmp_path, content, line, message):
    path = tmp_path / "test.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        agnews.read_csv(path)
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert_one_line(error)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="python -m mtlutils data get agnews") as error:
        agnews.read_csv(tmp_path / "train.csv")
    assert str(error.value).startswith(f"{tmp_path / 'train.csv'}: ")
    assert_one_line(error)


@pytest.mark.parametrize("there", [(), ("train.csv",), ("test.csv",)])
def test_missing_data_folder_or_file(data_folder, there):
    for name in there:
        write_rows(data_folder / name, generated_rows(40))
    missing = next(name for name in ("train.csv", "test.csv") if name not in there)
    with pytest.raises(InputError, match=f"{data_folder / missing}.*set MTLUTILS_DATA") as error:
        agnews.load("real")
    assert_one_line(error)


def test_data_folder_that_is_a_file(tmp_path, monkeypatch):
    (tmp_path / "agnews.zip").write_bytes(b"PK")
    monkeypatch.setenv("MTLUTILS_DATA", str(tmp_path / "agnews.zip"))
    with pytest.raises(InputError, match="set MTLUTILS_DATA") as error:
        agnews.load("real")
    assert_one_line(error)


# Text -> tensors


def test_tensors_of_a_small_file(data_folder):
    train = [(1 + i % 4, f"Topic{i % 4}", "The End, the end!") for i in range(40)]
    test = [(4, "Topic3", "the unheard-of end"), (2, "Topic1", "")]
    write_rows(data_folder / "train.csv", train)
    write_rows(data_folder / "test.csv", test)
    data = agnews.load("real", validation_fraction=0.1)

    # basic_english lower-cases and splits punctuation off; "the" and "end" are seen 80 times, "," and "!" 40, topics 10
    assert data.vocabulary[0] == "<unk>"
    assert set(data.vocabulary[1:3]) == {"the", "end"}
    assert set(data.vocabulary[3:5]) == {",", "!"}
    assert set(data.vocabulary[5:]) == {"topic0", "topic1", "topic2", "topic3"}

    def text_of(split, i):
        starts = [0, *split.lengths.cumsum(0).tolist()]
        return [data.vocabulary[token] for token in split.tokens[starts[i] : starts[i + 1]]]

    assert text_of(data.test, 0) == ["topic3", "the", "<unk>", "end"]
    assert text_of(data.test, 1) == ["topic1"]
    assert data.test.lengths.tolist() == [4, 1]
    assert data.test.targets["4-class"].tolist() == [3, 1]
    assert data.test.targets["2-class"].tolist() == [1, 0]
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 4, 2)
    for split in (data.train, data.validation):
        assert len(split.tokens) == split.lengths.sum() == 7 * len(split)
        for i in range(len(split)):
            topic = split.targets["4-class"][i]
            assert text_of(split, i) == [f"topic{topic}", "the", "end", ",", "the", "end", "!"]
    assert data.n_classes == {"2-class": 2, "4-class": 4}
    assert data.description.sizes == {"train": 36, "validation": 4, "test": 2}


def test_words_of_held_out_rows_are_in_the_vocabulary_and_words_of_test_rows_are_not(data_folder):
    # As documented: the vocabulary comes from the training file's rows, before the validation rows are held out.
    write_rows(data_folder / "train.csv", [(1 + i % 4, "", f"trainword{i}") for i in range(40)])
    write_rows(data_folder / "test.csv", [(1, "", "testword trainword7")])
    data = agnews.load("real", validation_fraction=0.5)
    assert set(data.vocabulary) == {"<unk>", *(f"trainword{i}" for i in range(40))}
    assert [data.vocabulary[token] for token in data.test.tokens] == ["<unk>", "trainword7"]


def test_words_of_rows_that_were_not_taken_are_unknown(data_folder):
    write_rows(data_folder / "train.csv", [(1 + i % 4, "", f"trainword{i}") for i in range(80)])
    write_rows(data_folder / "test.csv", [(1, "", " ".join(f"trainword{i}" for i in range(80)))])
    data = agnews.load("real", train_rows=40)
    assert len(data.vocabulary) == 1 + 40
    assert (data.test.tokens == 0).sum() == 40


@pytest.mark.parametrize("fraction", [0.1, 0.3])
def test_validation_rows_are_stratified_and_not_trained_on(data_folder, fraction):
    write_rows(data_folder / "train.csv", [(1 + i % 4, "", f"word{i}") for i in range(200)])
    write_rows(data_folder / "test.csv", [(1, "", "word0")])
    data = agnews.load("real", validation_fraction=fraction)
    train, validation = set(data.train.tokens.tolist()), set(data.validation.tokens.tolist())
    assert len(train) == 200 * (1 - fraction)
    assert len(validation) == 200 * fraction
    assert not train & validation
    assert data.validation.targets["4-class"].bincount().tolist() == [50 * fraction] * 4
    # and they are the same the next time
    assert (
        agnews.load("real", validation_fraction=fraction).validation.tokens.tolist() == data.validation.tokens.tolist()
    )


def test_chosen_rows_are_balanced_and_the_same_each_time():
    small, again, all_rows = (agnews.load("stand-in", train_rows=n) for n in (400, 400, None))
    assert len(small.train) + len(small.validation) == 400
    counts = small.train.targets["4-class"].bincount() + small.validation.targets["4-class"].bincount()
    of_all = all_rows.train.targets["4-class"].bincount() + all_rows.validation.targets["4-class"].bincount()
    assert (counts - of_all / 5).abs().max() <= 1
    assert torch.equal(small.train.tokens, again.train.tokens)
    assert torch.equal(small.test.targets["4-class"], all_rows.test.targets["4-class"])


def test_taking_all_rows_is_taking_no_number_of_rows():
    assert torch.equal(agnews.load("stand-in", train_rows=2000).train.tokens, agnews.load("stand-in").train.tokens)


def test_more_rows_than_there_are(data_folder):
    write_rows(data_folder / "train.csv", generated_rows(80))
    write_rows(data_folder / "test.csv", generated_rows(40))
    with pytest.raises(InputError, match=r"train\.csv: has 80 rows, and train_rows asks for 120,000") as error:
        agnews.load("real", train_rows=120_000)
    assert_one_line(error)
    with pytest.raises(InputError, match="has 2,000 rows, and train_rows asks for 2,001"):
        agnews.load("stand-in", train_rows=2001)


@pytest.mark.parametrize(
    ("rows", "train_rows", "fraction"),
    [(40, None, 0.01), (40, None, 0.95), (200, 199, 0.1), (5, None, 0.5)],
)
def test_rows_that_cannot_be_split_by_class(data_folder, rows, train_rows, fraction):
    write_rows(data_folder / "train.csv", [(1 + i % 4, "", f"word{i}") for i in range(rows)])
    write_rows(data_folder / "test.csv", [(1, "", "word0")])
    with pytest.raises(InputError, match="class") as error:
        agnews.load("real", train_rows=train_rows, validation_fraction=fraction)
    assert_one_line(error)


# Tasks


@pytest.mark.parametrize("grouping", sorted(agnews.GROUPINGS))
def test_groupings_are_balanced_and_differ(grouping):
    assert sorted(agnews.GROUPINGS[grouping]) == [0, 0, 1, 1]
    assert len({frozenset((classes, tuple(1 - c for c in classes))) for classes in agnews.GROUPINGS.values()}) == 3
    targets = agnews.targets(torch.arange(4).repeat(10), grouping)
    assert targets["2-class"].bincount().tolist() == [20, 20]
    assert targets["4-class"].tolist() == list(range(4)) * 10


def test_contiguous_grouping_is_of_the_first_two_classes_and_the_last_two():
    assert agnews.targets(torch.tensor([0, 1, 2, 3]), "contiguous")["2-class"].tolist() == [0, 0, 1, 1]


# Batches


def split_of(lengths, seed=0):
    """Texts of the given lengths, every token different, with two tasks' classes."""
    lengths = torch.tensor(lengths)
    tokens = torch.randperm(int(lengths.sum()), generator=torch.Generator().manual_seed(seed))
    classes = torch.arange(len(lengths))
    return TextSplit(tokens, lengths, {"a": classes, "b": 100 + classes})


def texts_of(batch):
    """Row by row: the tokens and the classes of each text of a batch."""
    (tokens, offsets), targets = batch
    ends = [*offsets.tolist()[1:], len(tokens)]
    return [
        (tokens[begin:end].tolist(), targets["a"][i].item(), targets["b"][i].item())
        for i, (begin, end) in enumerate(zip(offsets.tolist(), ends, strict=True))
    ]


def rows_of(split):
    """The same, from the split itself."""
    rows, begin = [], 0
    for i, length in enumerate(split.lengths.tolist()):
        text = split.tokens[begin : begin + length].tolist()
        rows.append((text, split.targets["a"][i].item(), split.targets["b"][i].item()))
        begin += length
    return rows


LENGTHS = [3, 1, 5, 2, 4, 1, 1, 7, 2, 6]


@pytest.mark.parametrize("lengths", [LENGTHS, [1], [2, 0, 3, 0], [0, 0, 1]])
@pytest.mark.parametrize("batch_size", [1, 3, 5, 10, 100])
@pytest.mark.parametrize("shuffled", [False, True])
def test_batches_are_the_rows(lengths, batch_size, shuffled):
    split = split_of(lengths)
    generator = torch.Generator().manual_seed(4) if shuffled else None
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(4)) if shuffled else range(len(split))
    batches = [texts_of(batch) for batch in split.batches(batch_size, generator)]
    rows = rows_of(split)
    assert [row for batch in batches for row in batch] == [rows[i] for i in order]
    full, rest = divmod(len(split), batch_size)
    assert [len(batch) for batch in batches] == [batch_size] * full + [rest] * bool(rest)


def test_offsets_start_at_0_in_every_batch():
    for (tokens, offsets), _ in split_of(LENGTHS).batches(3, torch.Generator().manual_seed(0)):
        assert offsets[0] == 0
        assert offsets[-1] < len(tokens)


def test_order_is_the_generators():
    split = split_of(LENGTHS * 3)

    def order(generator):
        return [row[1] for batch in split.batches(4, generator) for row in texts_of(batch)]

    generator = torch.Generator().manual_seed(1)
    first, second = order(generator), order(generator)
    assert first != second  # it goes on from epoch to epoch
    assert sorted(first) == sorted(second) == list(range(30))
    assert order(torch.Generator().manual_seed(1)) == first
    assert order(torch.Generator().manual_seed(2)) != first
    assert order(None) == list(range(30))


# Cache


@pytest.fixture
def small_files(data_folder):
    write_rows(data_folder / "train.csv", generated_rows(80))
    write_rows(data_folder / "test.csv", generated_rows(40, seed=1))
    return data_folder


@pytest.fixture
def count(monkeypatch):
    """How often texts were tokenised."""
    calls, tokenize = [], agnews._tokenize
    monkeypatch.setattr(agnews, "_tokenize", lambda *rows: calls.append(1) or tokenize(*rows))
    return calls


def assert_same_data(data, other):
    assert data.vocabulary == other.vocabulary
    assert data.description == other.description
    for name in ("train", "validation", "test"):
        mine, others = getattr(data, name), getattr(other, name)
        assert torch.equal(mine.tokens, others.tokens)
        assert torch.equal(mine.lengths, others.lengths)
        assert all(torch.equal(mine.targets[task], others.targets[task]) for task in ("2-class", "4-class"))


def test_second_time_comes_from_the_cache(small_files, count):
    first, second = agnews.load("real"), agnews.load("real")
    assert len(count) == 1
    assert_same_data(first, second)
    # what is cached is the text; the tasks are not part of it
    assert agnews.load("real", grouping="outer").train.targets["2-class"].tolist() != (
        first.train.targets["2-class"].tolist()
    )
    assert len(count) == 1


def test_other_rows_or_files_are_not_taken_from_the_cache(small_files, count):
    agnews.load("real")
    assert len(agnews.load("real", train_rows=40).train) == 36
    assert len(count) == 2
    write_rows(small_files / "test.csv", generated_rows(36, seed=2))
    assert len(agnews.load("real").test) == 36
    assert len(count) == 3


def corruptions(content):
    yield from (b"", b"not a zip file", content[:-1], content[: len(content) // 2], content[:40])
    rng = np.random.default_rng(0)
    anywhere, directory = rng.integers(0, len(content), 30), rng.integers(len(content) - 450, len(content), 120)
    for position in [*anywhere, *directory]:
        yield content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]


def test_broken_cache_file_is_made_again(small_files, count):
    first = agnews.load("real")
    (path,) = (folders.cache() / "tokenized").glob("*.npz")
    content = path.read_bytes()
    n_rebuilt = 0
    for broken in corruptions(content):
        path.write_bytes(broken)
        before = len(count)
        assert_same_data(first, agnews.load("real"))
        n_rebuilt += len(count) > before
    assert n_rebuilt > 30  # a byte that nobody reads may be any other
    path.write_bytes(b"")
    agnews.load("real")
    before = len(count)
    assert_same_data(first, agnews.load("real"))
    assert len(count) == before


def test_full_disk_costs_the_cache_only(small_files, count, monkeypatch, capsys):
    def full(*arguments, **arrays):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(agnews.np, "savez", full)
    first = agnews.load("real")
    assert "not cached (No space left on device)" in capsys.readouterr().err
    assert not list((folders.cache() / "tokenized").iterdir())
    assert_same_data(first, agnews.load("real"))
    assert len(count) == 2


# What a record says of the data


def test_files_that_are_not_the_official_ones_are_named_for_what_they_are(small_files):
    described = agnews.load("real", train_rows=60).description
    assert described.kind == "real"
    assert described.description == (
        "AG News (train.csv: 60 of 80 rows, not the official file; test.csv: 40 rows, not the official file)"
    )
    for name in ("train.csv", "test.csv"):
        digest = hashlib.md5((small_files / name).read_bytes()).hexdigest()
        assert described.checksums[name] == f"md5:{digest}"


def test_official_files_are_called_so(small_files, monkeypatch):
    digest = hashlib.md5((small_files / "test.csv").read_bytes()).hexdigest()
    monkeypatch.setitem(agnews.OFFICIAL_MD5, "test.csv", digest)
    assert agnews.load("real").description.description == (
        "AG News (train.csv: 80 rows, not the official file; test.csv: 40 rows, official)"
    )


def test_standin_says_that_it_is_one():
    described = agnews.load("stand-in").description
    assert described.kind == "stand-in"
    assert described.description == "stand-in: 2,000 + 1,000 generated texts"
    assert set(described.checksums) == {"train", "test"}


# The stand-in


def test_standin_is_deterministic():
    first, again, other = (agnews_standin.generate(n_train=40, n_test=20, seed=seed) for seed in (0, 0, 1))
    for split in ("train", "test"):
        assert first[split][0].tolist() == again[split][0].tolist()
        assert first[split][1] == again[split][1]
        assert first[split][1] != other[split][1]


def test_standin_has_four_classes_about_balanced_and_a_zipf_vocabulary():
    splits = agnews_standin.generate()
    for split, n in (("train", 2000), ("test", 1000)):
        labels, texts = splits[split]
        assert len(labels) == len(texts) == n
        counts = np.bincount(labels, minlength=5)
        assert counts[0] == 0
        assert counts[1:].min() > 0.9 * n / 4
        assert all(texts)
    # a few words are very common, and there are words that only test texts have
    words = Counter(word for text in splits["train"][1] for word in text.split())
    assert sum(count for _, count in words.most_common(len(words) // 10)) > 0.5 * words.total()
    assert {word for text in splits["test"][1] for word in text.split()} - set(words)
    assert not set(splits["train"][1]) & set(splits["test"][1])


# Download


class Server:
    """A web server on this machine that serves ``files``, with a body cut short where ``cut`` names the file."""

    def __init__(self):
        self.files, self.cut, self.requests = {}, set(), []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.strip("/")
                outer.requests.append(name)
                if name not in outer.files:
                    self.send_error(404)
                    return
                body = outer.files[name]
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if name in outer.cut else body)

            def log_message(self, *arguments):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}/"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server(data_folder, monkeypatch):
    """The place to download from, with files whose checksums count as the official ones."""
    server = Server()
    for name in ("train.csv", "test.csv"):
        server.files[name] = f'"1","{name}","{"text " * 20000}"\n'.encode()
        monkeypatch.setitem(agnews.OFFICIAL_MD5, name, hashlib.md5(server.files[name]).hexdigest())
    monkeypatch.setattr(agnews, "_BASE_URL", server.address)
    monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: None)  # between tries
    yield server
    server.http.shutdown()
    server.http.server_close()


def test_download(server, data_folder):
    assert agnews.download() == data_folder
    assert {path.name: path.read_bytes() for path in data_folder.iterdir()} == server.files
    # what is there already is kept
    assert agnews.download() == data_folder
    assert sorted(server.requests) == ["test.csv", "train.csv"]


def test_download_makes_the_folder(server, data_folder):
    data_folder.rmdir()
    assert agnews.download() == data_folder
    assert len(list(data_folder.iterdir())) == 2


def broken_server(server, how):
    if how == "cut":
        server.cut.add("test.csv")
    elif how == "other":
        server.files["test.csv"] = b"<html>Moved</html>"
    else:
        del server.files["test.csv"]


@pytest.mark.parametrize("how", ["cut", "other", "gone"])
def test_download_that_breaks_leaves_no_half_file(server, data_folder, how):
    broken_server(server, how)
    with pytest.raises(InputError, match="could not be downloaded") as error:
        agnews.download()
    assert_one_line(error)
    assert str(data_folder) in str(error.value)
    assert [path.name for path in data_folder.iterdir()] == ["train.csv"]  # which came whole
    assert server.requests.count("test.csv") == 3  # it was tried again


def test_download_goes_on_where_it_broke(server, data_folder):
    content = server.files["test.csv"]
    broken_server(server, "gone")
    with pytest.raises(InputError):
        agnews.download()
    server.files["test.csv"] = content
    agnews.download()
    assert {path.name: path.read_bytes() for path in data_folder.iterdir()} == server.files
    assert server.requests.count("train.csv") == 1


def test_download_keeps_another_file_that_is_in_the_place(server, data_folder):
    write_rows(data_folder / "train.csv", [(1, "mine", "own")])
    before = (data_folder / "train.csv").read_bytes()
    with pytest.raises(InputError, match=r"train\.csv: there is a file that is not the official one") as error:
        agnews.download()
    assert_one_line(error)
    assert (data_folder / "train.csv").read_bytes() == before
    assert not server.requests


def test_download_without_a_network(data_folder, monkeypatch):
    def no_network(*arguments, **options):
        raise requests.ConnectionError("HTTPSConnectionPool: Max retries exceeded\n(Caused by NameResolutionError)")

    monkeypatch.setattr(requests, "get", no_network)
    monkeypatch.setattr(requests.Session, "request", no_network)
    monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: None)
    with pytest.raises(InputError, match=r"could not be downloaded \(no connection\); check the network") as error:
        agnews.download()
    assert_one_line(error)
    assert not list(data_folder.iterdir())


def test_official_address_and_checksums_are_those_of_torchtexts_documentation():
    assert agnews._BASE_URL.startswith("https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/")
    assert agnews.OFFICIAL_MD5 == {
        "train.csv": "b1a00f826fdfbd249f79597b59e1dc12",
        "test.csv": "d52ea96a97a2d943681189a97654912d",
    }


# The real files


def test_real_files(real_data):
    if not agnews.folder().is_dir():
        pytest.skip(f"MTLUTILS_DATA has no {agnews.folder().name}")
    data = agnews.load("real")
    assert len(data.test) == 7600
    assert data.test.targets["4-class"].bincount().tolist() == [1900] * 4
    assert "test.csv: 7,600 rows, official" in data.description.description
    assert data.test.lengths.min() > 0
    assert (data.test.tokens == 0).float().mean() < 0.2


def assert_one_line(error):
    message = str(error.value)
    assert message
    assert "\n" not in message
